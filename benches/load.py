"""Open-loop latency: prompts arrive at a fixed rate whether or not earlier ones are answered, as they do in a service."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np


def open_loop(work: Callable[[], Any], per_second: float, *, seconds: float = 2.0) -> dict[str, float]:
    """Latency from the moment a prompt was due to the moment it was decided, on one thread.

    A late start counts as latency; a closed loop would hide it. The loop spins instead of sleeping, because waking up takes
    tens of microseconds.

    Args:
        work: One decision.
        per_second: Arrivals.
        seconds: How long.

    Returns:
        Microseconds at p50, p99 and p99.9, and the share of the time that the thread was busy.
    """
    total = int(per_second * seconds)
    latencies = np.empty(total)
    interval = 1e9 / per_second
    busy = 0
    begin = time.perf_counter_ns()
    for arrival in range(total):
        due = begin + arrival * interval
        start = time.perf_counter_ns()
        while start < due:
            start = time.perf_counter_ns()
        work()
        end = time.perf_counter_ns()
        busy += end - start
        latencies[arrival] = (end - due) / 1e3
    p50, p99, p999 = np.percentile(latencies, [50, 99, 99.9])
    return {"p50_us": p50, "p99_us": p99, "p99.9_us": p999, "busy": busy / (time.perf_counter_ns() - begin)}
