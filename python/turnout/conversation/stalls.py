"""Turns that do not get on: the same error again and again, or many steps without a change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from turnout.conversation.harness import DEFAULT, Harness
from turnout.conversation.messages import any_text_of, content_of, field, is_user, listed, parts_of, role_of, words_of
from turnout.errors import RoutingError

#: Results of tools that are errors, where the dialect does not mark them.
_ERROR = re.compile(
    r"\b(error|exception|traceback|failed|failure|fatal|not found|no such|denied|exit code:? [1-9])", re.IGNORECASE
)
#: Tools that change something.
_EDIT = re.compile(r"edit|write|patch|replace|create|insert|delete|move|rename", re.IGNORECASE)
#: Of a result that is compared and searched.
_CHARACTERS = 4000


def is_stalled(messages: Any, errors: int = 0, steps: int = 0, harness: Harness = DEFAULT) -> bool:
    """Whether the steps since the last words of the user do not get on.

    Args:
        messages: As for :func:`turnout.conversation.prompt_of`.
        errors: The last so many results of tools are the same error; 0 for no such rule.
        steps: The last so many calls of tools changed nothing, by their names; 0 for no such rule.
        harness: Knows the text that agents add.

    Returns:
        Whether one of the rules holds.

    Raises:
        RoutingError: ``messages`` is not a list of messages.

    Example:
        >>> call = {"role": "assistant", "tool_calls": [{"function": {"name": "run"}}]}
        >>> is_stalled([{"role": "user", "content": "Fix it."}] + [call, {"role": "tool", "content": "Error: no disk"}] * 3, errors=3)
        True
    """
    results: list[tuple[str, bool]] = []
    calls: list[str] = []
    found = listed(messages)
    for index in range(len(found) - 1, -1, -1):
        message = found[index]
        if is_user(message) and _has_words(message, index, harness):
            break
        results.extend(_results(message, index))
        calls.extend(_calls(message))
        if (not errors or len(results) >= errors) and (not steps or len(calls) >= steps):
            break
    if errors and len(results) >= errors:
        last = results[:errors]
        if len({text for text, _ in last}) == 1 and (last[0][1] or _ERROR.search(last[0][0])):
            return True
    return bool(steps) and len(calls) >= steps and not any(_EDIT.search(name) for name in calls[:steps])


def _has_words(message: Any, index: int, harness: Harness) -> bool:
    """Whether a message of the user has words of the user; one that cannot be read counts as such."""
    try:
        text = words_of(message, index)
    except RoutingError:
        return True
    return text is not None and (not text or bool(harness.words(text)))


def _results(message: Any, index: int) -> Iterator[tuple[str, bool]]:
    """Texts of a message's results of tools, the last one first, and whether they are marked as errors."""
    if role_of(message) in ("tool", "function", "function_call_output"):
        yield _text(message, index), field(message, "status") == "error"
        return
    for part in reversed(parts_of(message)):
        if field(part, "type") == "tool_result":
            yield _text(part, index), field(part, "is_error") is True


def _text(message: Any, index: int) -> str:
    content = content_of(message)
    try:
        text = content if isinstance(content, str) else any_text_of(message, index)
    except RoutingError:  # An image, or a kind of part that is not known.
        text = ""
    return text[:_CHARACTERS].strip()


def _calls(message: Any) -> Iterator[str]:
    """Names of the tools that a message calls, the last one first."""
    if role_of(message) in ("function_call", "custom_tool_call"):
        yield str(field(message, "name"))
    calls = field(message, "tool_calls")
    for call in reversed(calls if isinstance(calls, list | tuple) else ()):
        yield str(field(field(call, "function") or call, "name"))
    for part in reversed(parts_of(message)):
        if field(part, "type") == "tool_use":
            yield str(field(part, "name"))
