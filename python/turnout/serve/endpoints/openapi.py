"""``GET /openapi.json``: the clients' API as an OpenAPI 3.1 description."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import __version__
from turnout.serve.endpoints.openapi_models import (
    MODELS,
    AnthropicError,
    AnthropicModel,
    AnthropicModelList,
    ChatRequest,
    CompactRequest,
    CountInputTokensRequest,
    CountTokensRequest,
    Error,
    ListedModel,
    MessagesRequest,
    ModelList,
    Outcome,
    OutcomeBatch,
    RecordedOutcomes,
    RequestDecisions,
    ResponsesRequest,
    RouteRequest,
    RouteResponse,
    Status,
)

_REF = "#/components/schemas/{model}"
_ERRORS = {
    400: "The request is malformed, or cannot be routed.",
    401: "No valid client key.",
    403: "A web page of another origin.",
    404: "No such model.",
    408: "The body took too long.",
    413: "The body is too large.",
    415: "The body is not JSON by its content type, or is compressed.",
    421: "The Host header does not name this server.",
    429: "Too many requests, or a full queue; see Retry-After.",
    500: "An error in the server.",
    502: "The upstream failed.",
    503: "The upstream failed, or its circuit breaker is open.",
    504: "The upstream was too slow.",
}
_OUTCOME_ERRORS = {
    404: "The server keeps no outcomes.",
    409: "The receipt has another outcome of this kind.",
    507: "The database of outcomes is full.",
}


@functools.cache
def description() -> dict[str, Any]:
    """The description as JSON values."""
    _, schemas = models_json_schema([(one, "validation") for one in MODELS], ref_template=_REF)
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    version = {
        "name": "anthropic-version",
        "in": "header",
        "description": "Any value: the answer has Anthropic's shape.",
        "schema": {"type": "string"},
    }
    paging = [
        version,
        {
            "name": "limit",
            "in": "query",
            "description": "Models of a page, in Anthropic's shape only.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 1000},
        },
        *({"name": field, "in": "query", "schema": {"type": "string"}} for field in ("after_id", "before_id")),
    ]
    return {
        "openapi": "3.1.0",
        "info": {"title": "turnout", "version": __version__, "description": "Routes prompts between two models."},
        "security": [{}, {"key": []}, {"api_key": []}],
        "paths": {
            "/v1/chat/completions": {"post": _routed("Route and answer a chat completion", "chat", ChatRequest)},
            "/v1/messages": {
                "post": _routed("Route and answer a message", "messages", MessagesRequest, AnthropicError)
            },
            "/v1/messages/count_tokens": {
                "post": _routed(
                    "Count a message's tokens at the model that would answer it",
                    "countTokens",
                    CountTokensRequest,
                    AnthropicError,
                )
            },
            "/v1/responses": {"post": _routed("Route and answer a response", "responses", ResponsesRequest)},
            "/v1/responses/input_tokens": {
                "post": _routed(
                    "Count a response's input tokens at the model that would answer it",
                    "countInputTokens",
                    CountInputTokensRequest,
                )
            },
            "/v1/responses/compact": {
                "post": _routed("Summarize a turn at its model", "compact", CompactRequest),
            },
            "/v1/responses/{id}": {
                "get": _stored("A response that was made before", "getResponse"),
                "delete": _stored("Delete it", "deleteResponse"),
            },
            "/v1/responses/{id}/cancel": {"post": _stored("Cancel it in the background", "cancelResponse")},
            "/v1/responses/{id}/input_items": {"get": _stored("What it was asked", "listInputItems")},
            "/v1/route": {
                "post": {
                    "summary": "Decide without calling a model",
                    "operationId": "route",
                    "requestBody": _body(RouteRequest),
                    "responses": _responses(
                        [RouteResponse, RequestDecisions], 400, 401, 403, 404, 408, 413, 415, 421, 429, 500
                    ),
                }
            },
            "/v1/outcomes": {
                "post": {
                    "summary": "Record what came of answered requests",
                    "operationId": "outcomes",
                    "requestBody": {"required": True, "content": _json(Outcome, OutcomeBatch)},
                    "responses": _responses([RecordedOutcomes], 400, 401, 403, 408, 413, 415, 421, 429, 500)
                    | {str(status): _error(text, Error) for status, text in _OUTCOME_ERRORS.items()},
                }
            },
            "/v1/models": {
                "get": _get(
                    "List routers, aliases and models",
                    "listModels",
                    [ModelList, AnthropicModelList],
                    400,
                    401,
                    421,
                    429,
                )
                | {"parameters": paging}
            },
            "/v1/models/{name}": {
                "get": _get("One of them", "getModel", [ListedModel, AnthropicModel], 401, 404, 421, 429)
                | {"parameters": [name, version]}
            },
            "/health": {"get": _get("The process is alive", "health", [Status])},
            "/ready": {
                "get": {
                    "summary": "Routers are loaded and the server is not shutting down",
                    "operationId": "ready",
                    "responses": {
                        str(status): {"description": text, "content": _json(Status)}
                        for status, text in ((200, "Ready."), (503, "Not ready."))
                    },
                }
            },
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


async def openapi(request: Request) -> Response:
    """``GET /openapi.json``."""
    return JSONResponse(description())


def _routed(summary: str, operation: str, request: type[BaseModel], error: type[BaseModel] = Error) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}
    answered = {
        "description": "The answer of the chosen model, or of the other model after a failure.",
        "content": content,
    }
    return {
        "summary": summary,
        "operationId": operation,
        "requestBody": _body(request),
        # Errors of upstreams are relayed with their own status.
        "responses": {
            "200": answered,
            **{str(status): _error(text, error) for status, text in _ERRORS.items()},
            "4XX": _error("An error of the upstream.", error),
        },
    }


def _stored(summary: str, operation: str) -> dict[str, Any]:
    found = _routed(summary, operation, ResponsesRequest)
    del found["requestBody"]
    identifier = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return found | {"parameters": [identifier]}


def _get(summary: str, operation: str, models: Sequence[type[BaseModel]], *errors: int) -> dict[str, Any]:
    return {"summary": summary, "operationId": operation, "responses": _responses(models, *errors)}


def _responses(models: Sequence[type[BaseModel]], *errors: int) -> dict[str, Any]:
    # A list of models in place of one: the shape depends on the client's headers.
    shapes = (Error, AnthropicError) if len(models) > 1 else (Error,)
    found = {"200": {"description": "Done.", "content": _json(*models)}}
    return {**found, **{str(status): _error(_ERRORS[status], *shapes) for status in errors}}


def _error(text: str, *models: type[BaseModel]) -> dict[str, Any]:
    return {"description": text, "content": _json(*models)}


def _body(model: type[BaseModel]) -> dict[str, Any]:
    return {"required": True, "content": _json(model)}


def _json(*models: type[BaseModel]) -> dict[str, Any]:
    refs = [{"$ref": _REF.format(model=model.__name__)} for model in models]
    return {"application/json": {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}}
