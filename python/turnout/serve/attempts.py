"""Who is asked, how often, and who is asked next."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from turnout.serve.json_body import with_model
from turnout.serve.metrics import Metrics
from turnout.serve.snapshot import Model
from turnout.serve.upstream import Answer, UpstreamError

#: An upstream that asks for a longer pause is not waited for.
_LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True)
class Served:
    """An answer and the model that gave it."""

    model: Model
    answer: Answer
    #: Reason of the failure that led away from the first model; empty where that one answered.
    fallback_reason: str = ""


async def ask(candidates: tuple[Model, ...], body: bytes, headers: Mapping[str, str], metrics: Metrics) -> Served:
    """Asks the candidates in turn until one answers.

    Args:
        candidates: Models, the chosen one first.
        body: The client's body.
        headers: Headers for the upstream.
        metrics: Told of retries and fallbacks.

    Raises:
        UpstreamError: Of the last candidate.
    """
    reason = ""
    for place, model in enumerate(candidates):
        try:
            answer = await _ask_one(model, await with_model(body, model.upstream_name), headers, metrics)
        except UpstreamError as error:
            if place + 1 == len(candidates):
                raise
            reason = error.reason
            metrics.fallbacks.labels(candidates[0].label, candidates[place + 1].label, reason).inc()
        else:
            return Served(model, answer, reason)
    raise AssertionError("there is always a candidate")


async def _ask_one(model: Model, body: bytes, headers: Mapping[str, str], metrics: Metrics) -> Answer:
    upstream = model.upstream
    attempt = 0
    while True:
        began = time.perf_counter()
        try:
            answer = await upstream.send(body, headers)
        except UpstreamError as error:
            pause = _pause(error, attempt, upstream.settings.backoff_s)
            if not error.repeatable or attempt >= upstream.settings.retries or pause > _LONGEST_PAUSE_S:
                raise
            metrics.retries.labels(model.label, error.reason).inc()
            attempt += 1
            await asyncio.sleep(pause)
        else:
            metrics.upstream_seconds.labels(model.label).observe(time.perf_counter() - began)
            return answer


def _pause(error: UpstreamError, attempt: int, backoff_s: float) -> float:
    """Doubling pauses with jitter, or as long as the upstream asks."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    return min(backoff_s * 2.0**attempt, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)
