"""Logs a line for every request if ``[server] access_log`` is set."""

from __future__ import annotations

import logging
import time
from typing import Any

from turnout.serve.http.asgi import Message, Receive, Scope, Send

logger = logging.getLogger("turnout.access")


class AccessLog:
    """ASGI middleware: client, method, path, status, milliseconds and request id, without query and prompt.

    Args:
        app: What comes after.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on and logs it when it has ended."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status, request_id = "client_gone", "-"

        async def watching(message: Message) -> None:
            nonlocal status, request_id
            if message["type"] == "http.response.start":
                status = str(message["status"])
                request_id = next(
                    (value.decode() for name, value in message["headers"] if name == b"x-request-id"), "-"
                )
            await send(message)

        try:
            await self.app(scope, receive, watching)
        finally:
            client = scope["client"][0] if scope["client"] else "-"
            # The raw path is percent-encoded, so it has no line breaks.
            path = scope["raw_path"].decode("ascii", "replace")[:500]
            milliseconds = (time.perf_counter() - began) * 1e3
            logger.info("%s %s %s %s %.1f ms %s", client, scope["method"], path, status, milliseconds, request_id)
