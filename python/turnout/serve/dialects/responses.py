"""OpenAI's Responses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from turnout.serve.dialects.dialect import ID, Dialect, TokenCount, is_json_format
from turnout.serve.dialects.errors import ApiError
from turnout.serve.dialects.judging import BadAnswerError, check_error

#: Events that come before the model has begun. A response in the background that is queued counts as begun: its client needs the id.
_BEFORE = frozenset(["response.created", "response.in_progress", "keepalive"])
_ENDS = tuple(f'"response.{end}"'.encode() for end in ("completed", "incomplete", "failed", "cancelled"))
_SEQUENCE = re.compile(rb'"sequence_number"[ \t]*:[ \t]*([0-9]{1,18})')


class Responses(Dialect):
    """``POST /v1/responses``."""

    name = "responses"
    path = "/responses"
    without_content = "no_output"
    conversation = "input"
    beside = ("instructions", "tools")
    limits = ("max_output_tokens",)
    statuses: ClassVar[Mapping[str, int]] = {
        "context_length_exceeded": 400,
        "insufficient_quota": 429,
        "invalid_prompt": 400,
        "invalid_request_error": 400,
        "rate_limit_exceeded": 429,
        "server_error": 500,
        "server_is_overloaded": 503,
    }
    request_headers = frozenset(
        [b"conversation_id", b"openai-beta", b"originator", b"session-id", b"session_id", b"thread-id"]
    )

    def messages(self, request: Mapping[str, Any]) -> Any:
        """Items; a text is a message of the user. What the upstream has stored in place of an input is one without text."""
        found = request.get("input")
        if not found and any(request.get(name) for name in ("prompt", *self.references)):
            found = ""
        return [{"role": "user", "content": found}] if isinstance(found, str) else found

    def wants_json(self, request: Mapping[str, Any]) -> bool:
        """``text.format``."""
        text = request.get("text")
        return is_json_format(isinstance(text, dict) and text.get("format"))

    def check_whole(self, body: bytes) -> dict[str, Any]:
        """A response with a list of output, which is empty while it is queued."""
        found = self.whole(body)
        if not isinstance(found.get("output"), list):
            raise BadAnswerError(self.without_content, "200 without a response that has output")
        return found

    def event(self, data: bytes) -> dict[str, Any]:
        """An object with a type."""
        found = self.event_object(data)
        if not isinstance(found.get("type"), str):
            raise BadAnswerError(self.without_content, "200 with an event without a type")
        return found

    def check_error(self, found: Mapping[str, Any], body: bytes) -> None:
        """An event is an error of its own, or that of a response that failed."""
        error = found.get("error")
        if "error" in (found.get("type"), found.get("object")):
            error = error or {key: found.get(key) for key in ("message", "code", "param")}
        elif found.get("type") == "response.failed" and isinstance(response := found.get("response"), dict):
            error = response.get("error") or {"message": "the response failed"}
        check_error({"error": error}, self.statuses)

    def id_of(self, found: Mapping[str, Any]) -> str:
        """Of a response that is stored."""
        response = found.get("response", found)
        if not isinstance(response, dict) or response.get("store") is False:
            return ""
        name = response.get("id")
        return name if isinstance(name, str) and ID.fullmatch(name) else ""

    references = ("previous_response_id", "conversation")

    def continues(self, request: Mapping[str, Any]) -> tuple[str, ...]:
        """``previous_response_id`` and ``conversation``."""
        conversation = request.get("conversation")
        if isinstance(conversation, dict):
            conversation = conversation.get("id")
        found = (request.get("previous_response_id"), conversation)
        return tuple(one for one in found if isinstance(one, str) and ID.fullmatch(one))

    def begins(self, event: Mapping[str, Any]) -> bool:
        """With the first item of output: a rate limit is reported after the response's head."""
        return event["type"] not in _BEFORE

    def is_finished(self, tail: bytes) -> bool:
        """With the complete response."""
        return any(end in tail for end in _ENDS)

    def error_event(self, error: ApiError, request_id: str, tail: bytes) -> bytes:
        """Both shapes that OpenAI uses: clients read ``error``, or the fields beside it."""
        details = json.loads(error.body())["error"]
        numbers = _SEQUENCE.findall(tail)
        number = int(numbers[-1]) + 1 if numbers else 0
        event = {**details, "type": "error", "sequence_number": number, "error": details}
        return b"event: error\ndata: " + json.dumps(event).encode() + b"\n\n"


class CountInputTokens(TokenCount, Responses):
    """``POST /v1/responses/input_tokens``: at the model that a response would come from."""

    path = "/responses/input_tokens"


class Compact(Responses):
    """``POST /v1/responses/compact``: the model of a turn makes a summary of it, which only its provider can read."""

    path = "/responses/compact"
    operation = "compact"
    is_logged = False
    is_summary = True
    can_stream = False


class StoredResponse(Responses):
    """``/v1/responses/ID``: a response that was made before, whatever became of it."""

    query = frozenset(
        ["after", "before", "include", "include[]", "include_obfuscation", "limit", "order", "starting_after", "stream"]
    )

    def check_whole(self, body: bytes) -> dict[str, Any]:
        """Any object but an error."""
        return self.whole(body)

    def check_error(self, found: Mapping[str, Any], body: bytes) -> None:
        """A response that failed is none."""
        if found.get("object") != "response" and found.get("type") != "response.failed":
            super().check_error(found, body)

    def event(self, data: bytes) -> dict[str, Any]:
        """Any event but an error."""
        return self.event_object(data)

    def begins(self, event: Mapping[str, Any]) -> bool:
        """With the first event."""
        return True

    def is_error_event(self, data: bytes) -> bool:
        """As while it is made."""
        return Responses().is_error_event(data)
