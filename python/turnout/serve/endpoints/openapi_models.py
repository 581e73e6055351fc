"""Bodies of requests and answers as :mod:`~turnout.serve.endpoints.openapi` describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

Unit = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
ModelName = Annotated[
    str, Field(min_length=1, description="router-NAME-THRESHOLD, router-NAME-share-SHARE, an alias, or a model.")
]


class ChatRequest(BaseModel, extra="allow"):
    """OpenAI's chat completion. All fields but ``model`` are forwarded as they are."""

    model: ModelName
    messages: list[Any]
    stream: bool | None = None


class MessagesRequest(BaseModel, extra="allow"):
    """Anthropic's message. All fields but ``model`` are forwarded as they are."""

    model: ModelName
    messages: list[Any]
    stream: bool | None = None


class CountTokensRequest(BaseModel, extra="allow"):
    """Anthropic's count of a message's tokens. All fields but ``model`` are forwarded as they are."""

    model: ModelName
    messages: list[Any]


class ResponsesRequest(BaseModel, extra="allow"):
    """OpenAI's response. All fields but ``model`` are forwarded as they are."""

    model: ModelName
    input: str | list[Any] | None = None
    stream: bool | None = None


class CountInputTokensRequest(BaseModel, extra="allow"):
    """OpenAI's count of a response's input tokens. All fields but ``model`` are forwarded as they are."""

    model: ModelName
    input: str | list[Any] | None = None


class CompactRequest(BaseModel, extra="allow"):
    """OpenAI's request for a summary of a conversation. All fields but ``model`` are forwarded as they are."""

    model: ModelName
    input: str | list[Any] | None = None


class RouteRequest(BaseModel, extra="allow"):
    """A prompt, prompts or a conversation, and either ``model``, or ``router`` with a threshold, a share or an objective of a pool."""

    model: str | None = None
    router: str | None = None
    threshold: Unit | None = None
    strong_share: Unit | None = None
    target: Unit | None = None
    max_cost: NotNegative | None = None
    error_cost: NotNegative | None = None
    tolerance: Unit | None = None
    rank: Annotated[bool, Field(description="All models of the pool, ranked; for at most 100 prompts.")] | None = None
    prompt: str | Annotated[list[str], Field(max_length=10_000)] | None = None
    messages: list[Any] | None = None
    requests: (
        Annotated[
            list[Any], Field(max_length=10_000, description="Bodies of a dialect; nothing but dialect beside them.")
        ]
        | None
    ) = None
    dialect: Annotated[str, Field(description="Of requests: chat, messages or responses.")] | None = None


class RouteDecision(BaseModel):
    """One decision. That of a cascade names the model that is asked first."""

    model: str
    is_strong: bool
    win_rate: Unit
    threshold: Unit
    decision_us: float
    action: Literal["cheap", "cascade", "strong"] | None = None


class RankedModel(BaseModel):
    """One model of a pool for one prompt."""

    model: str
    success: Unit
    success_low: Unit
    success_high: Unit
    expected_cost: NotNegative | None
    latency_ms: NotNegative | None
    output_tokens: NotNegative
    feasible: bool
    excluded_by: str | None
    reason: str | None


class PoolRouteDecision(BaseModel):
    """One decision of a pool. That of a cascade names the model that is asked first, with its chance of success and cost."""

    model: str
    success: Unit
    expected_cost: NotNegative | None
    reason: str
    decision_us: float
    action: Literal["cheap", "cascade", "strong"] | None = None
    steps: list[str] | None = None
    ranked: list[RankedModel] | None = None


class RequestDecision(BaseModel):
    """One decision for a request: a model, or an error with its status."""

    request_id: str
    model: str | None
    upstream_model: str | None = None
    fallbacks: list[str] | None = None
    rule: str | None = None
    pinned_for: list[str] | None = None
    router: str | None = None
    decision_us: float | None = None
    error: dict[str, Any] | None = None
    status: int | None = None


class RequestDecisions(BaseModel):
    """Decisions in the order of the requests."""

    object: Literal["list"]
    dialect: Literal["chat", "messages", "responses"]
    decisions: list[RequestDecision]


class RouteResponse(BaseModel):
    """Decisions in the order of the prompts."""

    object: Literal["list"]
    router: str
    artifact_hash: str | None
    pool_hash: str | None = None
    decisions: list[RouteDecision] | list[PoolRouteDecision]


class Outcome(BaseModel, extra="forbid"):
    """What came of a request: exactly one of ``score``, ``preference``, ``thumbs``, ``passed`` and ``regenerated``."""

    receipt_id: Annotated[str, Field(min_length=1, max_length=256, description="The x-request-id of the answer.")]
    model: Annotated[str, Field(max_length=256, description="Whose answer, if not the delivered one.")] | None = None
    score: Unit | None = None
    preference: Literal["win", "tie", "loss"] | None = None
    thumbs: Literal["up", "down"] | None = None
    passed: bool | None = None
    regenerated: Literal[True] | None = None


class OutcomeBatch(BaseModel, extra="forbid"):
    """Outcomes that are recorded together or not at all."""

    outcomes: Annotated[list[Outcome], Field(max_length=1000)]


class RecordedOutcomes(BaseModel):
    """How many outcomes are new, and how many were recorded before."""

    object: Literal["outcomes"]
    added: int
    known: int


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


class AnthropicModel(BaseModel):
    """A name that a request's ``model`` may have, where the request has the header ``anthropic-version``."""

    type: Literal["model"]
    id: str
    display_name: str
    created_at: str
    lifecycle: Literal["active"]


class AnthropicModelList(BaseModel):
    """A page of them."""

    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None


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


class AnthropicErrorDetail(BaseModel):
    """What went wrong."""

    type: str
    message: str


class AnthropicError(BaseModel):
    """Anthropic's shape of errors."""

    type: Literal["error"]
    error: AnthropicErrorDetail
    request_id: str


MODELS: list[type[BaseModel]] = [
    ChatRequest, MessagesRequest, CountTokensRequest, ResponsesRequest, CountInputTokensRequest, CompactRequest, RouteRequest, RouteResponse, RequestDecisions, Outcome, OutcomeBatch,
    RecordedOutcomes, ListedModel, ModelList, AnthropicModel, AnthropicModelList, Status, Error, AnthropicError,
]  # fmt: skip
