"""Routers with ``mode = "cascade"``: an answer is judged before the client gets a byte, and kept or discarded for that of the next model."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from turnout.serve.cascade.hold import held_for_judging
from turnout.serve.cascade.usage import with_discarded
from turnout.serve.cascade.verdict import Broken, Judged, Verdict
from turnout.serve.decisions.attempts import Served, first_answer
from turnout.serve.decisions.planning import Plan
from turnout.serve.decisions.snapshot import Model
from turnout.serve.decisions.steps import LoadedStep
from turnout.serve.http.json_body import with_fields
from turnout.serve.metrics import Metrics
from turnout.serve.routers.judges import LoadedCascade
from turnout.serve.upstreams.answer import Answer, EventRelay
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.reading import Reading, fields_for
from turnout.serve.upstreams.upstream import Request
from turnout.serve.upstreams.usage import UNKNOWN, Usage
from turnout.token_prices import TokenPrices

logger = logging.getLogger("turnout.serve")

Prices = Callable[[str], TokenPrices | None]


async def cascaded(
    planned: Plan,
    request: Request,
    parsed: Mapping[str, Any],
    metrics: Metrics,
    prices: Prices,
    verdict: Verdict,
    *,
    falls_back_on_context_overflow: bool,
) -> Served:
    """The answer of the first model that is good enough, else that of the last one.

    Args:
        planned: Of the request.
        request: The client's request.
        parsed: Its body.
        metrics: Counts retries, fallbacks, and kept and discarded answers.
        prices: By name of the model.
        verdict: Gets what was judged and what was paid for, whether there is an answer or not.
        falls_back_on_context_overflow: As :func:`turnout.serve.decisions.attempts.first_answer`.

    Returns:
        The answer.

    Raises:
        UpstreamError: No model answers.
    """
    overflow = falls_back_on_context_overflow
    if not planned.steps:
        return await first_answer(planned.candidates, request, metrics, falls_back_on_context_overflow=overflow)
    run = _Run(planned, request, parsed, metrics, prices, verdict, overflow)
    try:
        return await run.served()
    except BaseException:
        run.drop()
        raise


@dataclass
class _Run:
    """One request on its way up the steps.

    Attributes:
        planned: Of the request.
        request: The client's request.
        parsed: Its body.
        metrics: Counts answers and fallbacks.
        prices: By name of the model.
        verdict: What came of judging.
        overflow: Whether a prompt that does not fit goes to the next model.
        held: The discarded answer that is served if all models after it fail.
        reason: Why a model before was left out; empty if none was.
    """

    planned: Plan
    request: Request
    parsed: Mapping[str, Any]
    metrics: Metrics
    prices: Prices
    verdict: Verdict
    overflow: bool
    held: Served | None = None
    reason: str = ""

    async def served(self) -> Served:
        """The answer of the first model that is good enough, in the order of the steps.

        Raises:
            UpstreamError: The last one failed, and there is no answer to fall back on.
        """
        *judging, last = self.planned.steps
        for step in judging:
            found = await self._judged(step)
            if found is not None:
                return found
        return await self._last(last)

    def drop(self) -> None:
        """Closes the discarded answer."""
        held, self.held = self.held, None
        if held is not None:
            assert self.verdict.last is not None
            self.verdict.last.usage = held.answer.usage
            held.answer.close()

    async def _judged(self, step: LoadedStep) -> Served | None:
        """The answer of a step if it is kept."""
        assert step.cascade is not None
        self._make_room(step.model)
        try:
            with self._charging(step.model):
                found = await self._ask(step.model, step.cascade)
            answer, reading = await self._hold(found, step.cascade)
        except UpstreamError as error:
            self._goes_on(step.model, error.reason, str(error))
            return None
        if reading is None and self._is_failure(answer):
            self._goes_on(step.model, _reason(answer), "")
            return None
        served = replace(found, answer=answer, fallback_reason=self.reason)
        if reading is None:
            self.drop()
            return await self._finished(served)
        try:
            judged = await self._verdict(reading, step)
        except BaseException as error:
            self._broke(found, reading, "judge_failed" if isinstance(error, Exception) else "not_delivered")
            answer.close()
            raise
        self.drop()
        self.verdict.asked.append(judged)
        judged.is_complete = answer.rest is None or (isinstance(answer.rest, EventRelay) and answer.rest.body.is_at_end)
        if judged.is_kept:
            self.metrics.cascaded.labels(step.model.label, "kept").inc()
            return await self._finished(served)
        self.metrics.cascaded.labels(step.model.label, "discarded").inc()
        self.held = served
        return None

    async def _last(self, step: LoadedStep) -> Served:
        """The answer of the last step, of one of its fallbacks, or the discarded one."""
        candidates = self.planned.candidates
        candidates = candidates[candidates.index(step.model) :]
        self._make_room(step.model)
        try:
            with self._charging(step.model):
                served = await first_answer(
                    candidates, self.request, self.metrics, falls_back_on_context_overflow=self.overflow
                )
        except UpstreamError as error:
            if self.held is None:
                raise
            return await self._fallen_back(step.model, error.reason, str(error))
        if self.held is not None and served.answer.status >= 400:
            served.answer.close()
            return await self._fallen_back(step.model, _reason(served.answer), "")
        was_judged = self.held is not None
        self.drop()
        if was_judged:
            self.metrics.cascaded.labels(served.model.label, "next").inc()
        return await self._finished(replace(served, fallback_reason=served.fallback_reason or self.reason))

    async def _fallen_back(self, model: Model, reason: str, message: str) -> Served:
        """The discarded answer in hand: it is worth more than an error."""
        held, self.held = self.held, None
        assert held is not None
        logger.warning(
            "%s; keeping the answer of model %s", message or f"model {model.label}: {reason}", held.model.label
        )
        self.metrics.fallbacks.labels(model.label, held.model.label, reason).inc()
        assert self.verdict.last is not None
        self.verdict.last.is_kept = True
        return await self._finished(replace(held, fallback_reason=reason))

    async def _finished(self, served: Served) -> Served:
        """The answer that goes to the client."""
        if not self.verdict.has_discarded:
            return served
        try:
            answer = await with_discarded(served.answer, self.request.dialect, self.verdict)
        except BaseException:
            self.verdict.asked.append(self._undelivered(served.model, served.answer.usage))
            served.answer.close()
            raise
        return replace(served, answer=answer)

    async def _ask(self, model: Model, cascade: LoadedCascade) -> Served:
        """An answer, with log-probabilities where the judge reads them."""
        request, alone = self.request, (model,)
        # What a translation makes of log-probabilities is not known.
        asks = cascade.asks_logprobs and model.translation_of(request.dialect) is None
        fields = fields_for(request.dialect, self.parsed) if asks else {}
        if not fields:
            return await first_answer(alone, request, self.metrics)
        found = await first_answer(alone, replace(request, body=await with_fields(request.body, fields)), self.metrics)
        if found.answer.status not in (400, 422) or found.answer.is_context_overflow:
            return found
        # The fields are the server's: an error about them would mean nothing to the client.
        found.answer.close()
        logger.warning(
            "model %s: status %d for a request with log-probabilities; asking without (ask_logprobs = false)",
            model.label,
            found.answer.status,
        )
        return await first_answer(alone, request, self.metrics)

    async def _hold(self, found: Served, cascade: LoadedCascade) -> tuple[Answer, Reading | None]:
        """As :func:`held_for_judging`; a time-out meanwhile is one of the model. Those before its answer are counted where it is asked."""
        reading = Reading(self.request.dialect)
        try:
            return await held_for_judging(found.answer, reading, cascade)
        except UpstreamError as error:
            self._broke(found, reading, error.reason)
            if error.is_timeout:
                self.request.timed_out(found.model)
            raise
        except BaseException:
            self._broke(found, reading)
            raise

    def _broke(self, found: Served, reading: Reading, failure: str = "not_delivered") -> None:
        """An answer that was not judged: its stream broke, its judge failed, or the client left meanwhile."""
        name, answer = found.model.name, found.answer
        broken = Broken(
            model=name,
            prices=self.prices(name),
            read=reading.tokens,
            usage=answer.usage,
            is_complete=answer.rest is None,
            failure=failure,
        )
        self.verdict.asked.append(broken)

    @contextlib.contextmanager
    def _charging(self, model: Model) -> Iterator[None]:
        """Where the client leaves meanwhile, what the model charges is not known, so the cost of all calls is not, either."""
        try:
            yield
        except UpstreamError:
            raise
        except BaseException:
            if self.verdict.has_discarded:
                self.verdict.asked.append(self._undelivered(model))
            raise

    def _undelivered(self, model: Model, usage: Usage = UNKNOWN) -> Broken:
        prices, is_complete = self.prices(model.name), usage.output_tokens is not None
        return Broken(
            model=model.name, prices=prices, read=0, usage=usage, is_complete=is_complete, failure="not_delivered"
        )

    async def _verdict(self, reading: Reading, step: LoadedStep) -> Judged:
        assert step.cascade is not None
        assert self.planned.routed is not None
        answer, scorer = reading.answer, step.cascade.scorer
        if scorer is not None:
            answer = replace(answer, score=await scorer.ascore(self.planned.routed.prompt, answer.text))
        form, values = step.cascade.judge.form(answer)
        p_error = form.p_error(step.risk, values)
        signals = dict(zip(form.signals, values, strict=True))
        name, is_kept = step.model.name, p_error <= step.limit
        return Judged(
            model=name,
            prices=self.prices(name),
            read=reading.tokens,
            is_kept=is_kept,
            p_error=p_error,
            limit=step.limit,
            signals=signals,
        )

    def _is_failure(self, answer: Answer) -> bool:
        """Whether an answer that cannot be judged leads to the next model: it does not fit, or a better one is in hand."""
        return (answer.is_context_overflow and self.overflow) or (self.held is not None and answer.status >= 400)

    def _goes_on(self, model: Model, reason: str, message: str) -> None:
        names = [one.model for one in self.planned.steps]
        after = names[names.index(model) + 1]
        logger.warning("%s; trying model %s", message or f"model {model.label}: {reason}", after.label)
        self.metrics.fallbacks.labels(model.label, after.label, reason).inc()
        self.reason = reason

    def _make_room(self, model: Model) -> None:
        """Drops a held stream that takes the last place at the upstream of the next model."""
        held = self.held
        upstream = model.upstream
        if held is not None and held.answer.rest is not None and held.model.upstream is upstream and upstream.is_full:
            self.drop()


def _reason(answer: Answer) -> str:
    return "context_overflow" if answer.is_context_overflow else str(answer.status)
