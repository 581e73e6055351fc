"""Routers with ``mode = "cascade"``: an answer is judged before the client gets a byte, and kept or discarded for that of the next model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from turnout.serve.answer import Answer, EventRelay
from turnout.serve.attempts import Served, first_answer
from turnout.serve.cascade_loaded import LoadedCascade, Step
from turnout.serve.cascade_reading import Reading, fields_for
from turnout.serve.cascade_usage import with_discarded
from turnout.serve.cascade_verdict import Judged, Verdict
from turnout.serve.errors import UpstreamError
from turnout.serve.json_body import beside_the_loop, with_fields
from turnout.serve.metrics import Metrics
from turnout.serve.planning import Plan
from turnout.serve.snapshot import Model
from turnout.serve.upstream import WHOLE_BYTES, Request

logger = logging.getLogger("turnout.serve")

Prices = Callable[[str], tuple[float, float] | None]


async def cascaded(
    planned: Plan,
    request: Request,
    parsed: Mapping[str, Any],
    metrics: Metrics,
    prices: Prices,
    *,
    falls_back_on_context_overflow: bool,
) -> tuple[Served, Verdict | None]:
    """The answer of the first model that is good enough, else that of the last one.

    Args:
        planned: Of the request.
        request: The client's request.
        parsed: Its body.
        metrics: Counts retries, fallbacks, and kept and discarded answers.
        prices: Of a million input and output tokens, by name of the model.
        falls_back_on_context_overflow: As :func:`turnout.serve.attempts.first_answer`.

    Returns:
        The answer, and the verdict where one was judged.

    Raises:
        UpstreamError: No model answers.
    """
    overflow = falls_back_on_context_overflow
    if not planned.steps:
        return await first_answer(planned.candidates, request, metrics, falls_back_on_context_overflow=overflow), None
    run = _Run(planned, request, parsed, metrics, prices, overflow)
    try:
        served = await run.served()
    except BaseException:
        run.drop()
        raise
    return served, run.verdict if run.verdict.judged else None


class _Run:
    """One request on its way up the steps."""

    def __init__(
        self,
        planned: Plan,
        request: Request,
        parsed: Mapping[str, Any],
        metrics: Metrics,
        prices: Prices,
        falls_back_on_context_overflow: bool,
    ) -> None:
        self._planned = planned
        self._request = request
        self._parsed = parsed
        self._metrics = metrics
        self._prices = prices
        self._overflow = falls_back_on_context_overflow
        self.verdict = Verdict()
        #: The discarded answer that is served if all models after it fail.
        self._held: Served | None = None
        self._reason = ""

    async def served(self) -> Served:
        """Asks the models in turn.

        Raises:
            UpstreamError: The last one failed, and there is no answer to fall back on.
        """
        *judging, last = self._planned.steps
        for step in judging:
            found = await self._judged(step)
            if found is not None:
                return found
        return await self._last(last)

    def drop(self) -> None:
        """Closes the discarded answer."""
        held, self._held = self._held, None
        if held is not None:
            self.verdict.last.usage = held.answer.usage
            held.answer.close()

    async def _judged(self, step: Step) -> Served | None:
        """The answer of a step if it is kept."""
        assert step.cascade is not None
        self._make_room(step.model)
        try:
            found = await self._ask(step.model, step.cascade)
            answer, reading = await _held(found.answer, self._request, step.cascade)
        except UpstreamError as error:
            self._goes_on(step.model, error.reason, str(error))
            return None
        if reading is None and self._is_failure(answer):
            self._goes_on(step.model, _reason(answer), "")
            return None
        served = replace(found, answer=answer, fallback_reason=self._reason)
        if reading is None:
            return await self._finished(served)
        try:
            judged = await self._verdict(reading, step)
        except BaseException:
            answer.close()
            raise
        self.drop()
        self.verdict.judged.append(judged)
        judged.is_complete = answer.rest is None or (isinstance(answer.rest, EventRelay) and answer.rest.body.is_at_end)
        if judged.is_kept:
            self._metrics.cascaded.labels(step.model.label, "kept").inc()
            return await self._finished(served)
        self._metrics.cascaded.labels(step.model.label, "discarded").inc()
        self._held = served
        return None

    async def _last(self, step: Step) -> Served:
        """The answer of the last step, or of whoever stands in for it."""
        candidates = self._planned.candidates
        candidates = candidates[candidates.index(step.model) :]
        self._make_room(step.model)
        try:
            served = await first_answer(
                candidates, self._request, self._metrics, falls_back_on_context_overflow=self._overflow
            )
        except UpstreamError as error:
            if self._held is None:
                raise
            return await self._fallen_back(step.model, error.reason, str(error))
        if self._held is not None and served.answer.status >= 400:
            served.answer.close()
            return await self._fallen_back(step.model, _reason(served.answer), "")
        was_judged = self._held is not None
        self.drop()
        if was_judged:
            self._metrics.cascaded.labels(served.model.label, "next").inc()
        return await self._finished(replace(served, fallback_reason=served.fallback_reason or self._reason))

    async def _fallen_back(self, model: Model, reason: str, message: str) -> Served:
        """The discarded answer in hand: it is worth more than an error."""
        held, self._held = self._held, None
        assert held is not None
        logger.warning(
            "%s; keeping the answer of model %s", message or f"model {model.label}: {reason}", held.model.label
        )
        self._metrics.fallbacks.labels(model.label, held.model.label, reason).inc()
        self.verdict.last.is_kept = True
        return await self._finished(replace(held, fallback_reason=reason))

    async def _finished(self, served: Served) -> Served:
        """The answer that goes to the client."""
        if all(one.is_kept for one in self.verdict.judged):
            return served
        try:
            answer = await with_discarded(served.answer, self._request.dialect, self.verdict)
        except BaseException:
            served.answer.close()
            raise
        return replace(served, answer=answer)

    async def _ask(self, model: Model, cascade: LoadedCascade) -> Served:
        """An answer, with log-probabilities where the judge reads them."""
        request, alone = self._request, (model,)
        # What a translation makes of log-probabilities is not known.
        asks = cascade.asks_logprobs and model.translation_of(request.dialect) is None
        fields = fields_for(request.dialect, self._parsed) if asks else {}
        if not fields:
            return await first_answer(alone, request, self._metrics)
        found = await first_answer(alone, replace(request, body=await with_fields(request.body, fields)), self._metrics)
        if found.answer.status not in (400, 422) or found.answer.is_context_overflow:
            return found
        # The fields are the server's: an error about them would mean nothing to the client.
        found.answer.close()
        logger.warning(
            "model %s: status %d for a request with log-probabilities; asking without (ask_logprobs = false)",
            model.label,
            found.answer.status,
        )
        return await first_answer(alone, request, self._metrics)

    async def _verdict(self, reading: Reading, step: Step) -> Judged:
        assert step.cascade is not None
        assert self._planned.routed is not None
        answer, scorer = reading.answer, step.cascade.scorer
        if scorer is not None:
            answer = replace(answer, score=await scorer.ascore(self._planned.routed.prompt, answer.text))
        form, values = step.cascade.judge.form(answer)
        p_error = form.p_error(step.risk, values)
        signals = dict(zip(form.signals, values, strict=True))
        name, is_kept = step.model.name, p_error <= step.limit
        return Judged(name, p_error, step.limit, signals, self._prices(name), reading.tokens, is_kept)

    def _is_failure(self, answer: Answer) -> bool:
        """Whether an answer that cannot be judged leads to the next model: it does not fit, or a better one is in hand."""
        return (answer.is_context_overflow and self._overflow) or (self._held is not None and answer.status >= 400)

    def _goes_on(self, model: Model, reason: str, message: str) -> None:
        names = [one.model for one in self._planned.steps]
        after = names[names.index(model) + 1]
        logger.warning("%s; trying model %s", message or f"model {model.label}: {reason}", after.label)
        self._metrics.fallbacks.labels(model.label, after.label, reason).inc()
        self._reason = reason

    def _make_room(self, model: Model) -> None:
        """Lets go of a held stream that takes the last place at the upstream that is asked next."""
        held = self._held
        upstream = model.upstream
        if held is not None and held.answer.rest is not None and held.model.upstream is upstream and upstream.is_full:
            self.drop()


def _reason(answer: Answer) -> str:
    return "context_overflow" if answer.is_context_overflow else str(answer.status)


async def _held(answer: Answer, request: Request, cascade: LoadedCascade) -> tuple[Answer, Reading | None]:
    """The answer with as much of it read as is judged; no reading of errors and of bodies that are too long to hold.

    Raises:
        UpstreamError: The stream broke or had an error while it was held. The answer is closed.
    """
    if answer.status != 200 or not (answer.rest is None or isinstance(answer.rest, EventRelay)):
        return answer, None
    reading = Reading(request.dialect)
    try:
        if answer.rest is None:
            await beside_the_loop(len(answer.first), lambda: reading.whole(answer.first))
            return answer, reading
        first = await _hold(answer.first, answer.rest, reading, cascade)
    except BaseException:
        answer.close()
        raise
    return replace(answer, first=first), reading


async def _hold(first: bytes, rest: EventRelay, reading: Reading, cascade: LoadedCascade) -> bytes:
    until = asyncio.get_running_loop().time() + cascade.hold_s
    pieces, size = [first], len(first)
    reading.piece(first)
    while reading.tokens < cascade.hold_tokens and size < WHOLE_BYTES and not rest.has_error:
        try:
            piece = await rest.next(until)
        except TimeoutError:
            break
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
        reading.piece(piece)
    if rest.has_error:
        raise UpstreamError("error_in_answer", f"upstream {rest.body.upstream.name} sent an error in its stream")
    return b"".join(pieces)
