"""The steps of the ASGI protocol that the hot path implements directly."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from turnout.serve.dialects import CHAT, Dialect
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.timeout import Timeout

if sys.version_info >= (3, 11):
    from asyncio import timeout_at
else:
    from async_timeout import timeout_at

#: Where a scope has the name of the client whose key was sent.
CLIENT = "turnout.client"
#: A client that sends its body more slowly holds a place that others could have.
_BODY_S = 60.0

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]


class ClientGone(Exception):  # noqa: N818 - nothing went wrong
    """The client closed its connection, or did not read its answer in time."""


class UntilDisconnect:
    """Cancels what runs inside when the client goes, and turns that into :class:`ClientGone`."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._watch = asyncio.ensure_future(self._disconnect())

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._watch.cancel()
        if self._gone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise ClientGone from None

    async def _disconnect(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task is not None:
            self._task.cancel()


def client_of(scope: Scope) -> str:
    """Name of the client whose key was sent; empty where clients need none."""
    return scope.get(CLIENT) or ""


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of a request under a lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return value  # type: ignore[no-any-return]
    return None


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body of a request.

    Raises:
        ApiError: 413 as soon as it is known to be larger than the limit, 408 for one that takes too long.
        ClientGone: It never came to its end.
    """
    length = header(scope, b"content-length")
    if length is not None and length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    until = asyncio.get_running_loop().time() + _BODY_S
    while True:
        try:
            async with timeout_at(until):
                message = await receive()
        except (asyncio.TimeoutError, TimeoutError):
            raise ApiError(408, f"the body did not arrive within {_BODY_S:g} s", code="body_timeout") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


@contextmanager
def sending_until(deadline: float, send: Send) -> Iterator[Send]:
    """A ``send`` that stops at a time, so that a client that does not read holds nothing longer than a slow upstream would.

    Args:
        deadline: Time of the event loop, seconds.
        send: The server's. That of the context raises :class:`ClientGone` at the deadline.
    """
    timeout = Timeout()

    async def sending(message: Message) -> None:
        try:
            with timeout.at(deadline):
                await send(message)
        except TimeoutError:
            raise ClientGone from None

    try:
        yield sending
    finally:
        timeout.close()


async def send_whole(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    """An answer in one piece."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def send_error(
    send: Send, error: ApiError, headers: RawHeaders | None = None, dialect: Dialect = CHAT, request_id: str = ""
) -> None:
    """An error in the shape of a dialect.

    Args:
        send: Of ASGI.
        error: What to say.
        headers: Further headers.
        dialect: Of the request.
        request_id: Of the request, where it has one.
    """
    raw = [(name.encode(), value.encode()) for name, value in error.headers().items()]
    raw += [(b"content-type", b"application/json"), *dialect.error_headers(request_id), *(headers or [])]
    await send_whole(send, error.status, raw, dialect.error_body(error, request_id))


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"the body is larger than the limit of {limit:,} bytes", code="body_too_large")
