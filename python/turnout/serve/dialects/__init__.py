"""The APIs that the server speaks. One pipeline serves all; a dialect says what differs between them.

- :mod:`~turnout.serve.dialects.dialect`: the base class;
- :mod:`~turnout.serve.dialects.chat`: OpenAI's Chat Completions;
- :mod:`~turnout.serve.dialects.messages`: Anthropic's Messages, and the count of their tokens;
- :mod:`~turnout.serve.dialects.responses`: OpenAI's Responses, the count of their tokens, summaries, and stored ones.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from turnout.serve.dialects.chat import Chat
from turnout.serve.dialects.dialect import Dialect
from turnout.serve.dialects.messages import CountTokens, Messages
from turnout.serve.dialects.responses import Compact, CountInputTokens, Responses, StoredResponse

__all__ = [
    "CHAT",
    "COMPACT",
    "COUNT_INPUT_TOKENS",
    "COUNT_TOKENS",
    "DIALECTS",
    "MESSAGES",
    "RESPONSES",
    "STORED_RESPONSE",
    "Dialect",
    "of_scope",
]

CHAT, MESSAGES, COUNT_TOKENS = Chat(), Messages(), CountTokens()
RESPONSES, COUNT_INPUT_TOKENS, COMPACT, STORED_RESPONSE = Responses(), CountInputTokens(), Compact(), StoredResponse()
#: Names for ``[models.NAME] dialects``.
DIALECTS = (CHAT.name, MESSAGES.name, RESPONSES.name)


def of_scope(scope: MutableMapping[str, Any]) -> Dialect:
    """The dialect of a request for errors that come before its endpoint: Anthropic's for its paths, and for models where its header is sent.

    Args:
        scope: Of ASGI.
    """
    path: str = scope["path"]
    if path.startswith("/v1/messages"):
        return MESSAGES
    if path.startswith("/v1/models") and any(name == b"anthropic-version" for name, _ in scope["headers"]):
        return MESSAGES
    return CHAT
