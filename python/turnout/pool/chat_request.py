"""What a chat completion asks of the models of a pool: capabilities, tokens, and the limit of its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from turnout.conversation import whole_text
from turnout.conversation.needs import needs_of

if TYPE_CHECKING:
    from turnout.pool.request import PoolRequest
    from turnout.pool.router import PoolRouter

_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_JSON = ("json_object", "json_schema")


def chat_request(router: PoolRouter, request: Mapping[str, Any], conversation: str = "messages") -> PoolRequest:
    """Arguments of :meth:`turnout.PoolRouter.route` for a chat completion.

    Args:
        router: Counts the tokens of all messages and of the descriptions of tools.
        request: Arguments of the completion.
        conversation: The one that has the messages.

    Returns:
        ``estimated_tokens``, and where the request says so ``needs`` and ``max_output``.

    Raises:
        RoutingError: Messages that cannot be read.

    Example:
        >>> import turnout
        >>> router = turnout.load(pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0))
        >>> chat_request(router, {"messages": [{"role": "user", "content": "one two"}], "max_tokens": 9})
        {'estimated_tokens': 2.0, 'max_output': 9}
    """
    tools = request.get("tools") or request.get("functions")
    text = whole_text(request.get(conversation)) + ("\n" + json.dumps(tools, default=str) if tools else "")
    found: PoolRequest = {"estimated_tokens": router.count_tokens(text)}
    format = request.get("response_format")
    wants_json = isinstance(format, Mapping) and format.get("type") in _JSON
    if needs := needs_of(request, conversation) | ({"json"} if wants_json else set()):
        found["needs"] = sorted(needs)
    most = next((request[name] for name in _LIMITS if isinstance(request.get(name), int)), 0)
    if most > 0:
        found["max_output"] = most
    return found
