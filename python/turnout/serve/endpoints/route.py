"""``POST /v1/route``: decisions alone, for one prompt, for many, or for bodies of requests."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import RouterError
from turnout.registry import RouteSpec
from turnout.registry.names import OBJECTIVES, unit_number
from turnout.serve.decisions.planning import between, candidates, decide, decide_many, read, spec_of
from turnout.serve.dialects import CHAT
from turnout.serve.dialects.errors import ApiError
from turnout.serve.endpoints.pool_route import (
    ENTRY_BYTES,
    MOST_RANKED,
    objective_in,
    of_messages,
    of_prompts,
    wants_rank,
)
from turnout.serve.endpoints.request_batch import decisions
from turnout.serve.http.asgi import ClientGone, UntilDisconnect, header, read_body
from turnout.serve.http.json_body import beside_the_loop, parse
from turnout.serve.routers.pools import LoadedPool
from turnout.serve.upstreams import headers as passing

if TYPE_CHECKING:
    from turnout._core import Decision
    from turnout.cascade.judge import Action
    from turnout.serve.decisions.snapshot import Pair, Snapshot
    from turnout.serve.routers.loaded import LoadedRouter
    from turnout.serve.state import State

#: Prompts of one request to ``/v1/route``.
_MAX_PROMPTS = 10_000
#: Prompts of a batch that a network gets at a time, slices that are decided at a time, and seconds until one that was refused is tried again.
_SLICE, _SLICES_AT_ONCE, _AGAIN_S = 32, 1, 0.05
#: Decisions that are written on the event loop.
_INLINE_DECISIONS = 64


class RouteEndpoint:
    """Decides for prompts and messages.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        # First come, first served: batches of several clients alternate.
        self._turn = asyncio.Semaphore(_SLICES_AT_ONCE)

    async def route(self, request: Request) -> Response:
        """``POST /v1/route``: ``{"model": "router-mf-0.5", "prompt": text or array of texts}`` or ``"messages"``.

        In place of ``model``, ``router`` with ``threshold`` or ``strong_share``, or with an objective of a pool. The answer has a list
        ``decisions``; those of a pool have all models with ``"rank": true``. With ``requests`` it decides for bodies of a dialect, see
        :mod:`turnout.serve.endpoints.request_batch`.
        """
        snapshot = self.state.snapshot
        body = await read_body(request.scope, request.receive, snapshot.settings.server.max_body_bytes)
        found = await parse(body)
        if "requests" in found:
            async with UntilDisconnect(request.receive):
                named = passing.request_id(header(request.scope, b"x-request-id")) or uuid.uuid4().hex
                return await _written(await decisions(found, len(body), request.scope, named, self.state, self._turn))
            raise ClientGone
        spec, chosen_between = _spec(found, snapshot)
        async with UntilDisconnect(request.receive):
            if isinstance(chosen_between, LoadedPool):
                return await self._route_in_pool(found, len(body), spec, chosen_between, snapshot)
            pair = chosen_between
            _refuse_for_pairs(found)
            if "messages" in found:
                reading = await read(found, len(body), snapshot, CHAT, lambda prompt: None)
                routed = await decide(reading.prompt, reading.prompt_sha256, spec, pair, snapshot)
                model = candidates(pair, routed.chosen, reading.needs, CHAT, snapshot).candidates[0].name
                entry = _entry(routed.router, routed.decision, routed.action, model, routed.seconds)
                return JSONResponse(_answer(spec, routed.router.artifact_hash, [entry]))
            return await self._route_many(_prompts(found), spec, pair, snapshot)
        raise ClientGone

    async def _route_many(self, prompts: list[str], spec: RouteSpec, pair: Pair, snapshot: Snapshot) -> Response:
        router, names = snapshot.router_for(spec.router, pair), (pair.weak.name, pair.strong.name)

        async def decided(part: list[str]) -> list[dict[str, Any]]:
            decisions, seconds = await decide_many(part, spec, pair, snapshot)

            def entries() -> list[dict[str, Any]]:
                actions = [router.action(decision) for decision in decisions]
                return [
                    _entry(router, decision, action, names[action == "strong"], seconds)
                    for decision, action in zip(decisions, actions, strict=True)
                ]

            return await beside_the_loop(ENTRY_BYTES * len(decisions), entries)

        answers = await self._in_slices(prompts, router.router.is_microseconds, decided)
        return await _written(_answer(spec, router.artifact_hash, answers))

    async def _route_in_pool(
        self, found: dict[str, Any], size: int, spec: RouteSpec, pool: LoadedPool, snapshot: Snapshot
    ) -> Response:
        objective, with_rank = objective_in(found, spec, pool), wants_rank(found)
        if "messages" in found:
            answers = [await of_messages(found, size, spec, pool, snapshot)]
        else:
            prompts = _prompts(found)
            if with_rank and len(prompts) > MOST_RANKED:
                message = f"prompt has {len(prompts)} texts, expected at most {MOST_RANKED} with rank"
                raise ApiError(400, message, code="invalid_value", param="prompt")

            async def decided(part: list[str]) -> list[dict[str, Any]]:
                return await of_prompts(part, objective, pool, snapshot, with_rank)

            answers = await self._in_slices(prompts, pool.router.is_microseconds, decided)
        return await _written({**_answer(spec, pool.artifact_hash, answers), "pool_hash": pool.pool_hash})

    async def _in_slices(
        self,
        prompts: list[str],
        is_microseconds: bool,
        decide: Callable[[list[str]], Awaitable[list[dict[str, Any]]]],
    ) -> list[dict[str, Any]]:
        """Decides slice by slice: single prompts come in between, and a client that goes ends its batch."""
        most = len(prompts) if is_microseconds else _SLICE
        answers: list[dict[str, Any]] = []
        while len(answers) < len(prompts):
            # What fits into one slice goes to the router's own queue, which is bounded.
            async with self._turn if len(prompts) > most else nullcontext():
                try:
                    answers += await decide(prompts[len(answers) : len(answers) + most])
                except ApiError as error:
                    # A batch that was let in is not refused half way.
                    if error.status != 429 or not answers:
                        raise
                    await asyncio.sleep(_AGAIN_S)
        return answers


