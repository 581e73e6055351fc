"""An answer on its way to the client, and what the client gets where there is none."""

from __future__ import annotations

import hashlib
import logging

from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.asgi import Message, RawHeaders, Send, send_error, send_whole
from turnout.serve.metrics import Metrics
from turnout.serve.upstreams.answer import Answer, BytesRelay, EventRelay
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.upstream import Request

logger = logging.getLogger("turnout.serve")

_STATUS = {
    "overloaded": 429,
    "quota": 429,
    "effort": 400,
    "breaker_open": 503,
    "connect_timeout": 504,
    "first_byte_timeout": 504,
    "idle_timeout": 504,
    "total_timeout": 504,
}
_CODES = {"401": "upstream_unauthorized", "403": "upstream_unauthorized"}


class BodyHash:
    """A ``send`` that hashes the body that went through it.

    Args:
        send: Of ASGI.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._hash = hashlib.sha256()

    async def __call__(self, message: Message) -> None:
        """Sends and hashes."""
        await self._send(message)
        self._hash.update(message.get("body", b""))

    @property
    def hexdigest(self) -> str:
        """SHA-256 of the body, 64 hexadecimal digits."""
        return self._hash.hexdigest()


async def relay(answer: Answer, send: Send, headers: RawHeaders, metrics: Metrics) -> None:
    """Sends an answer to the client.

    Args:
        answer: The answer; the caller closes it.
        send: Of ASGI.
        headers: The server's own.
        metrics: Counts streams that fail.

    Raises:
        UpstreamError: An answer that is not a stream was interrupted; the connection must be closed to signal it.
    """
    headers = [*answer.headers, *headers]
    if answer.rest is None:
        await send_whole(send, answer.status, headers, answer.first)
        return
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await _send_part(send, answer.first)
    if isinstance(answer.rest, EventRelay):
        await _relay_events(answer.rest, send, metrics)
    else:
        await _relay_bytes(answer.rest, send)
    await send({"type": "http.response.body", "body": b""})


async def _relay_events(events: EventRelay, send: Send, metrics: Metrics) -> None:
    try:
        while piece := await events.next():
            await _send_part(send, piece)
    except UpstreamError as error:
        logger.warning("%s after the start of its answer", error)
        events.interruption = error.reason
        metrics.errors.labels(f"stream_{error.reason}").inc()
        # Only whole events went out before, so that clients read this one and raise it.
        cut = ApiError(502, f"the stream was interrupted: {error}", code=f"upstream_{error.reason}")
        await _send_part(send, events.error_event(cut))
    finally:
        # Clients that read an error event leave at once, and then this is canceled.
        if events.has_error:
            metrics.errors.labels("stream_error_event").inc()


async def _relay_bytes(rest: BytesRelay, send: Send) -> None:
    while piece := await rest.next():
        await _send_part(send, piece)


async def _send_part(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})


async def send_failure(send: Send, error: UpstreamError, headers: RawHeaders, request: Request) -> None:
    """Sends the last upstream's own error where it gave one, else an error of the server.

    Args:
        send: Of ASGI.
        error: Why there is no answer.
        headers: The server's own.
        request: The client's request.
    """
    answer = error.answer
    if answer is not None:
        await send_whole(send, answer.status, [*answer.headers, *headers], answer.first)
        return
    status = _STATUS.get(error.reason, 502)
    code = _CODES.get(error.reason, f"upstream_{error.reason}")
    failed = ApiError(status, str(error), code=code, retry_after_s=error.retry_after_s)
    await send_error(send, failed, headers, request.dialect, request.request_id)
