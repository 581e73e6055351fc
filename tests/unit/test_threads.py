"""A router shared between threads, and what holds the interpreter lock."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import turnout


def test_threads_at_a_barrier_decide_as_one(router: turnout.Router, prompts: list[str]) -> None:
    expected = [router.route(prompt) for prompt in prompts]
    matrix = np.stack([router.embed(prompt) for prompt in prompts])
    barrier = threading.Barrier(64)

    def work(shift: int) -> bool:
        barrier.wait()
        order = [*range(shift % len(prompts), len(prompts)), *range(shift % len(prompts))]
        single = all(router.route(prompts[row]) == expected[row] for row in order)
        explained = router.explain(prompts[order[0]]).decision == expected[order[0]]
        batch = router.route_batch(prompts) == expected
        rows = [router.win_rate(embedding=matrix[row]) for row in order[:5]]
        return single and explained and batch and rows == [expected[row].win_rate for row in order[:5]]

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(work, range(64)))


def test_threads_that_share_onnx_runtime_decide_as_one(artifact: Path, prompts: list[str]) -> None:
    router = turnout.load(artifact, engine="onnxruntime")
    expected = router.win_rates(prompts)
    barrier = threading.Barrier(8)

    def work(_: int) -> bool:
        barrier.wait()
        return np.allclose(router.win_rates(prompts), expected, rtol=0, atol=1e-6)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_opening_the_same_folder_on_many_threads_at_once(artifact: Path) -> None:
    barrier = threading.Barrier(16)

    def work(row: int) -> float:
        barrier.wait()
        return turnout.load(artifact, engine="onnxruntime" if row % 2 else "native").win_rate("what is")

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(work, range(16)))
    assert found == pytest.approx([found[0]] * 16, abs=1e-5)


def test_long_work_leaves_the_interpreter_to_others(router: turnout.Router) -> None:
    """While a batch is decided, this thread goes on: its longest pause is much shorter than the batch takes."""
    batch = [f"what is the sum of {row} and two numbers, and why is it even? " * 4 for row in range(40_000)]
    shares = []
    for _ in range(5):
        done = threading.Event()
        thread = threading.Thread(target=lambda done=done: (router.win_rates(batch), done.set()))
        thread.start()
        pauses, last = [], time.perf_counter()
        start = last
        while not done.is_set():
            now = time.perf_counter()
            pauses.append(now - last)
            last = now
        thread.join()
        # Reading the list takes the lock, deciding does not; the best of five, for the machine may be busy.
        shares.append(max(pauses) / (last - start))
        if min(shares) < 0.6:
            return
    raise AssertionError(f"the longest pause was {min(shares):.0%} of the batch")


def test_arrays_may_be_read_by_many_threads_at_once(router: turnout.Router) -> None:
    matrix = np.random.default_rng(2).normal(size=(20_000, 12)).astype(np.float32)
    expected = router.win_rates(embeddings=matrix)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: router.win_rates(embeddings=matrix), range(16)):
            assert np.array_equal(found, expected)


def test_short_prompts_of_a_pool_are_decided_without_releasing_the_interpreter_lock() -> None:
    """A thread that waits for the lock gets none while the interpreter's switch interval lasts, unless it is released."""
    router = turnout.load(pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0))
    calls = {
        "route": router.route,
        "explain": router.explain,
        "rank": router.rank,
    }
    interval = sys.getswitchinterval()
    for name, call in calls.items():
        gate, ran = threading.Lock(), threading.Event()
        gate.acquire()

        def wait(gate: threading.Lock = gate, ran: threading.Event = ran) -> None:
            with gate:
                ran.set()

        thread = threading.Thread(target=wait)
        thread.start()
        try:
            sys.setswitchinterval(1000)
            gate.release()
            for _ in range(2000):
                call("What is 2 + 2?")
            assert not ran.is_set(), name
        finally:
            sys.setswitchinterval(interval)
            thread.join()
