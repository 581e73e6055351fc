"""``GET /openapi.json``: the clients' API as an OpenAPI 3.1 description."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import __version__

Unit = Annotated[float, Field(ge=0, le=1)]
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


class ChatRequest(BaseModel, extra="allow"):
    """OpenAI's chat completion. All fields but ``model`` are forwarded as they are."""

    model: Annotated[
        str, Field(min_length=1, description="router-NAME-THRESHOLD, router-NAME-share-SHARE, or a model.")
    ]
    messages: list[Any]
    stream: bool | None = None


class RouteRequest(BaseModel, extra="allow"):
    """A prompt, prompts or a conversation, and either ``model``, or ``router`` with a threshold or share."""

    model: str | None = None
    router: str | None = None
    threshold: Unit | None = None
    strong_share: Unit | None = None
    prompt: str | Annotated[list[str], Field(max_length=10_000)] | None = None
    messages: list[Any] | None = None


class RouteDecision(BaseModel):
    """One decision."""

    model: str
    is_strong: bool
    win_rate: Unit
    threshold: Unit
    decision_us: float


class RouteResponse(BaseModel):
    """Decisions in the order of the prompts."""

    object: Literal["list"]
    router: str
    artifact_hash: str | None
    decisions: list[RouteDecision]


class ListedModel(BaseModel):
    """A name that a request's ``model`` may have."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"]
    data: list[ListedModel]


class Status(BaseModel):
    """Of the process."""

    status: str


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | int | None


class Error(BaseModel):
    """OpenAI's shape of errors."""

    error: ErrorDetail


@functools.cache
def description() -> dict[str, Any]:
    """The description as JSON values."""
    models: list[type[BaseModel]] = [ChatRequest, RouteRequest, RouteResponse, ListedModel, ModelList, Status, Error]
    _, schemas = models_json_schema([(one, "validation") for one in models], ref_template=_REF)
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "turnout", "version": __version__, "description": "Routes prompts between two models."},
        "security": [{}, {"key": []}],
        "paths": {
            "/v1/chat/completions": {"post": _chat()},
            "/v1/route": {
                "post": {
                    "summary": "Decide without calling a model",
                    "operationId": "route",
                    "requestBody": _body(RouteRequest),
                    "responses": _responses(RouteResponse, 400, 401, 403, 404, 408, 413, 415, 421, 429, 500),
                }
            },
            "/v1/models": {"get": _get("List routers, aliases and models", "listModels", ModelList, 401, 421, 429)},
            "/v1/models/{name}": {
                "get": _get("One of them", "getModel", ListedModel, 401, 404, 421, 429) | {"parameters": [name]}
            },
            "/health": {"get": _get("The process is alive", "health", Status)},
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
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


async def openapi(request: Request) -> Response:
    """``GET /openapi.json``."""
    return JSONResponse(description())


def _chat() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}
    responses = _responses(None, *_ERRORS)
    answered = {
        "description": "The answer of the chosen model, or of the other model after a failure.",
        "content": content,
    }
    return {
        "summary": "Route and answer a chat completion",
        "operationId": "chat",
        "requestBody": _body(ChatRequest),
        # Errors of upstreams are relayed with their own status.
        "responses": {"200": answered, **responses, "4XX": _error("An error of the upstream.")},
    }


def _get(summary: str, operation: str, model: type[BaseModel], *errors: int) -> dict[str, Any]:
    return {"summary": summary, "operationId": operation, "responses": _responses(model, *errors)}


def _responses(model: type[BaseModel] | None, *errors: int) -> dict[str, Any]:
    found = {} if model is None else {"200": {"description": "Done.", "content": _json(model)}}
    return {**found, **{str(status): _error(_ERRORS[status]) for status in errors}}


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": _json(Error)}


def _body(model: type[BaseModel]) -> dict[str, Any]:
    return {"required": True, "content": _json(model)}


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}
