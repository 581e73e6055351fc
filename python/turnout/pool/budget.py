"""Keeps what a pool uses (cost, CO2, slow answers) at a limit while prompts, prices and traffic change."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout._core import InvalidInputError, NoFeasibleModelError
from turnout.durable_files import replace_file

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from turnout._core import PoolDecision, Ranked
    from turnout.pool.request import PoolRequest
    from turnout.pool.router import PoolRouter

PERIODS = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}
#: Range of the logarithm of the price, in units of the dearest request: below it the most likely model is chosen, above it the least use.
LOWEST, HIGHEST = math.log(1e-3), math.log(1e4)
START = math.log(0.05)
#: One request moves the logarithm by at most this much.
LARGEST_STEP = 0.2
#: Share of answers that may be slower than the limit on p95.
SLOW_SHARE = 0.05
#: Tokens of a request, for the order of magnitude of its cost.
_TYPICAL_INPUT, _TYPICAL_OUTPUT = 500.0, 300.0


class PoolBudget:
    """Chooses models so that the use of a resource stays at a limit, over any number of models and for any stream of prompts.

    Each decision takes the least ``P(failure) + price x use``, which the core evaluates. After it, the price changes by
    ``log price += (use - allowance) / scale``: a step of mirror descent on the dual of the budget with the entropy as mirror map
    ("The Best of Many Worlds: Dual Mirror Descent for Online Allocation Problems", arXiv 2011.10124). The allowance of a request
    is the budget per second times the seconds since the last request, so neither the number of requests nor their distribution has to
    be known. For a limit on p95 latency, the use is the chance that the answer is slower, and the allowance 5 % a request.

    The changes of the logarithm add up to ``(use - allowance) / scale``, so over any stretch the use exceeds the allowance by at most
    ``scale x (log price at its end - at its beginning)``: :attr:`overshoot` is the bound. Unused allowance expires where the price reaches
    its lower end. At the upper end (:attr:`is_exceeded`) every request goes to the model of least use, and what that uses beyond the
    allowance is not counted: no choice would avoid it.

    Decisions depend on the prompts, the times and the state alone: the same stream gives the same decisions again. Instances can be
    shared between threads; the router decides outside the lock.

    Args:
        router: A router of a pool.
        cost: Limit on the expected cost, in the pool's currency, for each ``per``. One of the first three is given.
        co2_grams: Limit on grams of CO2e, likewise; every model needs ``co2_grams``.
        p95_latency_ms: Limit in milliseconds on the 95th percentile of latency; every model needs ``latency_ms`` or ``tokens_per_second``.
        per: ``"minute"``, ``"hour"``, ``"day"`` or seconds.
        horizon: Share of the budget by which the use may run ahead before the price rises by a factor of e, in ``(0, 1]``.
        path: File in which the state is kept: read now, and written in one step, at most once a second, and by :meth:`save`.
        clock: Seconds, for calls that do not give ``at``.

    Raises:
        InvalidInputError: A number out of range, not exactly one limit, a model that says nothing of what is limited, or a file with the
            state of another budget.

    Example:
        >>> import turnout
        >>> pool = turnout.Pool([
        ...     turnout.Model("large", success=0.9, input_price=5, output_price=20),
        ...     turnout.Model("small", success=0.6, input_price=0.1, output_price=0.4),
        ... ])
        >>> budget = turnout.PoolBudget(turnout.load(pool=pool), cost=1.0, per="hour")
        >>> budget.route("What is 2 + 2?", at=0.0).model
        'large'
    """

    def __init__(
        self,
        router: PoolRouter,
        *,
        cost: float | None = None,
        co2_grams: float | None = None,
        p95_latency_ms: float | None = None,
        per: str | float = "hour",
        horizon: float = 0.01,
        path: str | os.PathLike[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        limits = {"cost": cost, "co2": co2_grams, "latency": p95_latency_ms}
        given = [(name, limit) for name, limit in limits.items() if limit is not None]
        if len(given) != 1:
            raise InvalidInputError("expected exactly one of cost, co2_grams and p95_latency_ms")
        self.resource, self.limit = given[0]
        period = PERIODS.get(per, math.nan) if isinstance(per, str) else float(per)
        numbers = [("limit", self.limit, math.inf), ("per", period, math.inf), ("horizon", horizon, 1.0)]
        for name, value, most in numbers:
            if not (0 < value <= most and math.isfinite(value)):
                expected = "minute, hour, day or seconds" if name == "per" else "a finite number above 0"
                raise InvalidInputError(
                    f"{name} is {value if name != 'per' else per!r}, expected {expected}", argument=name
                )
        self.period_s, self.horizon = period, horizon
        self._router, self._clock = router, clock
        self._path = None if path is None else Path(path)
        self._lock = threading.Lock()
        largest = 1.0 if self.resource == "latency" else _largest_use(router, self.resource)
        self._unit = largest or 1.0
        self._largest = self._unit
        ahead = SLOW_SHARE if self.resource == "latency" else self.limit * horizon
        self._scale = max(ahead, self._unit / LARGEST_STEP)
        self._log_price = START
        self._at: float | None = None
        self._used = self._allowed = 0.0
        self._requests = 0
        self._saved_at = -math.inf
        self._has_changed = False
        # Refuses a pool that says nothing of what is limited, now and not at the first request.
        with contextlib.suppress(NoFeasibleModelError):
            self._choose("", 0.0, {})
        if self._path is not None and self._path.exists():
            self._read(self._path)

    def route(self, prompt: Any, *, at: float | None = None, **request: Unpack[PoolRequest]) -> PoolDecision:
        """Chooses a model for one prompt at the current price, then updates the price.

        Args:
            prompt: As for :meth:`turnout.PoolRouter.route`.
            at: Seconds at which the request came; by default the clock's. Times that go back count as no time.
            **request: As for :meth:`turnout.PoolRouter.route`, without an objective.

        Returns:
            The decision.

        Raises:
            NoFeasibleModelError: As for :meth:`turnout.PoolRouter.route`.
            InvalidInputError: As there, or an objective.
        """
        now = self._clock() if at is None else at
        if not math.isfinite(now):
            raise InvalidInputError(f"at is {now}, expected seconds", argument="at")
        decision, used = self._choose(prompt, self.price, request)
        if self.count(used, at=now):
            self.try_save()
        return decision

    def explain(
        self, prompt: Any, *, router: PoolRouter | None = None, **request: Unpack[PoolRequest]
    ) -> tuple[PoolDecision | None, float, list[Ranked], dict[str, Any]]:
        """What :meth:`route` would choose now, with all models ranked; nothing is counted before :meth:`count`.

        Args:
            prompt: As for :meth:`route`.
            router: Decides in place of the budget's own router, for requests that began before the pool changed.
            **request: As for :meth:`route`.

        Returns:
            The decision, ``None`` where no model may serve the request; what it is expected to use; one entry a model; and :attr:`terms`,
            with which :meth:`replay` gives the same.

        Raises:
            InvalidInputError: As :meth:`route`.

        Example:
            >>> import turnout
            >>> pool = turnout.Pool([turnout.Model("a", success=0.9, input_price=1, output_price=1)])
            >>> budget = turnout.PoolBudget(turnout.load(pool=pool), cost=1.0)
            >>> decision, used, ranked, at = budget.explain("Hi")
            >>> decision == PoolBudget.replay(turnout.load(pool=pool), "Hi", at)
            True
        """
        at = self.terms
        decision, used, ranked = (router or self._router)._explain_budget(prompt, **at, **request)
        return decision, used, ranked, at

    @staticmethod
    def replay(
        router: PoolRouter, prompt: Any, at: Mapping[str, Any], **request: Unpack[PoolRequest]
    ) -> PoolDecision | None:
        """A decision of :meth:`explain` again.

        Args:
            router: A router of the same pool.
            prompt: The prompt.
            at: :attr:`terms` at that time.
            **request: As for :meth:`explain`.

        Returns:
            The decision; ``None`` where no model may serve the request.

        Raises:
            InvalidInputError: As :meth:`route`.
        """
        return router._explain_budget(prompt, **at, **request)[0]

    def count(self, used: float, *, at: float | None = None) -> bool:
        """Counts a request and updates the price.

        Args:
            used: What it is expected to use, from :meth:`explain`.
            at: Seconds at which it came; by default the clock's.

        Returns:
            Whether the state should be saved: it was not for a second, and there is a path.

        Raises:
            InvalidInputError: A number that is not finite.
        """
        now = self._clock() if at is None else at
        for name, number in (("at", now), ("used", used)):
            if not math.isfinite(number):
                raise InvalidInputError(f"{name} is {number}, expected a finite number", argument=name)
        with self._lock:
            seconds = 0.0 if self._at is None else max(now - self._at, 0.0)
            self._at = now if self._at is None else max(now, self._at)
            allowance = SLOW_SHARE if self.resource == "latency" else self.limit / self.period_s * seconds
            self._requests += 1
            self._has_changed = True
            self._used += used
            self._allowed += allowance
            self._largest = max(self._largest, used)
            # At the upper end the least use was chosen. To count what it exceeds would only delay the recovery.
            if used <= allowance or not self.is_exceeded:
                self._move(used - allowance)
            due = self._path is not None and (self._at >= self._saved_at + 1.0)
            if due:
                self._saved_at = self._at
        return due

    def try_save(self) -> None:
        """:meth:`save`, if anything was counted since; a failure is logged, and the next call tries again."""
        if not self._has_changed:
            return
        try:
            self.save()
        except OSError as error:
            logging.getLogger("turnout").warning("the state of a budget cannot be written: %s", error)

    def spend(self, used: float) -> None:
        """Counts use that no decision has counted: what a request used beyond its expectation (negative where it used less).

        Args:
            used: In the units of the limit; for latency, 1 for an answer that was slower than the limit.

        Raises:
            InvalidInputError: Not a finite number.
        """
        if not math.isfinite(used):
            raise InvalidInputError(f"used is {used}, expected a finite number", argument="used")
        with self._lock:
            self._has_changed = True
            self._used += used
            self._largest = max(self._largest, used)
            self._move(used)

    @property
    def terms(self) -> dict[str, Any]:
        """What a decision depends on at present, for :meth:`replay`: ``resource``, ``price`` and ``limit_ms``."""
        limit_ms = self.limit if self.resource == "latency" else 0.0
        return {"resource": self.resource, "price": self.price, "limit_ms": limit_ms}

    @property
    def price(self) -> float:
        """Current price: the gain in P(success) that one unit of the resource must bring."""
        return math.exp(min(self._log_price, HIGHEST)) / self._unit

    @property
    def requests(self) -> int:
        """Number of requests decided."""
        return self._requests

    @property
    def used(self) -> float:
        """Expected use of all requests, corrected by :meth:`spend`; for latency, the expected number of slow answers."""
        return self._used

    @property
    def allowed(self) -> float:
        """Allowance since the first request."""
        return self._allowed

    @property
    def overshoot(self) -> float:
        """Bound on the use of any stretch of requests so far beyond its allowance, without requests decided while :attr:`is_exceeded`.

        It grows with the largest use of a single request.
        """
        return self._scale * (HIGHEST - LOWEST) + self._largest

    @property
    def is_exceeded(self) -> bool:
        """Whether the price is at its upper end: the next request goes to the model of least use, until the allowance has caught up."""
        return self._log_price >= HIGHEST

    def is_like(self, other: PoolBudget) -> bool:
        """Whether another budget limits the same resource, so that its state can be restored.

        Args:
            other: The other one.

        Returns:
            Whether both limit cost, both CO2, or both latency.
        """
        return self.resource == other.resource

    def state(self) -> dict[str, Any]:
        """The complete state, for :meth:`restore`.

        Returns:
            A dictionary of JSON values.
        """
        with self._lock:
            return {
                "resource": self.resource,
                "limit": self.limit,
                "period_s": self.period_s,
                "horizon": self.horizon,
                "log_price": self._log_price,
                "largest": self._largest,
                "at": self._at,
                "used": self._used,
                "allowed": self._allowed,
                "requests": self._requests,
            }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from a saved state: use, allowance and price are kept where the limit, period or horizon is another one now.

        Args:
            state: What :meth:`state` returned, of a budget of the same resource.

        Raises:
            InvalidInputError: A field is missing, has another type or range, or is of a budget of another resource.
        """
        try:
            resource = state["resource"]
            log_price, largest, used, allowed = (
                float(state[name]) for name in ("log_price", "largest", "used", "allowed")
            )
            at = None if state["at"] is None else float(state["at"])
            requests = int(state["requests"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InvalidInputError(f"expected the state of a PoolBudget, found: {error!r}") from error
        if resource != self.resource:
            raise InvalidInputError(
                f"the state is of a budget of {resource!r}, expected {self.resource!r}; another budget needs another file"
            )
        numbers = (log_price, largest, used, allowed, at or 0.0)
        if not (log_price >= LOWEST and largest >= 0.0 and all(map(math.isfinite, numbers))):
            raise InvalidInputError("expected the state of a PoolBudget, found numbers out of range")
        with self._lock:
            self._log_price, self._largest, self._used, self._allowed = log_price, largest, used, allowed
            self._at, self._requests = at, requests
            self._has_changed = True

    def save(self) -> None:
        """Writes the state to ``path``, in one step: a reader finds the old or the new state, whole. Nothing without a path.

        Raises:
            OSError: The file cannot be written.
        """
        if self._path is None:
            return
        self._has_changed = False
        try:
            replace_file(self._path, json.dumps(self.state()).encode())
        except OSError:
            self._has_changed = True
            raise

    def _read(self, path: Path) -> None:
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidInputError(f"{path}: expected the state of a PoolBudget: {error}", argument="path") from error
        try:
            self.restore(state)
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: {error}", argument="path") from error
        self._has_changed = False

    def _choose(self, prompt: Any, price: float, request: PoolRequest) -> tuple[PoolDecision, float]:
        return self._router._route_budget(prompt, **{**self.terms, "price": price}, **request)

    def _move(self, excess: float) -> None:
        self._log_price = max(self._log_price + excess / self._scale, LOWEST)


def _largest_use(router: PoolRouter, resource: str) -> float:
    """Order of magnitude of a request to the dearest model: its unit for the price."""
    found = 0.0
    for model in router.pool.models:
        for one in (model, *model.efforts.values()):
            output = one.output_tokens or model.output_tokens or _TYPICAL_OUTPUT
            grams = one.co2_grams if one.co2_grams is not None else model.co2_grams or 0.0
            prices = [grams, grams]
            if resource == "cost":
                prices = [
                    getattr(one, name) if getattr(one, name) is not None else getattr(model, name) or 0.0
                    for name in ("input_price", "output_price")
                ]
            found = max(found, (_TYPICAL_INPUT * prices[0] + output * prices[1]) / 1e6)
    return found
