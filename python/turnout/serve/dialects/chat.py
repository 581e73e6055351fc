"""OpenAI's Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnout.serve.dialects.dialect import Dialect
from turnout.serve.dialects.judging import BadAnswerError
from turnout.serve.dialects.sse import DONE


class Chat(Dialect):
    """``POST /v1/chat/completions``."""

    name = "chat"
    path = "/chat/completions"
    without_content = "no_choices"
    limits = ("max_completion_tokens", "max_tokens")
    request_headers = frozenset([b"openai-beta"])

    def check_whole(self, body: bytes) -> dict[str, Any]:
        """An object with a choice that has a message."""
        found = self.whole(body)
        choices = found.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise BadAnswerError(self.without_content, "200 without choices")
        self.check_error(choices[0], body)
        message = choices[0].get("message")
        if not message or not isinstance(message, dict):
            raise BadAnswerError(self.without_content, "200 with a choice that has no message")
        return found

    def event(self, data: bytes) -> dict[str, Any]:
        """An object with a list of choices, which may be empty."""
        if data.strip() == DONE:
            raise BadAnswerError(self.without_content, "200 with a stream that ended without choices")
        found = self.event_object(data)
        choices = found.get("choices")
        if not isinstance(choices, list):
            raise BadAnswerError(self.without_content, "200 with an event without choices")
        if choices and isinstance(choices[0], dict):
            self.check_error(choices[0], data)
        return found

    def begins(self, event: Mapping[str, Any]) -> bool:
        """With the first choice: events before it, such as Azure's of its filters, have none."""
        return bool(event["choices"])
