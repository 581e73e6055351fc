"""From a request for a pool to the models that may answer it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from turnout.conversation import whole_text
from turnout.conversation.stalls import is_stalled
from turnout.errors import RoutingError
from turnout.registry.names import OBJECTIVES, RouteSpec, objective_number
from turnout.serve.decisions.planning import Plan, Reading, api_errors
from turnout.serve.decisions.pool_decision import Explained, PoolRouted, explain, no_feasible_model, unavailable
from turnout.serve.decisions.steps import loaded_steps
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.json_body import beside_the_loop
from turnout.serve.routers.charge import Charge

if TYPE_CHECKING:
    from turnout.serve.decisions.snapshot import Snapshot
    from turnout.serve.dialects import Dialect
    from turnout.serve.http.asgi import Scope
    from turnout.serve.routers.pools import LoadedPool

#: Tokens that providers have cached, by default.
NOTHING_CACHED: Mapping[str, int] = {}
#: Headers of requests with an objective, as they arrive.
HEADERS = {f"x-turnout-{written}".encode(): argument for written, argument in OBJECTIVES.items()}


@dataclass(frozen=True)
class PoolQuestion:
    """A request for a pool."""

    body: Mapping[str, Any]
    #: Of the body, in bytes.
    size: int
    dialect: Dialect
    pool: LoadedPool
    #: As arguments of the router.
    objective: dict[str, float]
    snapshot: Snapshot

    async def explained(self, reading: Reading, cached: Mapping[str, int] = NOTHING_CACHED) -> Explained:
        """Asks the pool.

        Args:
            reading: What was read of the request.
            cached: Tokens of the conversation that providers have cached, by model.
        """
        request: dict[str, Any] = dict(self.objective)
        known = {name: tokens for name, tokens in cached.items() if name in self.pool.router.models}
        if known:
            request["cached_tokens"] = known
        needed = reading.needs | ({"json"} if self.dialect.wants_json(self.body) else frozenset())
        if needed:
            request["needs"] = sorted(needed)
        if (most := self.dialect.output_limit(self.body)) is not None and most > 0:
            request["max_output"] = most
        with api_errors(self.dialect.conversation):
            text = await beside_the_loop(self.size, lambda: self._text())
            request["estimated_tokens"] = await beside_the_loop(len(text), lambda: self.pool.router.count_tokens(text))
        out = unavailable(self.pool, self.dialect, self.snapshot)
        return await explain(self.pool, reading.prompt, request, out, self.dialect.conversation)

    async def plan(self, reading: Reading, kept: str | None, cached: Mapping[str, int] = NOTHING_CACHED) -> Plan:
        """The model that answers: that of the turn if it may go on, else the choice of a rule or of the pool.

        Args:
            reading: What was read of the request.
            kept: Name of the model that began the turn or the conversation; ``None`` where nothing was begun.
            cached: Tokens of the conversation that providers have cached, by model.

        Raises:
            ApiError: 400 or 503 where no model may serve the request, and what the router raises.
        """
        explained = await self.explained(reading, cached)
        if explained.decision is None:
            raise no_feasible_model(self.pool, explained)
        agents = self.snapshot.settings.agents
        if reading.session is not None and kept is not None and explained.may_serve(kept):
            up = explained.one_up(kept)
            if up != kept and await does_not_get_on(self.body, self.size, self.dialect, self.snapshot):
                return self._planned(explained, up, rule="stall", session=reading.session)
            return self._planned(explained, kept, rule=reading.session.kind, session=reading.session)
        any_feasible = any(one.feasible for one in explained.ranked)
        if any_feasible and is_helper(self.body, self.dialect, agents.helper_max_tokens):
            return self._planned(explained, explained.by_cost(), rule="helper")
        chosen = self.snapshot.models[explained.decision.model]
        routed = PoolRouted(self.pool, explained, explained.decision, chosen, reading.prompt, reading.prompt_sha256)
        # What is no answer, such as a count of tokens, cannot be judged.
        action, chain = explained.cascade(self.pool) if self.dialect.is_logged else ("", ())
        if action:
            return self._cascade(replace(routed, action=action, steps=tuple(chain)), reading)
        return self._planned(explained, chosen.name, routed=routed, session=reading.session)

    def _cascade(self, routed: PoolRouted, reading: Reading) -> Plan:
        """The steps, and after the last one its fallbacks."""
        steps = loaded_steps(routed.steps, self.snapshot.models, self.pool.judges)
        planned = self._planned(routed.explained, steps[-1].model.name, routed=routed, session=reading.session)
        rest = (one for one in planned.candidates if all(one is not step.model for step in steps))
        candidates = (*(step.model for step in steps), *rest)
        return replace(planned, candidates=candidates, steps=steps if len(steps) > 1 else ())

    def _planned(self, explained: Explained, first: str, **fields: Any) -> Plan:
        found = explained.after(first, self.snapshot.models)
        candidates = found if self.snapshot.settings.server.fallback else found[:1]
        budget = self.pool.budget
        return Plan(candidates, charge=self.charge(explained.use_of(first, budget) if budget else 0.0), **fields)

    def charge(self, expected: float) -> Charge | None:
        """Counts a request in the pool's budget; ``None`` where it has none, or the request has no cost.

        Args:
            expected: What the request is expected to use; 0 where that is not known before its answer.
        """
        account = self.pool.account if self.dialect.is_logged else None
        if account is None:
            return None
        if account.budget.count(expected):
            # The disk is not waited for.
            asyncio.get_running_loop().run_in_executor(None, account.budget.try_save)
        return Charge(account, expected)

    def _text(self) -> str:
        """All that a model has to read: instructions, messages, and the descriptions of tools."""
        beside = (self.body.get(name) for name in self.dialect.beside)
        try:
            texts = [one if isinstance(one, str) else orjson.dumps(one).decode() for one in beside if one]
        except TypeError:  # Nested more deeply than orjson writes.
            raise ApiError(400, "the body is nested too deeply", code="invalid_json") from None
        return "\n".join([*texts, whole_text(self.dialect.messages(self.body))])


def objective_of(spec: RouteSpec, scope: Scope | None, pool: LoadedPool | None) -> dict[str, float]:
    """The objective of a request, from the model's name or from a header.

    Args:
        spec: Of the name.
        scope: Of ASGI; ``None`` without headers.
        pool: ``None`` for a request for a pair.

    Returns:
        An argument of :meth:`turnout.PoolRouter.route` and its number; empty for the pool's own.

    Raises:
        ApiError: 400 for two objectives, a number out of range, a header of a request for a pair, or an objective beside a budget.
    """
    found = [] if spec.objective is None else [("the model's name", *spec.objective)]
    for name, value in scope["headers"] if scope is not None else ():
        if name in HEADERS:
            header, argument = name.decode(), HEADERS[name]
            try:
                found.append((header, argument, objective_number(value.decode("latin-1"), argument)))
            except RoutingError as error:
                raise ApiError(400, f"header {header}: {error}", code="invalid_value", param=header) from None
    if len(found) > 1:
        places = " and ".join(place for place, *_ in found[:2])
        raise ApiError(
            400, f"{places} have an objective each, expected at most one", code="invalid_value", param=found[1][0]
        )
    if found and pool is not None and pool.budget is not None:
        raise has_budget(found[0][0])
    if found and pool is None:
        message = f"{found[0][0]} is an objective of a pool, but {spec.router} chooses between two models for this name"
        raise ApiError(400, message, code="invalid_value", param=found[0][0])
    return {argument: number for _, argument, number in found}


def has_budget(place: str) -> ApiError:
    """The error for an objective where the pool has a budget, which a request cannot replace.

    Args:
        place: Of the objective.
    """
    message = f"{place} is an objective, but the pool has a budget: expected none"
    return ApiError(400, message, code="invalid_value", param=place)


def is_helper(request: Mapping[str, Any], dialect: Dialect, limit: int) -> bool:
    """Whether a request is too small to be a task: a title, a summary, a check of the topic.

    Args:
        request: The body.
        dialect: What it is written in.
        limit: Tokens that its answer may have at most; 0 for never.
    """
    if limit <= 0 or request.get("tools"):
        return False
    most = dialect.output_limit(request)
    return most is not None and most <= limit


async def does_not_get_on(request: Mapping[str, Any], size: int, dialect: Dialect, snapshot: Snapshot) -> bool:
    """Whether a better model takes over, by the rules of ``[agents]``.

    Args:
        request: The body.
        size: The body's bytes.
        dialect: What it is written in.
        snapshot: What is configured.
    """
    errors, steps = snapshot.settings.agents.escalate_after_errors, snapshot.settings.agents.escalate_after_steps
    if dialect.is_summary or (not errors and not steps):
        return False
    messages, harness = dialect.messages(request), snapshot.harness
    return await beside_the_loop(size, lambda: is_stalled(messages, errors, steps, harness))
