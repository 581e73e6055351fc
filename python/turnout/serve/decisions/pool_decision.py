"""Decisions of a pool for one request: who may serve it, who is chosen, and who comes after."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turnout.cascade import pool_steps
from turnout.registry import naming
from turnout.serve.decisions.efforts import fields_of
from turnout.serve.decisions.planning import api_errors
from turnout.serve.dialects.errors import ApiError
from turnout.serve.upstreams.headers import safe_value

if TYPE_CHECKING:
    from turnout._core import PoolDecision, Ranked
    from turnout.cascade import Step
    from turnout.pool.budget import PoolBudget
    from turnout.serve.decisions.snapshot import Model, Snapshot
    from turnout.serve.dialects import Dialect
    from turnout.serve.metrics import Metrics
    from turnout.serve.routers.pools import LoadedPool

#: Models that are tried for one request, and models that an error or a header lists.
MOST_TRIED, SHOWN = 5, 8


@dataclass(frozen=True)
class Excluded:
    """Why a model may not serve a request."""

    #: For metrics and programs: an argument or field of the pool, or ``dialect``, ``effort``, ``breaker_open`` or ``quota``.
    by: str
    #: For people.
    reason: str
    #: Seconds until it may, where it passes by itself.
    wait_s: float | None = None


@dataclass(frozen=True)
class Explained:
    """What a pool says of one request."""

    #: ``None`` where no model may serve it.
    decision: PoolDecision | None
    #: All models, those that may serve it first, in the order of the objective.
    ranked: Sequence[Ranked]
    excluded: Mapping[str, Excluded]
    #: Arguments of :meth:`turnout.PoolRouter.explain`, with which the decision can be replayed.
    request: dict[str, Any]
    seconds: float
    #: What the decision is expected to use of a budget.
    used: float = 0.0

    def use_of(self, name: str, budget: PoolBudget) -> float:
        """What a model is expected to use of a budget; of CO2 and latency, what the decision uses.

        Args:
            name: The model.
            budget: The budget.
        """
        if budget.resource != "cost":
            return self.used
        return next((one.expected_cost or 0.0 for one in self.ranked if one.model == name), 0.0)

    def cascade(self, pool: LoadedPool) -> tuple[str, Sequence[Step]]:
        """What a cascade does: its action, and the models that are asked in turn. Empty where the pool's decision is final.

        Args:
            pool: The pool that explained.
        """
        if not pool.judges or not any(one.feasible for one in self.ranked):
            return "", ()
        budget = self.request.get("budget")
        return pool_steps(self.ranked, pool.plain_judges, price=None if budget is None else budget["price"])

    def may_serve(self, name: str) -> bool:
        """Whether a model of the pool may serve the request."""
        return any(one.model == name and one.feasible for one in self.ranked)

    def one_up(self, name: str) -> str:
        """Of the models that may serve the request the least likely one that is more likely than a model; that one if none is.

        Args:
            name: One that may serve the request.
        """
        success = next(one.success for one in self.ranked if one.model == name)
        better = [one for one in self.ranked if one.feasible and one.success > success]
        return min(better, key=lambda one: one.success).model if better else name

    def by_cost(self) -> str:
        """The model of those that may serve the request with the least expected cost; without prices the first one."""
        able = [one for one in self.ranked if one.feasible]
        return min(able, key=lambda one: float("inf") if one.expected_cost is None else one.expected_cost).model

    def after(self, first: str, models: Mapping[str, Model]) -> tuple[Model, ...]:
        """A model and its fallbacks: the next ones of the ranking, each of another model than those before.

        Args:
            first: Name of the first one.
            models: All models.
        """
        found = {_base(models[first]): models[first]}
        for one in self.ranked:
            if one.feasible and len(found) < MOST_TRIED:
                found.setdefault(_base(models[one.model]), models[one.model])
        return tuple(found.values())


@dataclass(frozen=True)
class PoolRouted:
    """A decision of a pool with what it was made from."""

    router: LoadedPool
    explained: Explained
    decision: PoolDecision
    chosen: Model
    prompt: str
    prompt_sha256: str
    #: Of a cascade: what the prompt decides before any call, and the models that are asked in turn; else empty.
    action: str = ""
    steps: tuple[Step, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.explained.seconds

    def count(self, metrics: Metrics) -> None:
        """Counts success, expected cost and excluded models."""
        metrics.success.labels(self.router.name).observe(self.decision.success)
        if self.decision.expected_cost is not None:
            metrics.expected_cost.labels(self.router.name, self.chosen.label).inc(self.decision.expected_cost)
        for name, excluded in self.explained.excluded.items():
            metrics.excluded.labels(name, excluded.by).inc()

    def receipt(self) -> dict[str, Any]:
        """What a route receipt has of the decision."""
        return {
            "router": self.router.name,
            "artifact_hash": self.router.artifact_hash,
            "pool_hash": self.router.pool_hash,
            "prompt_sha256": self.prompt_sha256,
            "success": self.decision.success,
            "expected_cost": self.decision.expected_cost,
            "reason": self.decision.reason,
            "request": self.explained.request,
            "excluded": {name: one.reason for name, one in self.explained.excluded.items()},
            **({"action": self.action, "steps": [one.model for one in self.steps]} if self.action else {}),
        }

    def headers(self) -> dict[str, str]:
        """Headers of the answer that say what was decided."""
        cost, excluded = self.decision.expected_cost, self.explained.excluded
        shown = [f"{safe_value(name).decode()}={one.by}" for name, one in list(excluded.items())[:SHOWN]]
        shown += [f"and {len(excluded) - SHOWN} more"] * (len(excluded) > SHOWN)
        return {
            "x-turnout-success": repr(self.decision.success),
            **({} if cost is None else {"x-turnout-expected-cost": repr(cost)}),
            "x-turnout-reason": self.decision.reason,
            **({"x-turnout-action": self.action} if self.action else {}),
            **({"x-turnout-excluded": "; ".join(shown)} if shown else {}),
        }

    def attributes(self) -> dict[str, Any]:
        """Attributes of the span of the decision."""
        cost = self.decision.expected_cost
        found = {"turnout.success": self.decision.success, "turnout.reason": self.decision.reason}
        return found if cost is None else {**found, "turnout.expected_cost": cost}


def unavailable(pool: LoadedPool, dialect: Dialect, snapshot: Snapshot) -> dict[str, Excluded]:
    """The models that cannot be called now, or not in this dialect.

    Args:
        pool: The pool.
        dialect: Of the request.
        snapshot: What is configured.

    Returns:
        Why, by name.
    """
    out = {name: excluded_now(snapshot.models[name], dialect) for name in pool.router.models}
    return {name: one for name, one in out.items() if one is not None}


def excluded_now(model: Model, dialect: Dialect) -> Excluded | None:
    """Why a model cannot be called now, or not in this dialect; ``None`` where it can.

    Args:
        model: The model.
        dialect: Of the request.
    """
    if not model.serves(dialect):
        return Excluded("dialect", f"speaks {model.speaks}, the request is in the {dialect.name} dialect")
    if fields_of(model, dialect) is None:
        return Excluded("effort", f"[models] efforts.{model.effort} has no body for the {dialect.name} dialect")
    if (wait_s := model.upstream.breaker(model.upstream_name).remaining_s()) > 0:
        return Excluded("breaker_open", f"failed too often; tried again in {wait_s:.0f} s", wait_s)
    if full := [(wait_s, one.limit) for one in model.quotas if (wait_s := one.remaining_s()) > 0]:
        wait_s, limit = max(wait for wait, _ in full), min(limit for _, limit in full)
        return Excluded("quota", f"{limit} requests in the last minute, its quota", wait_s)
    return None


async def explain(
    pool: LoadedPool, prompt: str, request: dict[str, Any], out: Mapping[str, Excluded], param: str = "messages"
) -> Explained:
    """Asks a pool.

    Args:
        pool: The pool.
        prompt: The text that is judged.
        request: Arguments of :meth:`turnout.PoolRouter.explain`, without ``unavailable``.
        out: Models that cannot be called.
        param: The field of the request that has the text, for errors.

    Returns:
        The decision, and all models.

    Raises:
        ApiError: 400 for a text that cannot be routed, 429 where the router is overloaded, 500 where the router failed.
    """
    asked = {**request, **({"unavailable": list(out)} if out else {})}
    began, used = time.perf_counter(), 0.0
    with api_errors(param), naming(pool.name):
        if (budget := pool.budget) is None:
            decision, ranked = await pool.router.aexplain(prompt, **asked)
        else:
            # A reload may have changed the budget's router since this request began.
            decision, used, ranked, at = await pool.router.arun(
                prompt, lambda: budget.explain(prompt, router=pool.router, **asked)
            )
            asked = {**asked, "budget": at}
    seconds = time.perf_counter() - began
    if decision is None and any(one.wait_s is not None for one in out.values()):
        out = await _without_waiting(pool, prompt, request, out, param)
    excluded = {
        one.model: out.get(one.model) or Excluded(one.excluded_by or "", one.reason or "")
        for one in ranked
        if not one.feasible
    }
    return Explained(decision, ranked, excluded, asked, seconds, used)


async def _without_waiting(
    pool: LoadedPool, prompt: str, request: dict[str, Any], out: Mapping[str, Excluded], param: str
) -> dict[str, Excluded]:
    """Why models cannot be called: for one that may never serve the request that reason, though it is unavailable now as well."""
    lasting = [name for name, one in out.items() if one.wait_s is None]
    with api_errors(param), naming(pool.name):
        more = {"unavailable": lasting} if lasting else {}
        _, ranked = await pool.router.aexplain(prompt, **{**request, **more})
    never = {
        one.model: Excluded(one.excluded_by or "", one.reason or "")
        for one in ranked
        if not one.feasible and one.model not in lasting
    }
    return {**out, **never}


def no_feasible_model(pool: LoadedPool, explained: Explained) -> ApiError:
    """The error for a request that no model may serve: 503 with ``Retry-After`` where waiting helps, else 400.

    Args:
        pool: The pool.
        explained: What it says.
    """
    excluded = explained.excluded
    shown = [f"{name}: {one.reason}" for name, one in list(excluded.items())[:SHOWN]]
    shown += [f"and {len(excluded) - SHOWN} more"] * (len(excluded) > SHOWN)
    message = f"no model of the pool of router {pool.name} may serve the request: {'; '.join(shown)}"
    waits = [one.wait_s for one in excluded.values() if one.wait_s is not None]
    return ApiError(503 if waits else 400, message, code="no_feasible_model", retry_after_s=min(waits, default=None))


def _base(model: Model) -> tuple[str, str]:
    """What efforts of one model have in common."""
    return model.upstream.name, model.upstream_name
