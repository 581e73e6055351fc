"""Timing that survives a noisy machine: candidates take turns, and medians are compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def medians(
    candidates: Mapping[str, Callable[[], Any]], *, seconds: float = 2.0, group: int = 20
) -> dict[str, tuple[float, float, float]]:
    """Times every candidate in turn, again and again, so that a slow moment of the machine hits all of them.

    Args:
        candidates: Functions without arguments by name.
        seconds: Time for all of them together; each is timed five times at least.
        group: Calls between two looks at the clock.

    Returns:
        Microseconds a call at p50, p95 and p99 (of groups) by name.
    """
    for work in candidates.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < 5:
        for name, work in candidates.items():
            start = time.perf_counter_ns()
            for _ in range(group):
                work()
            times[name].append((time.perf_counter_ns() - start) / group / 1e3)
    return {name: tuple(np.percentile(values, [50, 95, 99])) for name, values in times.items()}  # type: ignore[misc]
