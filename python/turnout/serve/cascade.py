"""Routers with ``mode = "cascade"``: the weak model's answer is judged before the client gets a byte, and kept or discarded."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from turnout.serve.answer import Answer, EventRelay
from turnout.serve.attempts import Served, first_answer
from turnout.serve.cascade_loaded import LoadedCascade
from turnout.serve.cascade_reading import Reading, fields_for
from turnout.serve.errors import UpstreamError
from turnout.serve.json_body import with_fields
from turnout.serve.metrics import Metrics
from turnout.serve.planning import Plan, Routed
from turnout.serve.upstream import Request
from turnout.serve.usage import UNKNOWN, Usage

logger = logging.getLogger("turnout.serve")


@dataclass
class Verdict:
    """What came of judging an answer."""

    p_error: float
    limit: float
    signals: Mapping[str, float]
    #: Of a million input and output tokens of the weak model.
    prices: tuple[float, float] | None
    #: Tokens that were read of the answer.
    read: int
    is_kept: bool = True
    #: Of the discarded answer, as far as its upstream said.
    usage: Usage = UNKNOWN

    def discarded(self, served: Usage) -> dict[str, Any]:
        """Tokens and cost of the discarded answer. A stream that was cut does not say its tokens: then they are estimated.

        Args:
            served: Tokens of the answer that was served; its input counts where that of the discarded one is unknown.
        """
        told = self.usage
        inputs = served.input_tokens if told.input_tokens is None else told.input_tokens
        outputs = self.read if told.output_tokens is None else told.output_tokens
        return {
            "input_tokens": inputs,
            "output_tokens": outputs,
            "cost": Usage(inputs, outputs).cost(self.prices),
            "estimated": told.input_tokens is None or told.output_tokens is None,
        }

    def receipt(self, served: Usage, cost: float | None) -> dict[str, Any]:
        """Fields of the receipt, from which P(error) can be computed again; ``cost`` is that of both calls.

        Args:
            served: Tokens of the answer that was served.
            cost: Of that answer alone.
        """
        found = {
            "p_error": self.p_error,
            "p_error_limit": self.limit,
            "signals": dict(self.signals),
            "kept": self.is_kept,
        }
        if self.is_kept:
            return found
        discarded = self.discarded(served)
        total = None if cost is None or discarded["cost"] is None else cost + discarded["cost"]
        return {**found, "discarded": discarded, "cost": total}

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of the answer."""
        outcome = b"kept" if self.is_kept else b"discarded"
        return [(b"x-turnout-cascade", outcome), (b"x-turnout-p-error", repr(self.p_error).encode())]


async def cascaded(
    planned: Plan,
    request: Request,
    parsed: Mapping[str, Any],
    metrics: Metrics,
    prices: tuple[float, float] | None,
    *,
    falls_back_on_context_overflow: bool,
) -> tuple[Served, Verdict | None]:
    """The first model's answer if it is good enough, else the second one's.

    Args:
        planned: Of the request.
        request: The client's request.
        parsed: Its body.
        metrics: Counts retries and fallbacks.
        prices: Of the weak model.
        falls_back_on_context_overflow: As :func:`turnout.serve.attempts.first_answer`.

    Returns:
        The answer, and the verdict where one was judged.

    Raises:
        UpstreamError: No model answers.
    """
    routed = planned.routed
    overflow = falls_back_on_context_overflow
    if (
        not isinstance(routed, Routed)
        or routed.cascade is None
        or routed.action != "cascade"
        or len(planned.candidates) < 2
    ):
        return await first_answer(planned.candidates, request, metrics, falls_back_on_context_overflow=overflow), None
    weak, strong = planned.candidates[:2]
    cascade = routed.cascade
    fields = fields_for(request.dialect, parsed) if cascade.asks_logprobs else {}
    asked = replace(request, body=await with_fields(request.body, fields)) if fields else request
    try:
        first = await first_answer((weak,), asked, metrics)
        answer, reading = await _held(first.answer, request, cascade)
    except UpstreamError as error:
        logger.warning("%s; trying model %s", error, strong.label)
        metrics.fallbacks.labels(weak.label, strong.label, error.reason).inc()
        served = await first_answer((strong,), request, metrics)
        return replace(served, fallback_reason=error.reason), None
    served = replace(first, answer=answer)
    if reading is None:
        if not (answer.is_context_overflow and overflow):
            return served, None
        metrics.fallbacks.labels(weak.label, strong.label, "context_overflow").inc()
        return replace(await first_answer((strong,), request, metrics), fallback_reason="context_overflow"), None
    verdict = _judged(reading, cascade, routed.decision.win_rate, prices)
    if verdict.is_kept:
        return served, verdict
    try:
        better = await first_answer((strong,), request, metrics)
    except UpstreamError as error:
        # The answer in hand is worth more than an error.
        logger.warning("%s; keeping the answer of model %s", error, weak.label)
        verdict.is_kept = True
        return replace(served, fallback_reason=error.reason), verdict
    except BaseException:
        answer.close()
        raise
    verdict.usage = answer.usage
    answer.close()
    return replace(better, answer=_with_usage(better.answer, weak.name, verdict)), verdict


def _judged(reading: Reading, cascade: LoadedCascade, risk: float, prices: tuple[float, float] | None) -> Verdict:
    judge = cascade.judge
    form, values = judge.form(reading.answer)
    p_error, limit = form.p_error(risk, values), judge.policy.threshold(risk)
    signals = dict(zip(form.signals, values, strict=True))
    return Verdict(p_error, limit, signals, prices, reading.tokens, p_error <= limit)


async def _held(answer: Answer, request: Request, cascade: LoadedCascade) -> tuple[Answer, Reading | None]:
    """The answer with as much of it read as is judged; no reading of errors and of bodies that are too long to hold.

    Raises:
        UpstreamError: The stream broke while it was held. The answer is closed.
    """
    if answer.status != 200 or not (answer.rest is None or isinstance(answer.rest, EventRelay)):
        return answer, None
    reading = Reading(request.dialect)
    if answer.rest is None:
        reading.whole(answer.first)
        return answer, reading
    try:
        first = await _hold(answer.first, answer.rest, reading, cascade)
    except BaseException:
        answer.close()
        raise
    return replace(answer, first=first), reading


async def _hold(first: bytes, rest: EventRelay, reading: Reading, cascade: LoadedCascade) -> bytes:
    until = time.monotonic() + cascade.hold_s
    pieces = [first]
    reading.piece(first)
    # The event that is due when the time is up is waited for: giving up on a read would lose what it had.
    while reading.tokens < cascade.hold_tokens and time.monotonic() < until:
        piece = await rest.next()
        if not piece:
            break
        pieces.append(piece)
        reading.piece(piece)
    return b"".join(pieces)


def _with_usage(answer: Answer, name: str, verdict: Verdict) -> Answer:
    """A whole answer whose ``usage`` also says what the discarded one took."""
    if answer.rest is not None or answer.status != 200:
        return answer
    body = orjson.loads(answer.first)
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return answer
    usage["discarded"] = {"model": name, **verdict.discarded(answer.usage)}
    return replace(answer, first=orjson.dumps(body))
