"""Anthropic's Messages."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from turnout.serve.dialects.dialect import Dialect, TokenCount, is_json_format
from turnout.serve.dialects.errors import ApiError
from turnout.serve.dialects.judging import BadAnswerError

#: Types of errors by status. 504 and 529 are Anthropic's own use of them.
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
#: Events that come before the model has begun: the message's head, and signs of life.
_BEFORE = frozenset(["message_start", "ping"])


class Messages(Dialect):
    """``POST /v1/messages``."""

    name = "messages"
    path = "/messages"
    without_content = "no_message"
    beside = ("system", "tools")
    limits = ("max_tokens",)
    request_headers = frozenset([b"anthropic-beta", b"anthropic-version"])
    query = frozenset(["beta"])
    key_header = "x-api-key"
    statuses: ClassVar[Mapping[str, int]] = {kind: status for status, kind in _TYPES.items()}

    def session_id(self, request: Mapping[str, Any]) -> str:
        """Claude Code puts its session there, other clients their user."""
        metadata = request.get("metadata")
        found = metadata.get("user_id") if isinstance(metadata, dict) else None
        return found if isinstance(found, str) else ""

    def wants_json(self, request: Mapping[str, Any]) -> bool:
        """Structured outputs: ``output_config.format``, or ``output_format`` of their beta."""
        config = request.get("output_config")
        return is_json_format(request.get("output_format") or (isinstance(config, dict) and config.get("format")))

    def check_whole(self, body: bytes) -> dict[str, Any]:
        """A message with a list of content, which may be empty."""
        found = self.whole(body)
        if found.get("type") != "message" or not isinstance(found.get("content"), list):
            raise BadAnswerError(self.without_content, "200 without a message that has content")
        return found

    def event(self, data: bytes) -> dict[str, Any]:
        """An object with a type."""
        found = self.event_object(data)
        if not isinstance(found.get("type"), str):
            raise BadAnswerError(self.without_content, "200 with an event without a type")
        return found

    def begins(self, event: Mapping[str, Any]) -> bool:
        """With the first block: an overloaded model fails after the message's head."""
        return event["type"] not in _BEFORE

    def is_finished(self, tail: bytes) -> bool:
        """With ``message_stop``."""
        return b'"message_stop"' in tail

    def is_error(self, found: Mapping[str, Any]) -> bool:
        """An object of the type ``error`` with a type and a message."""
        error = found.get("error")
        return found.get("type") == "error" and isinstance(error, dict) and isinstance(error.get("message"), str)

    def error_body(self, error: ApiError, request_id: str) -> bytes:
        """Anthropic's shape."""
        default = "invalid_request_error" if error.status < 500 else "api_error"
        kind = "overloaded_error" if error.status == 503 else _TYPES.get(error.status, default)
        details = {"type": kind, "message": str(error).encode("utf-8", "replace").decode()}
        return orjson.dumps({"type": "error", "error": details, "request_id": request_id or uuid.uuid4().hex})

    def error_headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        """The header that Anthropic's clients read the id from."""
        return [(b"request-id", request_id.encode())] if request_id else []

    def error_event(self, error: ApiError, request_id: str, tail: bytes) -> bytes:
        """Anthropic's clients look at the event's name."""
        return b"event: error\n" + super().error_event(error, request_id, tail)


class CountTokens(TokenCount, Messages):
    """``POST /v1/messages/count_tokens``: at the model that a message would go to."""

    path = "/messages/count_tokens"
