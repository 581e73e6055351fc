"""Client connections: uvicorn's HTTP protocol with limits that hold before a request is complete.

Without them one client could hold any amount of memory by header fields (the whole head is kept until it ends), any number
of descriptors by silent sockets, and the memory of an answer by not reading it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.held_head import HeldHead
from turnout.serve.rare_log import RareLog

logger = logging.getLogger("turnout.serve")

#: The parser gets pieces of this size, so that a head is refused at most one piece beyond the limit.
_PIECE = 16 * 1024
#: Seconds after a close in which the client may still read what was sent.
_LINGER_S = 5.0
#: Reasons for which a connection is closed; also labels of the metric ``turnout_connections_closed``.
_REASONS = {
    "head_too_large": "the head of a request (request line, header fields, chunk framing) was larger than the limit",
    "head_timeout": "no complete request head before the deadline",
    "send_timeout": "the client did not read its answer",
    "pipelining": "more requests than the limit were sent ahead of their answers",
    "no_room": "the limit of connections was reached; idle connections are closed first",
}


@dataclass(frozen=True)
class Limits:
    """What one listener allows."""

    #: Connections at a time.
    connections: int = 4096
    #: Bytes of a request head. The same limit applies between two pieces of a body.
    head_bytes: int = 64 * 1024
    #: Seconds from the start of a connection, or from the last answer, to the end of the next head.
    head_s: float = 15.0
    #: Seconds in which a client must read at least 16 KiB of a pending answer.
    send_s: float = 30.0
    #: Requests that one connection may send ahead of their answers.
    pipelined: int = 16


class Connections:
    """The connections of one listener. Closes those that are over a time limit when :meth:`sweep` is called.

    Args:
        limits: What is allowed.
        closed: Called with the reason of each connection that is closed by a limit.
    """

    def __init__(self, limits: Limits, closed: Callable[[str], None] = lambda reason: None) -> None:
        self.limits = limits
        self._closed = closed
        self._open: set[Connection] = set()
        self._rare = RareLog(logger)

    @property
    def protocol(self) -> Any:
        """What uvicorn calls for each new connection."""
        return functools.partial(Connection, group=self)

    def admit(self, connection: Connection) -> None:
        """Registers a connection. At the limit, closes the longest idle connection, or else this one."""
        self._open.add(connection)
        if len(self._open) > self.limits.connections:
            waiting = min(self._open - {connection}, key=lambda one: one.head_by, default=connection)
            self.close(waiting if waiting.head_by < math.inf else connection, "no_room")

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""
        self._open.discard(connection)

    def sweep(self, now: float) -> None:
        """Closes connections whose time is up.

        Args:
            now: Time of the event loop, seconds.
        """
        for connection in list(self._open):
            if reason := connection.overdue(now):
                self.close(connection, reason)
        self._rare.flush()

    def close(self, connection: Connection, reason: str) -> None:
        """Closes a connection for one of the reasons."""
        self.forget(connection)
        connection.drop()
        if reason != "closing":
            self.count(reason)

    def count(self, reason: str) -> None:
        """Counts and logs a connection that a limit closed."""
        self._closed(reason)
        self._rare.add("closed %d connections: %s", _REASONS[reason])


class Connection(HttpToolsProtocol):
    """One connection.

    Args:
        group: The listener's connections.
        **uvicorn: What uvicorn passes.
    """

    def __init__(self, *, group: Connections, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._group = group
        # Closes idle connections between two requests. That is not an error of the client and is not counted.
        self.timeout_keep_alive = group.limits.head_s  # type: ignore[assignment]
        #: Loop time by which the head of the next request must be complete; infinite while a request is answered.
        self.head_by = math.inf
        self._send_by = math.inf
        #: Unsent bytes of the response when ``_send_by`` was set.
        self._unread = 0
        self._close_by = math.inf
        self._in_head = False
        #: Bytes parsed since the last complete head or piece of a body.
        self._unproductive = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the deadline of the first request head and registers the connection."""
        super().connection_made(HeldHead(transport, self.loop))  # type: ignore[arg-type]
        self.head_by = self.loop.time() + self._group.limits.head_s
        self._group.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Unregisters the connection."""
        self._group.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses received bytes in pieces and refuses a request head that is too large."""
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE] if len(data) > _PIECE else data
            self._unproductive += len(piece)
            super().data_received(piece)
            if self.transport.is_closing():
                return
            if self._unproductive > self._group.limits.head_bytes:
                self._refuse_head()
                return

    def on_message_begin(self) -> None:
        """Marks the start of a request head."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Ends the deadline of the request head, and closes a connection with too many pipelined requests."""
        self._in_head = False
        self._unproductive = 0
        self.head_by = math.inf
        if len(self.pipeline) >= self._group.limits.pipelined:
            # The parser calls this for each request of its piece, also after the close.
            if not self.transport.is_closing():
                self._group.close(self, "pipelining")
            return
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps a header. Trailers, which follow the body, are ignored."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Passes a piece of the body on."""
        self._unproductive = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Resets the size of the request head."""
        self._unproductive = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Starts the deadline of the next request head."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()  # uvicorn resumes it after each answer.
        if self.cycle.response_complete:  # Otherwise the next pipelined request is being answered.
            self.head_by = self.loop.time() + self._group.limits.head_s

    def pause_writing(self) -> None:
        """Starts the deadline for the client to read the response."""
        self._wait_for_client(self.loop.time())
        super().pause_writing()

    def resume_writing(self) -> None:
        """Ends the deadline for the client to read the response."""
        self._send_by = math.inf
        super().resume_writing()

    def overdue(self, now: float) -> str:
        """The reason to close the connection now; empty if there is none."""
        if self.transport.is_closing():
            self._close_by = min(self._close_by, now + _LINGER_S)
            return "closing" if now > self._close_by else ""
        if self._send_by < math.inf and self.transport.get_write_buffer_size() <= self._unread - _PIECE:
            self._wait_for_client(now)
        if now > self._send_by:
            return "send_timeout"
        return "head_timeout" if now > self.head_by else ""

    def drop(self) -> None:
        """Closes at once and discards unsent bytes."""
        self.transport.abort()

    def _wait_for_client(self, now: float) -> None:
        self._send_by = now + self._group.limits.send_s
        self._unread = self.transport.get_write_buffer_size()

    def _refuse_head(self) -> None:
        error = ApiError(
            431,
            f"the request head is larger than {self._group.limits.head_bytes:,} bytes",
            code="head_too_large",
        )
        body = error.body()
        self._group.count("head_too_large")
        if self.cycle is None or self.cycle.response_complete:
            head = f"HTTP/1.1 431 \r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode() + body)
            self.transport.close()
        else:
            self.transport.abort()
