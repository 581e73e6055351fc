"""Closed-loop throughput of many Python threads that call ``route`` at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any


def throughput(work: Callable[[], Any], threads: int, *, seconds: float = 1.0) -> float:
    """Calls per second of ``threads`` threads together.

    Args:
        work: What each thread calls in a loop.
        threads: Number of threads.
        seconds: How long they run.

    Returns:
        Calls per second over all threads.
    """
    counts = [0] * threads
    barrier = threading.Barrier(threads + 1)
    stop = threading.Event()

    def loop(place: int) -> None:
        barrier.wait()
        count = 0
        while not stop.is_set():
            for _ in range(16):
                work()
            count += 16
        counts[place] = count

    workers = [threading.Thread(target=loop, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    start = time.perf_counter()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - start)
