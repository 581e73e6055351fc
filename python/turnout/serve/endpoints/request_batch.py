"""``POST /v1/route`` with ``requests``: decisions for bodies of any dialect, for gateways that call models themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import orjson

from turnout.serve.dialects import CHAT, MESSAGES, RESPONSES, Dialect
from turnout.serve.dialects.errors import ApiError
from turnout.serve.endpoints.planner import plan
from turnout.serve.http.asgi import client_of
from turnout.serve.http.json_body import beside_the_loop

if TYPE_CHECKING:
    from turnout.serve.decisions.planning import Plan
    from turnout.serve.http.asgi import Scope
    from turnout.serve.state import State

#: Requests of one batch, and those that are decided at a time: a network gets them together.
MOST, _AT_ONCE = 10_000, 32
_DIALECTS = {one.name: one for one in (CHAT, MESSAGES, RESPONSES)}


async def decisions(
    found: Mapping[str, Any], size: int, scope: Scope, request_id: str, state: State, turn: asyncio.Semaphore
) -> dict[str, Any]:
    """Decides for every request of a batch as the endpoint of its dialect would; the answers are another's.

    Decisions are logged and counted, and conversations stay with the models that they were decided for.

    Args:
        found: The batch: ``requests``, and ``dialect`` (``chat`` without it).
        size: Bytes of its body.
        scope: Of ASGI; headers that name a session or an objective hold for all requests.
        request_id: Of the batch; requests are numbered after it.
        state: The server's state.
        turn: Long batches take turns.

    Returns:
        ``decisions`` in the order of the requests, each with a model or with an error.

    Raises:
        ApiError: 400 for a batch that is malformed itself.
    """
    dialect, requests = _batch(found)
    sizes = await beside_the_loop(size, lambda: [_size(one, size) for one in requests])
    numbered = list(zip(requests, sizes, range(len(requests)), strict=True))
    answers: list[dict[str, Any]] = []
    async with turn if len(requests) > _AT_ONCE else nullcontext():
        for start in range(0, len(numbered), _AT_ONCE):
            part = numbered[start : start + _AT_ONCE]
            answers += await asyncio.gather(
                *(
                    _decided(one, length, scope, dialect, f"{request_id}-{number}", state)
                    for one, length, number in part
                )
            )
    return {"object": "list", "dialect": dialect.name, "decisions": answers}


async def _decided(
    request: Any, size: int, scope: Scope, dialect: Dialect, request_id: str, state: State
) -> dict[str, Any]:
    try:
        if not isinstance(request, dict):
            message = f"the request is of type {type(request).__name__}, expected an object"
            raise ApiError(400, message, code="invalid_type", param="requests")
        settings = state.snapshot.settings
        planned = await plan(request, size, scope, dialect, state)
    except ApiError as error:
        state.metrics.errors.labels(error.code).inc()
        return {"request_id": request_id, "model": None, **json.loads(error.body()), "status": error.status}
    await state.decided_for_another(planned, settings, request_id, dialect.continues(request), client_of(scope))
    return {"request_id": request_id, **_entry(planned)}


def _entry(planned: Plan) -> dict[str, Any]:
    model, *others = planned.candidates
    routed = planned.routed
    return {
        **({} if routed is None else {**routed.receipt(), "decision_us": round(routed.seconds * 1e6, 1)}),
        "model": model.name,
        "upstream_model": model.upstream_name,
        "fallbacks": [one.name for one in others],
        "rule": planned.rule,
        "pinned_for": sorted(planned.pinned_for),
    }


def _batch(found: Mapping[str, Any]) -> tuple[Dialect, Sequence[Any]]:
    requests, name = found["requests"], found.get("dialect", CHAT.name)
    if not isinstance(requests, list):
        kind = type(requests).__name__
        raise ApiError(400, f"requests is of type {kind}, expected an array", code="invalid_type", param="requests")
    if len(requests) > MOST:
        message = f"requests has {len(requests)} entries, expected at most {MOST}"
        raise ApiError(400, message, code="invalid_value", param="requests")
    if not isinstance(name, str) or name not in _DIALECTS:
        message = f"dialect is {str(name)[:200]!r}, expected one of {', '.join(_DIALECTS)}"
        raise ApiError(400, message, code="invalid_value", param="dialect")
    if more := found.keys() - {"requests", "dialect"}:
        message = f"{sorted(more)[0][:200]!r} beside requests, expected it in each of them"
        raise ApiError(400, message, code="invalid_value", param="requests")
    return _DIALECTS[name], requests


def _size(request: Any, most: int) -> int:
    """The bytes of one request of a batch; of one that is nested more deeply than orjson writes, those of the batch."""
    try:
        return len(orjson.dumps(request))
    except TypeError:
        return most
