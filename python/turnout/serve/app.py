"""The two ASGI applications: the one for clients and the one for administrators."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.serve.asgi import ClientGone
from turnout.serve.chat import ChatCompletions
from turnout.serve.endpoints import Endpoints
from turnout.serve.errors import ApiError
from turnout.serve.gate import Gate

if TYPE_CHECKING:
    from turnout.serve.state import State

logger = logging.getLogger("turnout.serve")


_TOLD = ("router", "win-rate", "threshold", "model", "decision-us", "fallback", "pinned")


def client_app(state: State) -> Starlette:
    """What clients reach: the API, health, and the playground where it is on."""
    endpoints = Endpoints(state)
    routes: list[Any] = [
        Route("/v1/chat/completions", ChatCompletions(state), methods=["POST"]),
        Route("/v1/route", endpoints.route, methods=["POST"]),
        Route("/v1/models", endpoints.models),
        Route("/health", endpoints.health),
        Route("/ready", endpoints.ready),
    ]
    settings = state.snapshot.settings.server
    if settings.playground:
        from turnout.serve import playground

        routes += playground.routes(state)
    middleware = [Middleware(Gate, state=state)]
    if settings.cors_origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id", *(f"x-turnout-{name}" for name in _TOLD)],
        )
        middleware.insert(0, cors)
    return Starlette(routes=routes, middleware=middleware, exception_handlers=_HANDLERS)


def admin_app(state: State) -> Starlette:
    """What administrators reach, on an address of its own: metrics and reload."""
    endpoints = Endpoints(state)
    routes = [
        Route("/metrics", endpoints.metrics),
        Route("/admin/reload", endpoints.reload, methods=["POST"]),
        Route("/health", endpoints.health),
        Route("/ready", endpoints.ready),
    ]
    return Starlette(routes=routes, exception_handlers=_HANDLERS)


def _answer(error: ApiError) -> Response:
    return Response(error.body(), error.status, error.headers(), media_type="application/json")


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _answer(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(
        ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}", code="not_found")
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    logger.error("unexpected %s in %s", type(error).__name__, request.url.path, exc_info=error)
    return _answer(ApiError(500, "an error in the server; its log tells more", code="internal_error"))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # Nobody reads it.


_HANDLERS: dict[Any, Any] = {
    ApiError: _api_error,
    ClientGone: _gone,
    HTTPException: _http_error,
    Exception: _unexpected,
}
