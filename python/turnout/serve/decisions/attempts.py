"""Which models are tried, how often, and when the next one is."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from turnout.serve.decisions.efforts import body_for
from turnout.serve.decisions.snapshot import Model
from turnout.serve.metrics import Metrics
from turnout.serve.upstreams.answer import Answer
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.upstream import Call, Request

logger = logging.getLogger("turnout.serve")

#: Longest pause that is waited for, in seconds.
_LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True)
class Served:
    """An answer and the model that gave it."""

    model: Model
    answer: Answer
    #: Reason of the failure that led away from the first model; empty where that one answered.
    fallback_reason: str = ""
    #: Whether LiteLLM translated the request and the answer.
    is_translated: bool = False
    #: Seconds of the attempt that was answered, until the answer began; of a whole answer, all.
    began_s: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds that this model took: neither other attempts nor the client's reading count."""
        return self.began_s + (0.0 if self.answer.rest is None else self.answer.rest.body.waited_s)


async def first_answer(
    candidates: tuple[Model, ...], request: Request, metrics: Metrics, *, falls_back_on_context_overflow: bool = True
) -> Served:
    """Tries the candidates in turn until one answers.

    Args:
        candidates: Models, the chosen one first.
        request: The client's request.
        metrics: Counts retries and fallbacks.
        falls_back_on_context_overflow: Whether the next model is tried when the conversation does not fit into the context of one.

    Raises:
        UpstreamError: Of the last candidate.
    """
    reason = ""
    for model, after in zip(candidates, (*candidates[1:], None), strict=True):
        try:
            answer, seconds = await _attempt(model, request, metrics)
        except UpstreamError as error:
            if after is None:
                raise
            reason = error.reason
            logger.warning("%s; trying model %s", error, after.label)
        else:
            is_too_long = answer.is_context_overflow and falls_back_on_context_overflow
            if after is None or not is_too_long:
                return Served(model, answer, reason, model.translation_of(request.dialect) is not None, seconds)
            reason = "context_overflow"
        metrics.fallbacks.labels(candidates[0].label, after.label, reason).inc()
    raise AssertionError("there is always a candidate")


async def _attempt(model: Model, request: Request, metrics: Metrics) -> tuple[Answer, float]:
    """The answer, and the seconds until it began."""
    upstream = model.upstream
    body = await body_for(model, request.body, request.dialect)
    call = Call(request, body, model.upstream_name, model.label)
    attempt = 0
    while True:
        began, is_counted = time.perf_counter(), False
        try:
            _take_quotas(model)
            is_counted = True
            answer = await model.send(call, upstream)
        except UpstreamError as error:
            if is_counted and error.is_unread:
                for quota in model.quotas:
                    quota.give_back()
            if error.is_timeout:
                request.timed_out(model)
            pause = _pause(error, attempt, upstream.settings.backoff_s)
            if not error.repeatable or attempt >= upstream.settings.retries or pause > _LONGEST_PAUSE_S:
                raise
            metrics.retries.labels(model.label, error.reason).inc()
            attempt += 1
            await asyncio.sleep(pause)
        else:
            seconds = time.perf_counter() - began
            metrics.upstream_seconds.labels(model.label).observe(seconds)
            return answer, seconds


def _take_quotas(model: Model) -> None:
    wait_s = max((quota.remaining_s() for quota in model.quotas), default=0.0)
    if wait_s > 0.0:
        message = f"model {model.label} has reached its quota of requests a minute"
        raise UpstreamError("quota", message, is_outage=False, retry_after_s=wait_s)
    for quota in model.quotas:
        quota.take()


def _pause(error: UpstreamError, attempt: int, backoff_s: float) -> float:
    """Doubling pauses with jitter, or as long as the upstream says."""
    if error.retry_after_s is not None:
        return error.retry_after_s
    return min(backoff_s * 2.0**attempt, _LONGEST_PAUSE_S) * random.uniform(0.5, 1.0)
