"""A scripted OpenAI-compatible endpoint on loopback, with every fault that an upstream can have."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import orjson

#: What is done for a request; by default :func:`answer`.
Script = Callable[["Exchange"], Any]


class Exchange:
    """One request, and the connection to answer on."""

    def __init__(self, head: bytes, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.target = head.split(b" ")[1].decode()
        self.headers = headers
        self.body = body
        self.writer = writer
        self.is_gone = asyncio.Event()

    @property
    def json(self) -> dict[str, Any]:
        """The body."""
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    async def send(self, content: bytes) -> None:
        """Writes bytes."""
        self.writer.write(content)
        await self.writer.drain()

    async def whole(self, status: int, body: bytes, **headers: str) -> None:
        """An answer with its length."""
        await self.send(
            self._head(status, {"content-type": "application/json", "content-length": str(len(body)), **headers}) + body
        )

    async def begin_stream(self, **headers: str) -> None:
        """The head of a stream of events."""
        await self.send(
            self._head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked", **headers})
        )

    async def chunk(self, content: bytes) -> None:
        """One chunk; an empty one ends the answer."""
        await self.send(b"%x\r\n%s\r\n" % (len(content), content))

    def abort(self) -> None:
        """Breaks the connection, as a killed process does."""
        self.writer.transport.abort()

    def _head(self, status: int, headers: dict[str, str]) -> bytes:
        lines = [
            f"HTTP/1.1 {status} Scripted",
            *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode()


def event(delta: dict[str, Any], model: str = "m", finish: str | None = None) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def completion(model: str, text: str) -> bytes:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return json.dumps(
        {"id": "c1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}
    ).encode()


async def answer(exchange: Exchange) -> None:
    """What a healthy upstream does: words that name the model, streamed if asked."""
    model = exchange.json["model"]
    if not exchange.json.get("stream"):
        await exchange.whole(200, completion(model, f"I am {model}"))
        return
    await exchange.begin_stream()
    for word in ("I", " am ", model):
        await exchange.chunk(event({"content": word}, model))
    await exchange.chunk(event({}, model, "stop") + b"data: [DONE]\n\n")
    await exchange.chunk(b"")


def refuse(status: int, **headers: str) -> Script:
    """Always this status."""

    async def script(exchange: Exchange) -> None:
        body = json.dumps({"error": {"message": f"scripted {status}", "type": "scripted", "code": None, "param": None}})
        await exchange.whole(status, body.encode(), **headers)

    return script


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for something that a server does after its answer."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


class ScriptedUpstream:
    """The endpoint, in a thread of its own. A context manager.

    ``scripts`` are used up one a request, then ``default``; or by model, under ``by_model``.
    """

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._tls = tls
        self.requests: list[Exchange] = []
        self.scripts: list[Script] = []
        self.by_model: dict[str, Script] = {}
        self.default: Script = answer
        self.connections = 0
        self.gone = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()

    @property
    def base_url(self) -> str:
        """As an OpenAI client takes it."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def models(self) -> list[str]:
        """Models of the requests so far."""
        return [exchange.json["model"] for exchange in self.requests]

    def __enter__(self) -> ScriptedUpstream:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Closes every connection and stops listening."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._connection(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", self.port, backlog=1024, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            raw_head = await reader.readuntil(b"\r\n\r\n")
            head = raw_head.decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            exchange = Exchange(raw_head, headers, body, writer)
            self.requests.append(exchange)
            script = (
                self.scripts.pop(0)
                if self.scripts
                else self.by_model.get(exchange.json["model"] if body else "", self.default)
            )
            watch = asyncio.ensure_future(self._watch(reader, exchange))
            try:
                await script(exchange)
            finally:
                watch.cancel()

    async def _watch(self, reader: asyncio.StreamReader, exchange: Exchange) -> None:
        while not reader.at_eof():
            await asyncio.sleep(0.005)
        self.gone += 1
        exchange.is_gone.set()


if __name__ == "__main__":
    with ScriptedUpstream() as running:
        print(running.port, flush=True)
        threading.Event().wait()
