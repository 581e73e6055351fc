"""Selects the text of a conversation that a router judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from turnout._core import InferenceError, RouterError
from turnout.conversation.bare_reply import canonical_reply
from turnout.conversation.harness import DEFAULT, Harness
from turnout.conversation.messages import any_text_of, as_mapping, is_user, kind, listed, role_of, texts_of, words_of
from turnout.errors import RoutingError

#: A function from messages to the text that is judged.
PickPrompt = Callable[[Sequence[Mapping[str, Any]]], str]
#: ``"last_user"``, ``"conversation"`` or a function of the messages.
Context = Literal["last_user", "conversation"] | PickPrompt

CONTEXTS = ("last_user", "conversation")

#: Number of user messages, from the last one back, that are searched for the message that a bare reply answers.
LOOK_BACK = 16
#: Roles of messages that neither the user nor the assistant wrote.
_INSTRUCTIONS = ("system", "developer")


def whole_text(messages: Any) -> str:
    """The text of all messages of any role, results of tools included: what a model has to read.

    Args:
        messages: As for :func:`prompt_of`.

    Returns:
        The texts, a line each.

    Raises:
        RoutingError: As for :func:`prompt_of`.

    Example:
        >>> whole_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
        'Be brief.\\nHi'
    """
    return "\n".join(any_text_of(message, index) for index, message in enumerate(listed(messages)))


def prompt_of(messages: Any, context: Context = "last_user", harness: Harness = DEFAULT) -> str:
    """Selects the text of a conversation that a router judges.

    ``"last_user"`` is the text of the last user message that has content of its own. Text that an agent adds, such as reminders, files and
    summaries, is left out, see :class:`~turnout.conversation.harness.Harness`. A bare reply ("yes", "Continue!", "why?") is
    skipped in favor of the user message before it, at most :data:`LOOK_BACK` user messages back. ``"conversation"`` is the text of all
    user messages without bare replies, separated by blank lines. If there are only bare replies, the last one is judged in its
    canonical form: lower case, without punctuation.

    If no user message has text of the user, the last text of any message is judged: of an agent, of the system, an assistant's answer or a
    tool result.

    Args:
        messages: Messages of a chat completion, as dicts or as objects of ``openai``, LiteLLM or LangChain; items of the
            Responses API; messages of Anthropic's API; or any iterable of these.
        context: ``"last_user"``, ``"conversation"``, or a function that gets the messages as mappings and returns the text.
        harness: Knows the text that agents add.

    Returns:
        The text. It is empty only if the user message has other media only and no message has text.

    Raises:
        RoutingError: Not a list of messages, no text at all, or unreadable content; the message has the position.
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
        text = _last_user(found, harness)
    elif context == "conversation":
        text = _conversation(found, harness)
    else:
        raise RoutingError(f"context is {context!r}, expected {' or '.join(map(repr, CONTEXTS))} or a function")
    return text or _last_text(found)


def judged_text(prompt: str) -> str:
    """The text that a router judges for a single prompt without a conversation.

    Args:
        prompt: A prompt. Values of other types are returned unchanged, for the router to refuse.

    Returns:
        The canonical form of a bare reply; any other prompt unchanged.

    Example:
        >>> judged_text("Thanks!"), judged_text("What is 2 + 2?")
        ('thanks', 'What is 2 + 2?')
    """
    reply = canonical_reply(prompt) if isinstance(prompt, str) else None
    return prompt if reply is None else reply


def is_new_turn(messages: Sequence[Any], harness: Harness = DEFAULT) -> bool:
    """Whether a conversation ends with words of the user; not within a loop of tools, nor where the assistant's answer was begun.

    Args:
        messages: A list of messages, each as for :func:`prompt_of`.
        harness: Knows the text that agents add.

    Returns:
        Whether a decision is due.

    Raises:
        RoutingError: The last message of the user cannot be read.

    Example:
        >>> ask = {"role": "user", "content": "Fix the test."}
        >>> is_new_turn([ask]), is_new_turn([ask, {"role": "assistant", "content": ""}, {"role": "tool", "content": "1 failed"}])
        (True, False)
        >>> is_new_turn([ask, {"role": "user", "content": [{"type": "tool_result", "content": "1 failed"}]}])
        False
    """
    for index in range(len(messages) - 1, -1, -1):
        if is_user(messages[index]):
            return harness.has_words(texts_of(messages[index], index))
        if role_of(messages[index]) not in _INSTRUCTIONS:
            return False
    return True


def has_answer(messages: Sequence[Any]) -> bool:
    """Whether a conversation contains anything besides messages of the user and instructions.

    Args:
        messages: A list of messages, each as for :func:`prompt_of`.

    Returns:
        ``True`` if the assistant has answered or called a tool.

    Example:
        >>> ask = {"role": "user", "content": "Fix the test."}
        >>> has_answer([{"role": "system", "content": "Be brief."}, ask]), has_answer([ask, {"role": "assistant", "content": "Done."}])
        (False, True)
    """
    return any(not is_user(one) and role_of(one) not in _INSTRUCTIONS for one in messages)


def first_words(messages: Sequence[Any], harness: Harness = DEFAULT) -> str:
    """Text of the user's first message, which identifies a conversation; empty if there is none.

    Args:
        messages: A list of messages, each as for :func:`prompt_of`.
        harness: Knows the text that agents add.

    Returns:
        The text of the first message of the user that has words of its own. Messages that cannot be read are skipped: only what is
        judged must be readable.

    Example:
        >>> first_words([{"role": "user", "content": "Fix the test."}, {"role": "assistant", "content": "Done."}])
        'Fix the test.'
    """
    for index, message in enumerate(messages):
        if not is_user(message):
            continue
        try:
            texts = texts_of(message, index)
        except RoutingError:
            continue
        if texts and (words := harness.words(*texts)):
            return words
    return ""


def _last_user(messages: list[Any], harness: Harness) -> str:
    bare, looked, added = "", 0, ""
    for index in range(len(messages) - 1, -1, -1):
        if not is_user(messages[index]) or (texts := texts_of(messages[index], index)) is None:
            continue
        words = harness.words(*texts)
        if not words and (text := "\n".join(texts)):
            added = added or text
            continue
        reply = canonical_reply(words)
        if reply is None:
            return words
        bare, looked = bare or reply, looked + 1
        if looked == LOOK_BACK:
            break
    return bare or added


def _conversation(messages: list[Any], harness: Harness) -> str:
    said = [texts_of(message, index) for index, message in enumerate(messages) if is_user(message)]
    words = [harness.words(*texts) for texts in said if texts is not None and harness.has_words(texts)]
    replies = [(text, canonical_reply(text)) for text in words]
    full = [text for text, reply in replies if reply is None]
    return "\n\n".join(full) if full else next((reply for _, reply in reversed(replies) if reply), "")


def _last_text(messages: list[Any]) -> str:
    """The last text of any message, if no user message has text."""
    for index in range(len(messages) - 1, -1, -1):
        text = any_text_of(messages[index], index)
        if text.strip():
            return judged_text(text)
    if any(is_user(message) and words_of(message, index) is not None for index, message in enumerate(messages)):
        return ""
    roles = sorted({role_of(message)[:40] for message in messages})
    raise RoutingError(f"messages have no text to route on; found the roles {', '.join(roles)}")


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
