"""Which words of a conversation are judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from turnout._core import InferenceError, RouterError
from turnout.conversation.bare_reply import canonical_reply
from turnout.conversation.messages import any_text_of, as_mapping, is_user, kind, listed, role_of, words_of
from turnout.errors import RoutingError

#: From messages to the text that is routed on.
PickPrompt = Callable[[Sequence[Mapping[str, Any]]], str]
#: ``"last_user"``, ``"conversation"`` or a function of the messages.
Context = Literal["last_user", "conversation"] | PickPrompt

CONTEXTS = ("last_user", "conversation")

#: Messages of the user, from the last one on, among which a reply without content looks for what it answers.
LOOK_BACK = 16


def prompt_of(messages: Any, context: Context = "last_user") -> str:
    """The text that a router judges, of a conversation.

    ``"last_user"`` is the text of the user's last message that has content of its own: a bare reply ("yes", "Continue!", "why?") is
    judged as the message of the user that came before it, at most :data:`LOOK_BACK` messages of the user back.
    ``"conversation"`` is the text of all messages of the user, without bare replies, a blank line between two. Where only
    bare replies are found, the last of them is judged in its canonical form: lower case, without punctuation.

    System text, the assistant's words and results of tools are judged only where the user wrote nothing: then the last text of any
    message is.

    Args:
        messages: Messages of a chat completion, as dicts or as objects of ``openai``, LiteLLM or LangChain; items of the
            Responses API; messages of Anthropic's API; or any iterable of these.
        context: Which of them. A function is given the messages as mappings, and its text is judged as it is.

    Returns:
        The text. It is empty only where the user's message holds nothing but other media, and no message holds text.

    Raises:
        RoutingError: Not a list of messages, no text at all, or content that cannot be read; names the place.
        InferenceError: The function raised, or did not return a string.

    Example:
        >>> prompt_of([{"role": "user", "content": "Prove it."}, {"role": "assistant", "content": "Shall I?"}, {"role": "user", "content": "Yes!"}])
        'Prove it.'
        >>> prompt_of([{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]}])
        'What is this?'
        >>> prompt_of([{"role": "user", "content": "YES."}])
        'yes'
    """
    found = listed(messages)
    if callable(context):
        return _picked(context, found)
    if context == "last_user":
        text = _last_user(found)
    elif context == "conversation":
        text = _conversation(found)
    else:
        raise RoutingError(f"context is {context!r}, expected {' or '.join(map(repr, CONTEXTS))} or a function")
    return text or _last_text(found)


def judged_text(prompt: str) -> str:
    """The text that a router judges, of a prompt without a conversation: a bare reply in its canonical form, others as they are.

    Example:
        >>> judged_text("Thanks!"), judged_text("What is 2 + 2?")
        ('thanks', 'What is 2 + 2?')
    """
    reply = canonical_reply(prompt) if isinstance(prompt, str) else None
    return prompt if reply is None else reply


def _last_user(messages: list[Any]) -> str:
    bare, looked = "", 0
    for place in range(len(messages) - 1, -1, -1):
        if not is_user(messages[place]) or (text := words_of(messages[place], place)) is None:
            continue
        reply = canonical_reply(text)
        if reply is None:
            return text
        bare, looked = bare or reply, looked + 1
        if looked == LOOK_BACK:
            break
    return bare


def _conversation(messages: list[Any]) -> str:
    words = [words_of(message, place) for place, message in enumerate(messages) if is_user(message)]
    texts = [(text, canonical_reply(text)) for text in words if text is not None]
    full = [text for text, reply in texts if reply is None]
    return "\n\n".join(full) if full else next((reply for _, reply in reversed(texts) if reply), "")


def _last_text(messages: list[Any]) -> str:
    """The last text of any message: where the user wrote nothing."""
    for place in range(len(messages) - 1, -1, -1):
        text = any_text_of(messages[place], place)
        if text.strip():
            return judged_text(text)
    if any(is_user(message) and words_of(message, place) is not None for place, message in enumerate(messages)):
        return ""
    roles = sorted({role_of(message)[:40] for message in messages})
    raise RoutingError(f"messages hold no text to route on; found the roles {', '.join(roles)}")


def _picked(context: PickPrompt, messages: list[Any]) -> str:
    try:
        picked: object = context([as_mapping(message) for message in messages])
    except RouterError:
        raise
    except Exception as error:
        raise InferenceError(f"the context function raised {type(error).__name__}") from error
    if not isinstance(picked, str):
        raise InferenceError(f"the context function returned a value {kind(picked)}, expected a string")
    return picked
