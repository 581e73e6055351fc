"""What a kept answer costs a stream: time from the arrival of the last held token at the server to the client's first byte.

One event loop runs server, upstream and client, so that the numbers are upper bounds. The upstream sends `--hold` tokens at once, then waits: the client
gets its first byte when they are judged. The same stream without a cascade is measured in turns with it; the difference of the medians is what
holding and judging add beyond the held tokens.

Usage: python benches/cascade_serve.py [--requests 300] [--hold 32] [--smoke]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from turnout.cascade import Form, Judge, Policy
from turnout.serve.app import client_app
from turnout.serve.http.connection import Limits
from turnout.serve.http.listener import listener, listening, url_of
from turnout.serve.settings.file import settings_of
from turnout.serve.state import State

NAMES = ["mean_logprob", "least_logprob", "first_token_entropy", "first_token_margin", "length"]


def main() -> None:
    """Prints medians in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--hold", type=int, default=32)
    parser.add_argument("--smoke", action="store_true", help="few requests")
    args = parser.parse_args()
    asyncio.run(_measure(5 if args.smoke else args.requests, args.hold))


async def _measure(requests: int, hold: int) -> None:
    upstream = _Upstream(hold)
    base = await upstream.start()
    with tempfile.TemporaryDirectory() as folder:
        times = {}
        running = {name: await _server(base, Path(folder), hold, is_cascade) for name, is_cascade in _KINDS.items()}
        servers = {name: url for name, (*_, url) in running.items()}
        async with aiohttp.ClientSession() as client:
            for name, url in servers.items():
                await _first_byte(client, url, upstream)
                times[name] = []
            for _ in range(requests):
                for name, url in servers.items():
                    times[name].append(await _first_byte(client, url, upstream))
        for state, server, task, _ in running.values():
            server.should_exit = True
            await task
            await state.close()
    await upstream.stop()
    medians = {}
    for name, found in times.items():
        found.sort()
        medians[name] = found[len(found) // 2] * 1e3
        print(f"{name}: p50 {medians[name]:.3f} ms, p99 {found[int(len(found) * 0.99)] * 1e3:.3f} ms")
    added = medians["cascade"] - medians["direct"]
    print(f"added p50 of a kept answer beyond its {hold} held tokens: {added:.3f} ms; load {os.getloadavg()[0]:.1f}")


_KINDS = {"direct": False, "cascade": True}


async def _first_byte(client: aiohttp.ClientSession, url: str, upstream: _Upstream) -> float:
    """Seconds from the upstream's last held token to the client's first byte."""
    body = {"model": "router-mf", "stream": True, "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    async with client.post(f"{url}/v1/chat/completions", json=body) as answer:
        first = await answer.content.readany()
        seconds = time.perf_counter() - upstream.sent
        assert b"word" in first, first
        assert answer.headers["x-turnout-model"] == "small"
        upstream.go_on.set()
        content = first + await answer.read()
    assert content.count(b'"content": "word"') == upstream.hold + 1, content[-200:]
    return seconds


class _Upstream:
    """Streams the held tokens at once, and the last one when the client has its first byte."""

    def __init__(self, hold: int) -> None:
        self.hold = hold
        self.sent = 0.0
        self.go_on = asyncio.Event()
        self._event = _event("word")

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.go_on.clear()
        found = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await found.prepare(request)
        # One chunk: its arrival is the time of the last held token.
        self.sent = time.perf_counter()
        await found.write(self._event * self.hold)
        await self.go_on.wait()
        await found.write(self._event + b"data: [DONE]\n\n")
        return found


def _event(word: str) -> bytes:
    token = {"token": word, "logprob": -0.1, "top_logprobs": [{"token": word, "logprob": -0.1}] * 5}
    choice = {"index": 0, "delta": {"content": word}, "logprobs": {"content": [token]}, "finish_reason": None}
    return b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"


async def _server(base: str, folder: Path, hold: int, is_cascade: bool) -> tuple[State, Any, asyncio.Task[None], str]:
    router: dict[str, Any] = {}
    if is_cascade:
        judge = folder / "judge.json"
        forms = [Form(names, [0.0] * len(names), 0.0, -5.0, [0.0, 1.0], [0.0, 1.0]) for names in (NAMES, ["length"])]
        Judge(forms, Policy(0.1, 1.0, 2.0, 0.0, 1.1)).save(judge)
        router = {"mode": "cascade", "judge": str(judge), "hold_tokens": hold}
    else:
        router = {"threshold": 1.0}
    tables = {
        "pair": {"strong": "big", "weak": "small"},
        "upstreams": {"main": {"base_url": base}},
        "models": {name: {"upstream": "main"} for name in ("big", "small")},
        "routers": {"mf": router},
    }
    state = State(settings_of(tables))
    state.is_ready = True
    at = listening("127.0.0.1", 0)
    url = url_of(at)
    server = listener(client_app(state), Limits(), 5, lambda reason: None)
    task = asyncio.get_running_loop().create_task(server.serve([at]))
    while not server.started:
        await asyncio.sleep(0.01)
    return state, server, task, url


if __name__ == "__main__":
    main()
