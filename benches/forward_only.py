"""A server that forwards and does nothing else, on the libraries of turnout's (uvicorn, aiohttp), with what turnout leaves out of them left out, too."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import uvicorn


class Forward:
    """An ASGI application.

    Args:
        upstream: Address of the upstream.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Forwards a request that comes in one piece, and its answer; ``GET`` says that the server is there."""
        if scope["method"] == "GET":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        body = (await receive())["body"]
        headers = {"content-type": "application/json"}
        answer = await self._session.request("POST", self._upstream + scope["path"], data=body, headers=headers)
        content = await answer.read()
        sent = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": sent})
        await send({"type": "http.response.body", "body": content})


if __name__ == "__main__":
    port, upstream_port = sys.argv[1:]
    uvicorn.run(
        Forward(f"http://127.0.0.1:{upstream_port}"),
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
