"""Worker threads with a bound: what counts, and for how long."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from turnout import OverloadedError
from turnout.threads import _WORKERS, BoundedThreads


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


async def test_cancelled_work_counts_until_it_ends() -> None:
    threads, begun, go, ended = BoundedThreads(1), threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(20)
        ended.set()

    task = asyncio.ensure_future(threads.run(work))
    await _until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    try:
        with pytest.raises(OverloadedError):
            await threads.run(lambda: 1)
    finally:
        go.set()
    await _until(ended.is_set)
    while True:  # The count falls a moment after the work's end.
        try:
            assert await threads.run(lambda: 1) == 1
            break
        except OverloadedError:
            await asyncio.sleep(0.005)


async def test_cancelled_work_that_waits_leaves_at_once_and_never_runs() -> None:
    threads, go, ran = BoundedThreads(_WORKERS + 1), threading.Event(), []
    running = [asyncio.ensure_future(threads.run(lambda: go.wait(20))) for _ in range(_WORKERS)]
    waiting = asyncio.ensure_future(threads.run(lambda: ran.append(1)))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await threads.run(lambda: 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    after = asyncio.ensure_future(threads.run(lambda: 1))
    await asyncio.sleep(0)
    go.set()
    assert await after == 1
    assert all(await asyncio.gather(*running))
    assert ran == []


async def test_errors_and_results_give_their_place_back() -> None:
    threads = BoundedThreads(1)

    def fails() -> None:
        raise KeyError("x")

    for _ in range(3):
        with pytest.raises(KeyError):
            await threads.run(fails)
        assert await threads.run(lambda: 2) == 2


async def test_other_work_of_the_loop_does_not_delay_it() -> None:
    loop, go = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    other = asyncio.ensure_future(asyncio.to_thread(go.wait, 20))
    await asyncio.sleep(0)
    assert await BoundedThreads(1).run(lambda: 1) == 1
    assert not other.done()
    go.set()
    await other


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_threads_of_its_own() -> None:
    threads = BoundedThreads(4)
    asyncio.run(threads.run(lambda: 1))
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(asyncio.run(threads.run(lambda: 7)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
