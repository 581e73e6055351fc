"""The two ASGI applications: the one for clients and the one for administrators."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from turnout.serve.dialects import CHAT, COMPACT, COUNT_INPUT_TOKENS, COUNT_TOKENS, MESSAGES, RESPONSES, of_scope
from turnout.serve.dialects.errors import ApiError
from turnout.serve.endpoints.admission import Gate
from turnout.serve.endpoints.model_list import ModelList
from turnout.serve.endpoints.openapi import openapi
from turnout.serve.endpoints.operations import Operations
from turnout.serve.endpoints.outcomes import OutcomesEndpoint
from turnout.serve.endpoints.route import RouteEndpoint
from turnout.serve.endpoints.routed import RoutedEndpoint
from turnout.serve.endpoints.stored_responses import StoredResponses
from turnout.serve.http.access_log import AccessLog
from turnout.serve.http.asgi import ClientGone
from turnout.serve.http.cross_site import AllowedHosts, CrossSiteGuard

if TYPE_CHECKING:
    from turnout.serve.state import State

logger = logging.getLogger("turnout.serve")


def client_app(state: State) -> Starlette:
    """What clients reach: the API, health, and the playground where it is on."""
    operations, listed = Operations(state), ModelList(state)
    routes: list[Any] = [
        *(
            Route(f"/v1{dialect.path}", RoutedEndpoint(state, dialect), methods=["POST"])
            for dialect in (CHAT, MESSAGES, COUNT_TOKENS, RESPONSES, COUNT_INPUT_TOKENS, COMPACT)
        ),
        Route("/v1/responses/{id}", StoredResponses(state), methods=["GET", "DELETE"]),
        Route("/v1/responses/{id}/cancel", StoredResponses(state, "/cancel"), methods=["POST"]),
        Route("/v1/responses/{id}/input_items", StoredResponses(state, "/input_items"), methods=["GET"]),
        Route("/v1/route", RouteEndpoint(state).route, methods=["POST"]),
        Route("/v1/outcomes", OutcomesEndpoint(state).record, methods=["POST"]),
        Route("/v1/models", listed.models),
        Route("/v1/models/{name:path}", listed.model),
        Route("/health", operations.health),
        Route("/ready", operations.ready),
        Route("/openapi.json", openapi),
    ]
    settings = state.snapshot.settings.server
    if settings.playground:
        from turnout.serve import playground

        routes += playground.routes(state)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(settings.cors_origins),
        allow_methods=["DELETE", "GET", "POST"],
        # Keys are not cookies: pages of these origins have their own keys, so they may send and read any header.
        allow_headers=["*"],
        expose_headers=["*"],
    )
    middleware = [
        _guard(state, settings.host, settings.cors_origins),
        *([cors] if settings.cors_origins else []),
        Middleware(Gate, state=state),
    ]
    return _app(state, routes, middleware)


def admin_app(state: State) -> Starlette:
    """The application on the admin address: metrics, reload and changes."""
    operations = Operations(state)
    routes = [
        Route("/metrics", operations.metrics),
        Route("/admin/reload", operations.reload, methods=["POST"]),
        Route("/admin/changes", operations.changes),
        Route("/admin/changes/confirm", operations.confirm_changes, methods=["POST"]),
        Route("/health", operations.health),
        Route("/ready", operations.ready),
    ]
    return _app(state, routes, [_guard(state, state.snapshot.settings.server.admin_host, ())])


def _guard(state: State, bound: str, origins: Sequence[str]) -> Middleware:
    def refused(code: str) -> None:
        state.metrics.errors.labels(code).inc()

    hosts = AllowedHosts(bound, state.snapshot.settings.server.allowed_hosts)
    return Middleware(CrossSiteGuard, hosts=hosts, origins=origins, refused=refused)


def _app(state: State, routes: list[Any], middleware: list[Middleware]) -> Starlette:
    if state.snapshot.settings.server.access_log:
        middleware.insert(0, Middleware(AccessLog))
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=_handlers(state))
    # A redirect would send clients to the host that the request names.
    app.router.redirect_slashes = False
    return app


def _handlers(state: State) -> dict[Any, Any]:
    """Answers to exceptions, each of them counted."""

    def answer(request: Request, error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
        state.metrics.errors.labels(error.code).inc()
        both = {**error.headers(), **(headers or {})}
        body = of_scope(request.scope).error_body(error, "")
        return Response(body, error.status, both, media_type="application/json")

    async def api_error(request: Request, error: ApiError) -> Response:
        return answer(request, error)

    async def http_error(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}"
        code = "method_not_allowed" if error.status_code == 405 else "not_found"
        return answer(request, ApiError(error.status_code, message, code=code), error.headers)

    async def unexpected(request: Request, error: Exception) -> Response:
        logger.error("unexpected %s in %s", type(error).__name__, request.url.path, exc_info=error)
        told = ApiError(500, "internal server error; see the log of the server", code="internal_error")
        return answer(request, told)

    async def gone(request: Request, error: ClientGone) -> Response:
        state.metrics.errors.labels("client_gone").inc()
        return Response(status_code=499)

    return {ApiError: api_error, ClientGone: gone, HTTPException: http_error, Exception: unexpected}
