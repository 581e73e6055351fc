"""The head of an answer goes out with the beginning of its body."""

from __future__ import annotations

import asyncio
from typing import Any

_HEAD = b"HTTP/1.1 "


class HeldHead:
    """A transport that holds the head of an answer until the next write, or until the event loop has run what is due.

    uvicorn writes a head by itself, which takes a call of the system, a packet and a wake-up of the client of its own.

    Args:
        transport: Writes.
        loop: Of the transport.
    """

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Writes, or holds a head."""
        if self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(_HEAD):
            self._held = data
            self._loop.call_soon(self.flush)
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Writes what is held."""
        held, self._held = self._held, b""
        if held:
            self._transport.write(held)

    def close(self) -> None:
        """Closes after everything is written."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        self._held = b""
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