async def _written(response: dict[str, Any]) -> Response:
    # Thousands of decisions take milliseconds to write.
    is_long = len(response["decisions"]) > _INLINE_DECISIONS
    return await asyncio.to_thread(JSONResponse, response) if is_long else JSONResponse(response)


def _refuse_for_pairs(found: dict[str, Any]) -> None:
    """Refuses an objective, and ranks, in a request for a pair."""
    if given := [name for name in (*OBJECTIVES.values(), "rank") if found.get(name) is not None]:
        raise ApiError(
            400, f"{given[0]} is for a pool, and the request is for a pair", code="invalid_value", param=given[0]
        )


def _spec(found: dict[str, Any], snapshot: Snapshot) -> tuple[RouteSpec, Pair | LoadedPool]:
    routers = snapshot.settings.routers
    if "model" in found or "router" not in found:
        if "model" not in found and len(routers) == 1:
            return _numbered(found, next(iter(routers)), snapshot)
        spec = spec_of(found.get("model"), snapshot)
        if spec is None:
            raise ApiError(
                400,
                "model is not a router; expected router-[name]-[threshold] or an alias",
                code="invalid_model",
                param="model",
            )
        return spec
    if not isinstance(found["router"], str) or found["router"] not in routers:
        raise ApiError(
            400,
            f"unknown router; available routers: {', '.join(routers)}",
            code="invalid_router",
            param="router",
        )
    return _numbered(found, found["router"], snapshot)


def _numbered(found: dict[str, Any], router: str, snapshot: Snapshot) -> tuple[RouteSpec, Pair | LoadedPool]:
    values: dict[str, Any] = {}
    for key in ("threshold", "strong_share"):
        if found.get(key) is not None:
            try:
                values[key] = unit_number(found[key], key)
            except RouterError as error:
                raise ApiError(400, str(error), code="invalid_value", param=key) from None
    if len(values) == 2:
        raise ApiError(400, "both threshold and strong_share are given, expected one", code="invalid_value")
    spec = RouteSpec(router, **values)
    try:
        return spec, between(spec, snapshot)
    except RouterError as error:
        raise ApiError(400, str(error), code="invalid_router", param="router") from None


def _prompts(found: dict[str, Any]) -> list[str]:
    prompts = found.get("prompt")
    many: list[Any] = prompts if isinstance(prompts, list) else [prompts]
    if len(many) > _MAX_PROMPTS:
        raise ApiError(
            400,
            f"prompt has {len(many)} texts, expected at most {_MAX_PROMPTS}",
            code="invalid_value",
            param="prompt",
        )
    for index, prompt in enumerate(many):
        if not isinstance(prompt, str):
            raise ApiError(
                400,
                f"prompt {index} is of type {type(prompt).__name__}, expected a string",
                code="invalid_type",
                param="prompt",
            )
    return many


def _answer(spec: RouteSpec, artifact_hash: str | None, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "router": spec.router, "artifact_hash": artifact_hash, "decisions": entries}


def _entry(router: LoadedRouter, decision: Decision, action: Action, model: str, seconds: float) -> dict[str, Any]:
    return {
        "model": model,
        "is_strong": decision.is_strong,
        "win_rate": decision.win_rate,
        "threshold": decision.threshold,
        **({} if router.cascade is None else {"action": action}),
        "decision_us": round(seconds * 1e6, 1),
    }
