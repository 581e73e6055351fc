"""Shadow evaluation: after an answer was delivered, another model answers the same request and a judge compares both.

It has connections and circuit breakers of its own, so that its failures say nothing about live traffic.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from turnout.errors import OutcomeConflictError, OutcomesError, OverloadedError, RoutingError
from turnout.outcomes.comparison import read_verdict
from turnout.outcomes.spending import Spending
from turnout.serve.decisions.pool_decision import PoolRouted, excluded_now
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.json_body import beside_the_loop
from turnout.serve.rare_log import RareLog
from turnout.serve.shadow.calls import (
    ShadowCall,
    delivered_text,
    excluded_by,
    expected_of_judge,
    judge_call,
    shadow_request,
)
from turnout.serve.upstreams.answer import EventRelay
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turnout.outcomes import Outcomes
    from turnout.serve.decisions.attempts import Served
    from turnout.serve.decisions.planning import Plan
    from turnout.serve.decisions.snapshot import Model, Snapshot
    from turnout.serve.http.asgi import Message, Scope, Send
    from turnout.serve.metrics import Metrics
    from turnout.serve.upstreams.upstream import Request

logger = logging.getLogger("turnout.serve")

#: The header with which clients opt out.
_HEADER = b"x-turnout-shadow"
Preference = Literal["win", "tie", "loss"]


def may_be_shadowed(scope: Scope) -> bool:
    """Whether a client allows that its request is sent to another model as well: not with the header ``x-turnout-shadow: off``.

    Args:
        scope: Of ASGI.

    Raises:
        ApiError: 400 for another value of the header.
    """
    found = [value for name, value in scope["headers"] if name == _HEADER]
    for value in found:
        if value.strip().lower() != b"off":
            name, text = _HEADER.decode(), value.decode("latin-1")[:200]
            raise ApiError(400, f"header {name} is {text!r}, expected off", code="invalid_value", param=name)
    return not found


class Kept:
    """A request that was drawn, and its answer as it goes to the client. Call :meth:`close` whatever happens.

    Args:
        snapshot: Of the request.
        held: Those that all requests and comparisons hold.
    """

    def __init__(self, snapshot: Snapshot, held: Held) -> None:
        self.snapshot = snapshot
        self._held = held
        self._pieces: list[bytes] = []
        self._size = 0
        #: Why the answer was not kept: it is too long, there was no room, or its client opted out.
        self.lost = ""

    def tapped(self, send: Send) -> Send:
        """A ``send`` that also keeps the body.

        Args:
            send: Of ASGI.
        """

        async def sending(message: Message) -> None:
            await send(message)
            if not self.lost:
                self._keep(message.get("body", b""))

        return sending

    def taken(self) -> bytes:
        """The answer; its bytes are the caller's to give back."""
        self._size = 0
        return b"".join(self._pieces)

    def close(self) -> None:
        """Gives the bytes back."""
        self._held.used -= self._size
        self._size = 0
        self._pieces.clear()

    def _keep(self, piece: bytes) -> None:
        settings = self.snapshot.settings.shadow
        if self._size + len(piece) > settings.max_exchange_bytes:
            self.lost = "too_long"
        elif self._held.used + len(piece) > settings.max_bytes:
            self.lost = "bytes"
        if self.lost:
            self.close()
            return
        self._held.used += len(piece)
        self._size += len(piece)
        self._pieces.append(piece)


@dataclass
class Held:
    """Bytes that are held."""

    used: int = 0


@dataclass(frozen=True)
class Comparison:
    """One that waits."""

    snapshot: Snapshot
    receipt_id: str
    request: Request
    is_stream: bool
    content: bytes
    model: Model
    judge: Model
    propensity: float
    #: Where the judge reads the answer of the model.
    position: Literal[1, 2]

    @property
    def size(self) -> int:
        """Bytes that it keeps."""
        return len(self.request.body) + len(self.content)


