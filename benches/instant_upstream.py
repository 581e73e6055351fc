"""An OpenAI-compatible endpoint that answers at once: what is measured through it is all the server's."""

from __future__ import annotations

import asyncio
import json
import sys
import threading

WHOLE = json.dumps(
    {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE)
EVENT = b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"yes"},"finish_reason":null}]}\n\n'
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Instant(asyncio.Protocol):
    """A connection: the answer in one piece, or a stream of an event every ``pause_s`` until ``stream_s`` are over."""

    pause_s, stream_s = 0.2, 5.0

    def __init__(self) -> None:
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Answers every request that is complete."""
        self.waiting += data
        while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
            head = self.waiting[:end].lower()
            at = head.find(b"content-length: ")
            length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.waiting) < end + 4 + length:
                return
            body = self.waiting[end + 4 : end + 4 + length]
            self.waiting = self.waiting[end + 4 + length :]
            if b'"stream":true' in body.replace(b" ", b""):
                self.transport.write(STREAM)
                self._event(asyncio.get_running_loop().time() + self.stream_s)
            else:
                self.transport.write(ANSWER)

    def _event(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        if self.transport.is_closing():
            return
        if loop.time() >= until:
            self.transport.write(END)
            return
        self.transport.write(CHUNK)
        loop.call_later(self.pause_s, self._event, until)


async def serve() -> None:
    """Prints the port, then answers until the process ends."""
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    threading.Thread(target=lambda: sys.stdin.read() or __import__("os")._exit(0), daemon=True).start()
    asyncio.run(serve())
