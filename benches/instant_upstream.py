"""An endpoint of every dialect that answers at once: what is measured through it is all the server's."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import NamedTuple

USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
ITEM = {
    "type": "message",
    "id": "m1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "yes"}],
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "store": False,
    "output": [ITEM],
    "usage": USAGE,
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "yes"}],
    "usage": USAGE,
}
CHUNK = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
DELTA = {"index": 0, "delta": {"content": "yes"}, "finish_reason": None}
COMPLETION = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


def _events(*events: dict[str, object] | str) -> bytes:
    """Events of a stream as one chunk; named by their type where they have one."""
    found = b""
    for event in events:
        name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
        found += f"{name}data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(found), found)


class Spoken(NamedTuple):
    """One dialect: its whole answer, and what a stream begins with, repeats and ends with."""

    whole: dict[str, object]
    first: bytes
    again: bytes
    last: bytes

    @property
    def answer(self) -> bytes:
        """The whole answer as it goes over the wire."""
        body = json.dumps(self.whole).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


#: By the end of the path.
SPOKEN = {
    b"/chat/completions": Spoken(COMPLETION, b"", _events({**CHUNK, "choices": [DELTA]}), _events("[DONE]")),
    b"/messages": Spoken(
        MESSAGE,
        _events(
            {"type": "message_start", "message": {**MESSAGE, "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ),
        _events({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "yes"}}),
        _events(
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": USAGE},
            {"type": "message_stop"},
        ),
    ),
    b"/responses": Spoken(
        RESPONSE,
        _events({"type": "response.created", "response": {**RESPONSE, "output": []}}),
        _events(
            {
                "type": "response.output_text.delta",
                "item_id": "m1",
                "output_index": 0,
                "content_index": 0,
                "delta": "yes",
            }
        ),
        _events({"type": "response.completed", "response": RESPONSE}),
    ),
}
ANSWERS = {path: spoken.answer for path, spoken in SPOKEN.items()}
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


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
            path = next(path for path in SPOKEN if path + b" " in head.split(b"\r\n", 1)[0])
            if b'"stream":true' in body.replace(b" ", b""):
                self.transport.write(STREAM + SPOKEN[path].first)
                self._event(SPOKEN[path], asyncio.get_running_loop().time() + self.stream_s)
            else:
                self.transport.write(ANSWERS[path])

    def _event(self, spoken: Spoken, until: float) -> None:
        loop = asyncio.get_running_loop()
        if self.transport.is_closing():
            return
        if loop.time() >= until:
            self.transport.write(spoken.last + b"0\r\n\r\n")
            return
        self.transport.write(spoken.again)
        loop.call_later(self.pause_s, self._event, spoken, until)


async def serve() -> None:
    """Prints the port, then answers until the process ends."""
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    threading.Thread(target=lambda: sys.stdin.read() or __import__("os")._exit(0), daemon=True).start()
    asyncio.run(serve())
