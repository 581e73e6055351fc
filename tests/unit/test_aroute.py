"""Routing from asyncio: the loop goes on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

import turnout


async def test_aroute_decides_as_route(router: turnout.Router, prompts: list[str]) -> None:
    for prompt in [*prompts, "x" * 5000, "what is the sum? " * 50_000]:
        assert await router.aroute(prompt, threshold=0.3) == router.route(prompt, threshold=0.3)
    embedding = router.embed("what is")
    assert await router.aroute(embedding=embedding) == router.route("what is")
    gathered = await asyncio.gather(*(router.aroute(prompt) for prompt in prompts))
    assert gathered == router.route_batch(prompts)


async def test_aroute_raises_what_route_raises(router: turnout.Router) -> None:
    for arguments in ({"prompt": "\ud800"}, {"prompt": "a", "threshold": 2.0}, {}, {"prompt": "x" * 9000 + "\ud800"}):
        with pytest.raises(turnout.RouterError) as awaited:
            await router.aroute(**arguments)
        with pytest.raises(type(awaited.value)) as direct:
            router.route(**arguments)
        assert str(awaited.value) == str(direct.value)


async def test_aroute_says_what_a_prompt_must_be(router: turnout.Router) -> None:
    with pytest.raises(turnout.InvalidTypeError, match="prompt must be str, not int"):
        await router.aroute(5)  # type: ignore[arg-type]


async def _longest_pause(work: asyncio.Future[object] | asyncio.Task[object]) -> float:
    longest, last = 0.0, time.perf_counter()
    while not work.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


@pytest.mark.parametrize("engine", ["native", "onnxruntime"])
async def test_aroute_does_not_hold_the_loop(artifact: Path, engine: str) -> None:
    """Texts that take the longest: the loop's longest pause stays below a fraction of what they take together."""
    router = turnout.load(artifact, engine=engine)
    prompts = [" " * 4_000_000 + "what", "\u200b" * 1_000_000, "x" * 4_000_000, "a\u0301" * 1_000_000]
    pauses = []
    for _ in range(5):
        start = time.perf_counter()
        for prompt in prompts * 4:
            router.route(prompt)
        together = time.perf_counter() - start
        work = asyncio.ensure_future(asyncio.gather(*(router.aroute(prompt) for prompt in prompts * 4)))
        pauses.append(await _longest_pause(work) / together)
        if pauses[-1] < 0.5:
            return
    raise AssertionError(f"the loop stood still for {min(pauses):.0%} of the time")


async def test_many_waiting_prompts_share_the_loop(router: turnout.Router) -> None:
    prompts = [f"what is the sum of {row} numbers" for row in range(2000)]
    decisions = await asyncio.gather(*(router.aroute(prompt) for prompt in prompts))
    assert np.array_equal([decision.win_rate for decision in decisions], router.win_rates(prompts))
