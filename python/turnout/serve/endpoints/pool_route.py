"""``POST /v1/route`` for pools: decisions alone, and all models ranked where a request asks for them."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from turnout.errors import RoutingError
from turnout.pool.budget import PoolBudget
from turnout.registry import RouteSpec, naming
from turnout.registry.names import OBJECTIVES, objective_number
from turnout.serve.decisions.planning import api_errors, judged_texts, read
from turnout.serve.decisions.pool_decision import Explained, explain, no_feasible_model, unavailable
from turnout.serve.decisions.pool_planner import PoolQuestion, has_budget
from turnout.serve.dialects import CHAT
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.json_body import beside_the_loop

if TYPE_CHECKING:
    from turnout._core import PoolDecision
    from turnout.serve.decisions.snapshot import Snapshot
    from turnout.serve.routers.pools import LoadedPool

#: Prompts of a request that asks for ranks: their answer has an entry a model for each.
MOST_RANKED = 100
#: Of a decision in an answer.
ENTRY_BYTES = 300


async def of_messages(
    found: Mapping[str, Any], size: int, spec: RouteSpec, pool: LoadedPool, snapshot: Snapshot
) -> Any:
    """The decision for a conversation, as ``/v1/chat/completions`` would make it.

    Args:
        found: The request.
        size: Its bytes.
        spec: Of the model's name.
        pool: The pool.
        snapshot: What is configured.

    Returns:
        The entry of ``decisions``.

    Raises:
        ApiError: As the planner.
    """
    question = PoolQuestion(found, size, CHAT, pool, objective_in(found, spec, pool), snapshot)
    explained = await question.explained(await read(found, size, snapshot, CHAT, lambda digest: None))
    return _entry_of(pool, explained, wants_rank(found))


async def of_prompts(
    prompts: Sequence[str], objective: dict[str, float], pool: LoadedPool, snapshot: Snapshot, with_rank: bool
) -> list[dict[str, Any]]:
    """Decisions for texts.

    Args:
        prompts: The texts.
        objective: Of the request.
        pool: The pool.
        snapshot: What is configured.
        with_rank: Whether each has all models.

    Returns:
        Entries of ``decisions``.

    Raises:
        ApiError: As the planner; where many prompts are decided at once, for the first one that no model may serve.
    """
    out = unavailable(pool, CHAT, snapshot)
    texts = await judged_texts(prompts)
    if with_rank or pool.judges or len(texts) == 1:
        entries = []
        for text, prompt in zip(texts, prompts, strict=True):
            explained = await explain(pool, text, {**objective, **_tokens(pool, prompt)}, out, "prompt")
            entries.append(_entry_of(pool, explained, with_rank))
            await asyncio.sleep(0)  # Other requests come in between.
        return entries
    began = time.perf_counter()
    with api_errors("prompt"), naming(pool.name):
        request: Any = {**objective, **({"unavailable": list(out)} if out else {})}
        if (budget := pool.budget) is None:
            decisions = await pool.router.aroute_batch(texts, **request)
        else:
            at = budget.terms
            work = [functools.partial(PoolBudget.replay, pool.router, text, at, **request) for text in texts]
            decided = await pool.router.threads.run(lambda: [one() for one in work], len(work))
            if None in decided:
                raise ApiError(400, "no model of the pool may serve a prompt", code="no_feasible_model", param="prompt")
            decisions = [one for one in decided if one is not None]
    seconds = (time.perf_counter() - began) / len(texts)
    return await beside_the_loop(ENTRY_BYTES * len(decisions), lambda: [_entry(one, seconds) for one in decisions])


def objective_in(found: Mapping[str, Any], spec: RouteSpec, pool: LoadedPool) -> dict[str, float]:
    """The objective of a request to ``/v1/route``, from the model's name or a field.

    Args:
        found: The request.
        spec: Of the model's name.
        pool: The pool.

    Raises:
        ApiError: 400 for two objectives, a number out of range, or an objective beside a budget.
    """
    given = [] if spec.objective is None else [spec.objective]
    for argument in OBJECTIVES.values():
        if found.get(argument) is not None:
            try:
                given.append((argument, objective_number(found[argument], argument)))
            except RoutingError as error:
                raise ApiError(400, str(error), code="invalid_value", param=argument) from None
    if len(given) > 1:
        message = f"{given[0][0]} and {given[1][0]} are given, expected at most one objective"
        raise ApiError(400, message, code="invalid_value", param=given[1][0])
    if given and pool.budget is not None:
        raise has_budget(given[0][0])
    return dict(given)


def wants_rank(found: Mapping[str, Any]) -> bool:
    """Whether a request asks for all models.

    Args:
        found: The request.

    Raises:
        ApiError: ``rank`` is not a truth value.
    """
    rank = found.get("rank")
    if rank is not None and not isinstance(rank, bool):
        kind = type(rank).__name__
        raise ApiError(400, f"rank is of type {kind}, expected true or false", code="invalid_type", param="rank")
    return bool(rank)


def ranked(explained: Explained) -> list[dict[str, Any]]:
    """All models as JSON values, those that may serve the request first.

    Args:
        explained: What a pool says.
    """
    return [
        {**one.to_dict(), **({"excluded_by": why.by, "reason": why.reason} if why is not None else {})}
        for one, why in ((one, explained.excluded.get(one.model)) for one in explained.ranked)
    ]


def _tokens(pool: LoadedPool, prompt: str) -> dict[str, float]:
    return {"estimated_tokens": pool.router.count_tokens(prompt)}


def _entry_of(pool: LoadedPool, explained: Explained, with_rank: bool) -> dict[str, Any]:
    if explained.decision is None:
        raise no_feasible_model(pool, explained)
    entry = _entry(explained.decision, explained.seconds)
    action, steps = explained.cascade(pool)
    if action:
        first = next(one for one in explained.ranked if one.model == steps[0].model)
        entry |= {"model": first.model, "success": first.success, "expected_cost": first.expected_cost}
        entry |= {"action": action, "steps": [one.model for one in steps]}
    return {**entry, **({"ranked": ranked(explained)} if with_rank else {})}


def _entry(decision: PoolDecision, seconds: float) -> dict[str, Any]:
    return {**decision.to_dict(), "decision_us": round(seconds * 1e6, 1)}