class Shadows:
    """Draws requests, and compares answers in the background. For one event loop.

    Args:
        outcomes: Gets the verdicts, and has what was spent; ``None`` where there are none, and so no shadow evaluation.
        metrics: Counts comparisons and costs.
    """

    def __init__(self, outcomes: Outcomes | None, metrics: Metrics) -> None:
        self._outcomes = outcomes
        self._spending = None if outcomes is None else Spending(outcomes)
        self._metrics = metrics
        self._waiting: deque[Comparison] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = Held()
        self._upstreams: dict[str, Upstream] = {}
        self._rare = RareLog(logger)
        self._is_closed = False
        #: Draws requests, models and the order of answers.
        self.random = random.Random()

    def draw(self, snapshot: Snapshot, *, allowed: bool = True) -> Kept | None:
        """Whether a request is compared, as far as chance decides.

        Args:
            snapshot: Of the request.
            allowed: Whether its client allows it. Otherwise its answer is not kept.
        """
        settings = snapshot.settings.shadow
        if not settings.share or self._outcomes is None or self.random.random() >= settings.share:
            return None
        kept = Kept(snapshot, self._bytes)
        kept.lost = "" if allowed else "opted_out"
        return kept

    async def delivered(
        self, kept: Kept, planned: Plan, served: Served, request: Request, parsed: Mapping[str, Any], receipt_id: str
    ) -> dict[str, Any]:
        """Takes a request whose answer has been delivered.

        Args:
            kept: Of :meth:`draw`.
            planned: Of the request.
            served: The answer.
            request: The client's request.
            parsed: Its body.
            receipt_id: Of its receipt.

        Returns:
            For the receipt: the model and the chance of this comparison, or why there is none.
        """
        settings = kept.snapshot.settings.shadow
        reason = await self._refused(kept, served, request, parsed)
        models = [] if reason else _models(kept.snapshot, planned, served, request)
        if not reason and not models:
            reason = "no_model"
        if reason:
            self._metrics.shadow.labels(reason).inc()
            return {"excluded": reason}
        model, position = self.random.choice(models), self.random.choice((1, 2))
        one = Comparison(
            kept.snapshot,
            receipt_id,
            request,
            isinstance(served.answer.rest, EventRelay),
            kept.taken(),
            model,
            kept.snapshot.models[settings.judge],
            settings.share / len(models),
            position,  # type: ignore[arg-type]
        )
        self._bytes.used += len(one.request.body)
        found = {"model": model.name, "propensity": one.propensity, "position": position}
        if dropped := self._dropped(one):
            self._bytes.used -= one.size
            self._metrics.shadow.labels(dropped).inc()
            return {**found, "dropped": dropped}
        self._waiting.append(one)
        self._begin()
        return found

    async def close(self) -> None:
        """Stops: what waits is dropped, what runs is cancelled. Calls that were sent count with their expected cost."""
        self._is_closed = True
        self._bytes.used -= sum(one.size for one in self._waiting)
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for upstream in self._upstreams.values():
            await upstream.close()
        self._rare.flush(is_end=True)

    async def _refused(self, kept: Kept, served: Served, request: Request, parsed: Mapping[str, Any]) -> str:
        """Why a request is not compared whatever the model is; empty where it may be."""
        if served.answer.status != 200 or served.answer.failure:
            return "no_answer"
        if kept.lost or len(request.body) > kept.snapshot.settings.shadow.max_exchange_bytes:
            return kept.lost or "too_long"
        try:
            return await beside_the_loop(len(request.body), lambda: excluded_by(parsed, request.dialect))
        except RoutingError:
            return "unreadable"

    def _dropped(self, one: Comparison) -> str:
        settings = one.snapshot.settings.shadow
        if self._is_closed or len(self._waiting) >= settings.most_waiting:
            return "queue"
        return "bytes" if self._bytes.used > settings.max_bytes else ""

    def _begin(self) -> None:
        while self._waiting and len(self._tasks) < self._waiting[0].snapshot.settings.shadow.concurrency:
            task = asyncio.get_running_loop().create_task(self._run(self._waiting.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._begin()

    async def _run(self, one: Comparison) -> None:
        try:
            result = await self._result(one)
        except UpstreamError as error:
            result = "failed"
            self._rare.add("%d shadow calls failed: %s", str(error))
        except OutcomeConflictError:
            result = "conflict"
        except (OutcomesError, OverloadedError) as error:
            result = "not_stored"
            self._rare.add("%d shadow verdicts could not be stored: %s", str(error))
        except Exception:  # Whatever it is, the next comparison is made.
            logger.exception("unexpected error in shadow evaluation")
            result = "failed"
        finally:
            self._bytes.used -= one.size
        self._metrics.shadow.labels(result).inc()

    async def _result(self, one: Comparison) -> str:
        assert self._spending is not None
        assert self._outcomes is not None
        settings, dialect = one.snapshot.settings, one.request.dialect

        def read() -> tuple[str, str, ShadowCall, float]:
            body, prompt, output = shadow_request(one.request.body, dialect)
            text = delivered_text(one.content, dialect, is_stream=one.is_stream)
            call = ShadowCall(one.model, dialect, body, output, len(body), settings)
            return prompt, text, call, expected_of_judge(one.judge, prompt, text, call, settings)

        prompt, text, call, judging = await asyncio.to_thread(read)
        if not text.strip():
            return "empty"
        amount = call.expected + judging
        reserved = await asyncio.to_thread(self._spending.reserve, amount, settings.shadow.budget_per_day)
        if reserved is None:
            return "budget"
        calls = [call]
        try:
            preference = await self._compared(one, prompt, text, calls)
        finally:
            for made, kind in zip(calls, ("answer", "judge"), strict=False):
                self._metrics.shadow_cost.labels(made.model.label, kind).inc(made.cost)
            paid = sum(made.cost for made in calls)
            await asyncio.to_thread(self._spending.settle, reserved, paid)
        if preference is None:
            return "unreadable_verdict"
        if not preference:
            return "empty"
        await asyncio.to_thread(
            self._outcomes.record_verdict,
            one.receipt_id,
            one.model.name,
            preference,
            propensity=one.propensity,
            position=one.position,
            source=one.judge.name,
        )
        return preference

    async def _compared(
        self, one: Comparison, prompt: str, text: str, calls: list[ShadowCall]
    ) -> Preference | Literal[""] | None:
        """The verdict on the other model's answer; empty where it has none, ``None`` where the judge's cannot be read."""
        other = await calls[0].send(self._upstream(one.model))
        if not other.strip():
            return ""
        if other == text:
            return "tie"
        settings = one.snapshot.settings
        calls.append(judge_call(one.judge, prompt, (other, text) if one.position == 1 else (text, other), settings))
        verdict = read_verdict(await calls[1].send(self._upstream(one.judge)))
        if verdict is None or verdict == "tie":
            return verdict and "tie"
        return "win" if (verdict == "first") == (one.position == 1) else "loss"

    def _upstream(self, model: Model) -> Upstream:
        """A connection of its own to a model's upstream."""
        live = model.upstream
        found = self._upstreams.get(live.name)
        if found is None or (found.settings, found.key) != (live.settings, live.key):
            if found is not None:
                self._retiring(found)
            self._upstreams[live.name] = found = Upstream(live.name, live.settings, live.key)
        return found

    def _retiring(self, upstream: Upstream) -> None:
        task = asyncio.get_running_loop().create_task(upstream.retire())
        self._tasks.add(task)
        task.add_done_callback(self._ended)


def _models(snapshot: Snapshot, planned: Plan, served: Served, request: Request) -> list[Model]:
    """Models that may answer in the shadow: those that the configuration names, without the one that answered and those that may not serve."""
    routed = planned.routed
    explained = routed.explained if isinstance(routed, PoolRouted) else None
    return [
        snapshot.models[name]
        for name in snapshot.settings.shadow.models
        if name != served.model.name
        and (explained is None or explained.may_serve(name))
        and excluded_now(snapshot.models[name], request.dialect) is None
    ]
