"""Which part of a conversation is routed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from turnout._core import InferenceError, RouterError
from turnout.routing.errors import RoutingError

#: From messages to the text that is routed on.
PickPrompt = Callable[[Sequence[Mapping[str, Any]]], str]
#: ``"last_user"``, ``"conversation"`` or a function of the messages.
Context = Literal["last_user", "conversation"] | PickPrompt

CONTEXTS = ("last_user", "conversation")


def prompt_of(messages: Any, context: Context = "last_user") -> str:
    """The text to route on.

    ``"last_user"`` is the text of the last message whose role is ``user``; ``"conversation"`` that of all of them, a blank line
    between two. Content given as parts counts with its text parts. System text, the assistant's words and results of tools
    are not the user's words and are never taken for them.

    Args:
        messages: Messages of a chat completion.
        context: Which of them.

    Returns:
        The text; empty where the user's message holds no text, such as only an image.

    Raises:
        RoutingError: No list of messages, no message of the user, or content of another type.
        InferenceError: The function raised, or gave no text.

    Example:
        >>> prompt_of([{"role": "user", "content": "Hi"}, {"role": "tool", "content": "42"}])
        'Hi'
        >>> prompt_of([{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]}])
        'What is this?'
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise RoutingError(f"messages is {_kind(messages)}, expected a list of one message or more")
    for place, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise RoutingError(f"messages[{place}] is {_kind(message)}, expected an object with role and content")
    if callable(context):
        return _picked(context, messages)
    if context == "conversation":
        texts = [_text(message, place) for place, message in enumerate(messages) if message.get("role") == "user"]
        if texts:
            return "\n\n".join(texts)
    elif context == "last_user":
        for place in range(len(messages) - 1, -1, -1):
            if messages[place].get("role") == "user":
                return _text(messages[place], place)
    else:
        raise RoutingError(f"context is {context!r}, expected {' or '.join(map(repr, CONTEXTS))} or a function")
    roles = sorted({str(message.get("role"))[:40] for message in messages})
    raise RoutingError(f"no message with role 'user' to route on; found the roles {', '.join(roles)}")


def _picked(context: PickPrompt, messages: Sequence[Mapping[str, Any]]) -> str:
    try:
        picked: object = context(messages)
    except RouterError:
        raise
    except Exception as error:
        raise InferenceError(f"the context function raised {type(error).__name__}") from error
    if not isinstance(picked, str):
        raise InferenceError(f"the context function gave {_kind(picked)}, expected a str")
    return picked


def _text(message: Mapping[str, Any], place: int) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        for text in texts:
            if not isinstance(text, str):
                raise RoutingError(f"messages[{place}].content has a text part with {_kind(text)}, expected a string")
        return "\n".join(texts)  # type: ignore[arg-type]
    raise RoutingError(f"messages[{place}].content is {_kind(content)}, expected a string or a list of parts")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | tuple) and not value:
        return "an empty list"
    return f"of type {type(value).__name__}"
