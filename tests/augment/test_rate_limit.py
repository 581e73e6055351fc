"""``--requests-per-minute`` against a transport in memory and a clock that jumps to the next event instead of waiting."""

from __future__ import annotations

import asyncio
import json
import selectors

import httpx
import numpy as np
import openai
import pytest

from turnout.cli import main

PROMPTS = ["big wins here", "small wins here", "first wins here", "nobody is better"]
#: An answer of each model and a verdict in either order.
REQUESTS = 4 * len(PROMPTS)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when nothing is left to do, and then at once."""

    def __init__(self) -> None:
        loop = self

        class Selector(selectors.DefaultSelector):
            def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
                loop.now += max(timeout or 0.0, 0.0)
                return super().select(0)

        self.now = 0.0
        super().__init__(Selector())

    def time(self) -> float:
        return self.now


@pytest.fixture
def judge(endpoint, tmp_path, monkeypatch):
    """Runs the command on prompts; returns the seconds at which its requests started, in order."""
    starts: list[float] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        starts.append(asyncio.get_running_loop().time())
        # The answer takes half a second, so that requests overlap where nothing keeps them apart.
        await asyncio.sleep(0.5)
        status, body = endpoint.answer(
            json.loads(request.content), endpoint.failures.pop(0) if endpoint.failures else None
        )
        return httpx.Response(status, text=body, headers={"Retry-After": "0"} if status == 429 else {})

    monkeypatch.setattr(
        openai, "DefaultAsyncHttpxClient", lambda **options: httpx.AsyncClient(transport=httpx.MockTransport(answer))
    )
    # Asked for on a worker thread once a client: the clock of the loop would jump over the time limits of requests meanwhile.
    monkeypatch.setattr(
        openai.AsyncOpenAI, "_platform", property(lambda self: "Linux", lambda self, value: None), raising=False
    )
    monkeypatch.setattr(asyncio.events, "new_event_loop", JumpingLoop)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS) + "\n")
    models = ["--strong", "big", "--weak", "small", "--judge", "judge", "--base-url", "http://in-memory/v1"]

    def run(*options: str) -> np.ndarray:
        out = str(tmp_path / "battles.jsonl")
        assert main(["augment", "judge", "--prompts", str(prompts), *models, "--out", out, *options]) == 0
        return np.array(starts)

    return run


def test_requests_start_no_closer_than_the_rate_allows(judge):
    starts = judge("--requests-per-minute", "30")
    assert len(starts) == REQUESTS
    np.testing.assert_allclose(np.diff(starts), 2.0, rtol=0, atol=1e-6)


def test_a_slow_endpoint_is_not_made_up_for_by_a_burst(judge):
    # One request at a time takes half a second; at most four a second may start, so each starts when the last has ended.
    starts = judge("--requests-per-minute", "240", "--concurrency", "1")
    np.testing.assert_allclose(np.diff(starts), 0.5, rtol=0, atol=1e-6)


def test_further_attempts_wait_for_their_turn_too(judge, endpoint):
    endpoint.failures = [429, 503, 429]
    starts = judge("--requests-per-minute", "60")
    assert len(starts) == REQUESTS + 3
    assert np.diff(starts).min() >= 1.0 - 1e-6


def test_without_a_rate_only_concurrency_holds_requests_back(judge):
    starts = judge("--concurrency", "8")
    assert (starts[:8] == 0.0).all()
    assert starts[-1] < 3.0
