"""A router's queue is bounded, and a server says so: 429 with Retry-After, for networks and for routers of the user's own."""

from __future__ import annotations

import asyncio
import collections
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import turnout

#: A queue of eight prompts; the session waits for more prompts before it runs, so that the queue fills on any machine.
SMALL_QUEUE = {"max_queue": 8, "max_wait_us": 1_000_000}

#: More tokens than the network reads.
PROMPT = "How many ways are there to place eight queens on a board so that no two of them attack each other? " * 12


async def _posted(url: str, bodies: list[dict[str, Any]], path: str = "/v1/route") -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=len(bodies))
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        return list(await asyncio.gather(*(client.post(path, json=body) for body in bodies)))


def test_a_full_queue_of_a_network_is_a_429_with_retry_after(start: Any, network: Path) -> None:
    server = start(routers={"bert": {"path": str(network), **SMALL_QUEUE}})
    router = turnout.load(network)
    prompts = [f"{row} {PROMPT}" for row in range(128)]
    answers = asyncio.run(_posted(server.url, [{"model": "router-bert-0.5", "prompt": one} for one in prompts]))
    statuses = collections.Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}, statuses
    assert statuses[200] >= 8
    for prompt, answer in zip(prompts, answers, strict=True):
        if answer.status_code == 200:
            (decision,) = answer.json()["decisions"]
            assert decision["win_rate"] == pytest.approx(router.win_rate(prompt), abs=1e-4)
        else:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["code"] == "overloaded"
    # The queue is empty again.
    assert server.post({"model": "router-bert-0.5", "prompt": PROMPT}, "/v1/route").status_code == 200


def test_a_full_queue_is_a_429_for_chats_too(start: Any, network: Path) -> None:
    server = start(routers={"bert": {"path": str(network), **SMALL_QUEUE}})
    body = {"model": "router-bert-0.5", "messages": [{"role": "user", "content": PROMPT}]}
    answers = asyncio.run(_posted(server.url, [body] * 64, "/v1/chat/completions"))
    statuses = collections.Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}, statuses
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)


class Slow:
    """A router of the user's own that waits until it is released."""

    max_queue = 4
    release = threading.Event()

    def win_rate(self, prompt: str) -> float:
        assert self.release.wait(60)
        return 0.5


@pytest.fixture
def slow() -> Iterator[None]:
    turnout.register_router("slow", Slow)
    Slow.release.clear()
    yield
    from turnout.registry import by_name

    del by_name._REGISTERED["slow"]


def test_a_users_router_has_a_bound_too(start: Any, slow: None) -> None:
    server = start(routers={"slow": {}})
    many = {"model": "router-slow-0.5", "prompt": ["a", "b"]}
    bodies = [*({"model": "router-slow-0.5", "prompt": "a"} for _ in range(12)), many]

    async def posted() -> collections.Counter[int]:
        statuses: collections.Counter[int] = collections.Counter()
        async with httpx.AsyncClient(base_url=server.url, timeout=120) as client:

            async def post(body: dict[str, Any]) -> None:
                statuses[(await client.post("/v1/route", json=body)).status_code] += 1

            waiting = asyncio.gather(*(post(body) for body in bodies))
            # Those beyond the bound are answered while the others wait.
            while statuses[429] < 8:
                await asyncio.sleep(0.01)
            Slow.release.set()
            await waiting
        return statuses

    statuses = asyncio.run(posted())
    assert set(statuses) == {200, 429}
    # The queue takes four prompts at least: four requests, or two and the batch of two.
    assert 8 <= statuses[429] <= 10


def test_a_full_queue_is_a_429_for_explanations_of_the_playground_too(start: Any, network: Path) -> None:
    server = start(routers={"bert": {"path": str(network), **SMALL_QUEUE}})
    body = {"router": "bert", "prompt": PROMPT}
    answers = asyncio.run(_posted(server.url, [body] * 32, "/playground/api/explain"))
    statuses = collections.Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}, statuses
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
