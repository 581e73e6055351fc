"""How long a pool takes to decide, and whether its choice survives a rewritten prompt: RouterArena's latency and robustness."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from turnout.evaluate.perturb import Change
from turnout.evaluate.pools.arena import robustness

#: Prompts on which both are measured, at most.
MAX_PROMPTS = 1000


class Decides(Protocol):
    """What is measured: :class:`turnout.PoolRouter` has it."""

    def route(self, prompt: str) -> Any:
        """The decision, with its ``model``."""

    def route_batch(self, prompts: Sequence[str]) -> list[Any]:
        """Decisions, each with its ``model``."""


@dataclass(frozen=True)
class Latency:
    """Microseconds of one decision, each prompt alone and once.

    Attributes:
        mean: RouterArena's latency, there in milliseconds.
        p50: Median.
        p95: 95th percentile.
    """

    mean: float
    p50: float
    p95: float


def latency(pool: Decides, prompts: Sequence[str], seed: int) -> Latency:
    """Measures decisions one after another.

    Args:
        pool: The pool.
        prompts: The prompts, at least one; of more than 1,000, as many are drawn.
        seed: Of the draw.
    """
    some = _drawn(prompts, seed)
    pool.route(some[0])
    found = []
    for prompt in some:
        start = time.perf_counter_ns()
        pool.route(prompt)
        found.append((time.perf_counter_ns() - start) / 1e3)
    p50, p95 = np.percentile(found, [50, 95])
    return Latency(float(np.mean(found)), float(p50), float(p95))


def unchanged(
    pool: Decides, prompts: Sequence[str], changes: Mapping[str, Change], seed: int
) -> dict[str, float | None]:
    """RouterArena's robustness for every kind of change: the part of the prompts whose rewritten form goes to the same model.

    Args:
        pool: The pool.
        prompts: The prompts; of more than 1,000, as many are drawn.
        changes: By name.
        seed: Of the draw and of the changes.

    Returns:
        By name; ``None`` for a change that leaves all prompts as they are.
    """
    some = _drawn(prompts, seed)
    before = [decision.model for decision in pool.route_batch(some)]
    found: dict[str, float | None] = {}
    for name, change in changes.items():
        generator = random.Random(seed)
        rewritten = [change(prompt, generator) for prompt in some]
        rows = [row for row, (new, old) in enumerate(zip(rewritten, some, strict=True)) if new != old]
        after = [decision.model for decision in pool.route_batch([rewritten[row] for row in rows])]
        found[name] = robustness([before[row] for row in rows], after) if rows else None
    return found


def _drawn(prompts: Sequence[str], seed: int) -> list[str]:
    """Some of the prompts: tables are sorted by task, so their first ones are of few kinds."""
    order = np.random.default_rng(seed).permutation(len(prompts))[:MAX_PROMPTS]
    return [prompts[row] for row in order.tolist()]
