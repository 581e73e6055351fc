"""The small endpoints: decisions alone, health, readiness, metrics, reload."""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import RouterError
from turnout.routing import RouteSpec
from turnout.routing.names import unit_number
from turnout.serve.asgi import ClientGone, UntilDisconnect, read_body
from turnout.serve.dialects import CHAT
from turnout.serve.errors import ApiError
from turnout.serve.json_body import parse
from turnout.serve.planning import candidates, decide, decide_many, read, spec_of

if TYPE_CHECKING:
    from turnout._core import Decision
    from turnout.serve.snapshot import Pair, Snapshot
    from turnout.serve.state import State

logger = logging.getLogger("turnout.serve")

#: Prompts of one request to ``/v1/route``.
_MAX_PROMPTS = 10_000
#: Prompts of a batch that a network gets at a time, slices that are decided at a time, and seconds until one that was refused is tried again.
_SLICE, _SLICES_AT_ONCE, _AGAIN_S = 32, 1, 0.05
#: Decisions that are written on the event loop.
_INLINE_DECISIONS = 64


class Endpoints:
    """Handlers over the server's state.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        # First come, first served: batches of several clients alternate.
        self._turn = asyncio.Semaphore(_SLICES_AT_ONCE)

    async def route(self, request: Request) -> Response:
        """``POST /v1/route``: ``{"model": "router-mf-0.5", "prompt": text or array of texts}`` or ``"messages"``.

        In place of ``model``, ``router`` with ``threshold`` or ``strong_share``. The answer has a list ``decisions``.
        """
        snapshot = self.state.snapshot
        body = await read_body(request.scope, request.receive, snapshot.settings.server.max_body_bytes)
        found = await parse(body)
        spec, pair = _spec(found, snapshot)
        async with UntilDisconnect(request.receive):
            if "messages" in found:
                reading = await read(found, len(body), snapshot, CHAT, lambda prompt: None)
                routed = await decide(reading.prompt, reading.prompt_sha256, spec, pair, snapshot)
                model = candidates(pair, routed.chosen, reading.needs, CHAT, snapshot).candidates[0].name
                return JSONResponse(_answer(spec, snapshot, [_told(routed.decision, model, routed.seconds)]))
            return await self._route_many(_prompts(found), spec, pair, snapshot)
        raise ClientGone

    async def _route_many(self, prompts: list[str], spec: RouteSpec, pair: Pair, snapshot: Snapshot) -> Response:
        """Decides slice by slice: single prompts come in between, and a client that goes ends its batch."""
        router = snapshot.routers[spec.router]
        most = len(prompts) if router.router.is_microseconds else _SLICE
        names = {True: pair.strong.name, False: pair.weak.name}
        answers: list[dict[str, Any]] = []
        while len(answers) < len(prompts):
            # What fits into one slice goes to the router's own queue, which is bounded.
            async with self._turn if len(prompts) > most else nullcontext():
                try:
                    part = prompts[len(answers) : len(answers) + most]
                    decisions, seconds = await decide_many(part, spec, pair, snapshot)
                except ApiError as error:
                    # A batch that was let in is not refused half way.
                    if error.status != 429 or not answers:
                        raise
                    await asyncio.sleep(_AGAIN_S)
                    continue
            answers += [_told(decision, names[decision.is_strong], seconds) for decision in decisions]
        response = _answer(spec, snapshot, answers)
        # Thousands of decisions take milliseconds to write.
        is_long = len(prompts) > _INLINE_DECISIONS
        return await asyncio.to_thread(JSONResponse, response) if is_long else JSONResponse(response)

    async def health(self, request: Request) -> Response:
        """``GET /health``: the process is alive."""
        return JSONResponse({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """``GET /ready``: routers are loaded, and the server is not shutting down."""
        ready = self.state.is_ready
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics`` of the admin listener."""
        metrics = self.state.metrics
        metrics.in_flight.set(self.state.in_flight)
        for name in self.state.routers:
            share = self.state.recent.strong_share(name)
            if share is not None:
                metrics.strong_share.labels(name).set(share)
        for model in self.state.snapshot.models.values():
            is_open = model.upstream.breaker(model.upstream_name).is_open
            metrics.breaker_open.labels(model.upstream.name, model.label).set(is_open)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def reload(self, request: Request) -> Response:
        """``POST /admin/reload`` of the admin listener."""
        try:
            await self.state.reload()
        except (RouterError, OSError) as error:
            logger.error("reload failed; keeping the current configuration: %s", error)
            raise ApiError(
                409, f"reload failed; keeping the current configuration: {error}", code="reload_failed"
            ) from None
        routers = {name: router.artifact_hash for name, router in self.state.routers.items()}
        return JSONResponse({"status": "reloaded", "routers": routers})


def _spec(found: dict[str, Any], snapshot: Snapshot) -> tuple[RouteSpec, Pair]:
    if "model" in found or "router" not in found:
        if "model" not in found and len(snapshot.routers) == 1:
            return _numbered(found, next(iter(snapshot.routers))), snapshot.pair
        spec = spec_of(found.get("model"), snapshot)
        if spec is None:
            raise ApiError(
                400,
                "model is not a router; expected router-[name]-[threshold] or an alias",
                code="invalid_model",
                param="model",
            )
        return spec
    if not isinstance(found["router"], str) or found["router"] not in snapshot.routers:
        raise ApiError(
            400,
            f"unknown router; available routers: {', '.join(snapshot.routers)}",
            code="invalid_router",
            param="router",
        )
    return _numbered(found, found["router"]), snapshot.pair


def _numbered(found: dict[str, Any], router: str) -> RouteSpec:
    values = {}
    for key in ("threshold", "strong_share"):
        if found.get(key) is not None:
            try:
                values[key] = unit_number(found[key], key)
            except RouterError as error:
                raise ApiError(400, str(error), code="invalid_value", param=key) from None
    if len(values) == 2:
        raise ApiError(400, "both threshold and strong_share are given, expected one", code="invalid_value")
    return RouteSpec(router, **values)


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


def _answer(spec: RouteSpec, snapshot: Snapshot, told: list[dict[str, Any]]) -> dict[str, Any]:
    artifact_hash = snapshot.routers[spec.router].artifact_hash
    return {"object": "list", "router": spec.router, "artifact_hash": artifact_hash, "decisions": told}


def _told(decision: Decision, model: str, seconds: float) -> dict[str, Any]:
    return {
        "model": model,
        "is_strong": decision.is_strong,
        "win_rate": decision.win_rate,
        "threshold": decision.threshold,
        "decision_us": round(seconds * 1e6, 1),
    }
