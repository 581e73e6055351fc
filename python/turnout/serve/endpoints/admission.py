"""What every request passes first: the limit of requests in flight, the client's key, and the count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout.serve.dialects import of_scope
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.asgi import CLIENT, Message, Receive, Scope, Send, header, send_error

if TYPE_CHECKING:
    from turnout.serve.state import State

_COUNTED = frozenset(
    {
        "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/responses", "/v1/responses/input_tokens",
        "/v1/responses/compact", "/v1/route", "/v1/outcomes", "/v1/models", "/health", "/ready",
    }
)  # fmt: skip
_NEEDS_KEY = ("/v1/", "/playground/api/")
#: What scores prompts or forwards them.
_LIMITED = ("/v1/", "/playground/api/scores", "/playground/api/explain")


class Gate:
    """ASGI middleware.

    Args:
        app: What comes after.
        state: The server's state.
    """

    def __init__(self, app: Any, state: State) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on, or turns it away."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state, path = self.state, scope["path"]
        status = 0

        async def counting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        held = 0

        async def holding() -> Message:
            nonlocal held
            message = await receive()
            size = len(message.get("body", b""))
            if not state.bodies.take(size):
                raise ApiError(
                    429,
                    "the limit of request bodies in flight is reached; try again",
                    code="overloaded",
                    retry_after_s=1.0,
                )
            held += size
            return message

        is_limited = path.startswith(_LIMITED)
        state.in_flight += is_limited
        try:
            if error := self._refusal(scope, path, is_limited):
                state.metrics.errors.labels(error.code).inc()
                await send_error(counting, error, dialect=of_scope(scope))
            else:
                await self.app(scope, holding, counting)
        finally:
            state.in_flight -= is_limited
            state.bodies.give_back(held)
            endpoint = path if path in _COUNTED else "other"
            state.metrics.requests.labels(endpoint, str(status or "client_gone")).inc()

    def _refusal(self, scope: Scope, path: str, is_limited: bool) -> ApiError | None:
        state = self.state
        if state.needs_key and path.startswith(_NEEDS_KEY) and scope["method"] != "OPTIONS":
            sent = (header(scope, name) for name in (b"authorization", b"x-api-key"))
            client = state.keys.client_of(*(one.decode("latin-1") if one else None for one in sent))
            scope[CLIENT] = client
            if client is None:
                return ApiError(
                    401,
                    "invalid key: send Authorization: Bearer, or x-api-key, with a key of this server",
                    code="invalid_api_key",
                )
        if is_limited and state.in_flight > state.snapshot.settings.server.max_concurrency:
            return ApiError(429, "too many requests in flight; try again", code="overloaded", retry_after_s=1.0)
        encoding = (header(scope, b"content-encoding") or b"").decode("latin-1").strip().lower()
        if is_limited and scope["method"] == "POST" and encoding not in ("", "identity"):
            return ApiError(
                415, f"content-encoding is {encoding[:200]!r}, expected none", code="invalid_content_encoding"
            )
        return None
