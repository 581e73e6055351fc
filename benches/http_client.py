"""A client with as little of its own as can be: one connection for latency, many for throughput."""

from __future__ import annotations

import asyncio
import json
import socket
import time

#: Path and conversation of each dialect, and how a stream of it ends.
DIALECTS = {
    "chat": ("/v1/chat/completions", "messages", b"data: [DONE]"),
    "messages": ("/v1/messages", "messages", b'"message_stop"'),
    "responses": ("/v1/responses", "input", b'"response.completed"'),
}


def request(model: str, prompt: str, stream: bool = False, dialect: str = "chat") -> bytes:
    """A request as it goes over the wire."""
    path, conversation, _ = DIALECTS[dialect]
    fields = {
        "model": model,
        conversation: [{"role": "user", "content": prompt}],
        **({"stream": True} if stream else {}),
    }
    body = json.dumps(fields).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Connection:
    """One connection, blocking."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, content: bytes) -> tuple[bytes, float]:
        """The answer's head, and seconds to its last byte; the answer is asserted to be a success."""
        began = time.perf_counter()
        self.socket.sendall(content)
        found = b""
        while True:
            found += self.socket.recv(65536)
            end = found.find(b"\r\n\r\n")
            if end >= 0 and len(found) >= end + 4 + _length(found[:end]):
                break
        seconds = time.perf_counter() - began
        assert found.startswith(b"HTTP/1.1 200"), found[:500]
        assert b'"yes"' in found, found[:500]
        return found[:end], seconds


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.index(b"content-length:")
    return int(lower[at + 15 :].split(b"\r\n", 1)[0])


class _Closed(asyncio.Protocol):
    """A connection that asks again as soon as it is answered."""

    def __init__(self, content: bytes, counts: dict[str, int]) -> None:
        self.content, self.counts, self.waiting = content, counts, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.write(self.content)

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        end = self.waiting.find(b"\r\n\r\n")
        if end < 0 or len(self.waiting) < end + 4 + _length(self.waiting[:end]):
            return
        self.counts["ok" if self.waiting.startswith(b"HTTP/1.1 200") else "failed"] += 1
        self.waiting = b""
        self.transport.write(self.content)

    def connection_lost(self, error: Exception | None) -> None:
        self.counts["lost"] += 1


def requests_per_second(port: int, content: bytes, connections: int, seconds: float) -> float:
    """Sustained requests a second over some connections; any failure is an error."""

    async def measure() -> float:
        loop = asyncio.get_running_loop()
        counts = {"ok": 0, "failed": 0, "lost": 0}
        for _ in range(connections):
            await loop.create_connection(lambda: _Closed(content, counts), "127.0.0.1", port)
        await asyncio.sleep(min(1.0, seconds / 4))
        before, began = counts["ok"], time.perf_counter()
        await asyncio.sleep(seconds)
        rate = (counts["ok"] - before) / (time.perf_counter() - began)
        assert counts["failed"] == counts["lost"] == 0, counts
        return rate

    return asyncio.run(measure())
