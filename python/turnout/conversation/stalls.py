"""Turns that do not get on: the same error again and again, or many steps without a change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from turnout.conversation.harness import DEFAULT, Harness
from turnout.conversation.messages import any_text_of, content_of, field, is_user, listed, parts_of, role_of, texts_of
from turnout.errors import RoutingError

#: Results of tools that are errors, where the dialect does not mark them.
_ERROR = re.compile(
    r"\b(error|exception|traceback|failed|failure|fatal|not found|no such|denied|exit(?:ed with)?[ _]code\W{0,3}[1-9])",
    re.IGNORECASE,
)
#: What differs between two runs that fail alike: durations, times of day, addresses.
_VARYING = re.compile(r"0x[0-9a-f]+|\d+\.\d+|\d\d:\d\d(?::\d\d)?|\b\d+ ?(?:ms|s|seconds?)\b", re.IGNORECASE)
#: Tools that change something, and those of such names that do not: lists of things to do, the input of a process.
_EDIT = re.compile(r"edit|write|patch|diff|replace|create|insert|delete|move|rename", re.IGNORECASE)
_NO_EDIT = re.compile(r"todo|task|plan|stdin|(?:^|_)(?:git|show|view|get)_?diff", re.IGNORECASE)
#: A change that goes through a shell (Codex).
_PATCH = "*** Begin Patch"
#: Of a result that is compared and searched.
_CHARACTERS = 4000


def is_stalled(messages: Any, errors: int = 0, steps: int = 0, harness: Harness = DEFAULT) -> bool:
    """Whether the steps since the last words of the user do not get on.

    Args:
        messages: As for :func:`turnout.conversation.prompt_of`.
        errors: The last so many results of tools, but for changes that were made, are the same error; 0 for no such rule.
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
    results: list[_Result] = []
    calls: list[_Call] = []
    changes: set[str] = set()
    found = listed(messages)
    for index in range(len(found) - 1, -1, -1):
        message = found[index]
        if is_user(message) and _has_words(message, index, harness):
            break
        results.extend(_results(message, index))
        if called := list(_calls(message)):
            calls.extend(called)
            changes.update(one.id for one in called if one.is_change and one.id)
            # Tests fail, the agent changes something, and they fail again: what is between the failures does not count.
            results = [one for one in results if one.call not in changes or one.text == results[0].text]
            if (not errors or len(results) >= errors) and (not steps or len(calls) >= steps):
                break
    last = results[:errors]
    if errors and len(last) == errors and last[0].is_error and len({one.text for one in last}) == 1:
        return True
    return bool(steps) and len(calls) >= steps and not any(one.is_change for one in calls[:steps])


class _Result(NamedTuple):
    """What a tool returned."""

    #: Id of the call; empty for none.
    call: str
    #: Without what differs between two runs.
    text: str
    is_error: bool


class _Call(NamedTuple):
    """A call of a tool."""

    #: Empty for none.
    id: str
    is_change: bool


def _has_words(message: Any, index: int, harness: Harness) -> bool:
    """Whether a message of the user has words of the user; one that cannot be read counts as such."""
    try:
        return harness.has_words(texts_of(message, index))
    except RoutingError:
        return True


def _results(message: Any, index: int) -> Iterator[_Result]:
    """A message's results of tools, the last one first."""
    if role_of(message) in ("tool", "function", "function_call_output", "custom_tool_call_output"):
        call = field(message, "tool_call_id") or field(message, "call_id")
        yield _returned(call, _text(message, index), field(message, "status") == "error")
        return
    for part in reversed(parts_of(message)):
        if field(part, "type") == "tool_result":
            yield _returned(field(part, "tool_use_id"), _text(part, index), field(part, "is_error") is True)


def _returned(call: Any, text: str, is_marked: bool) -> _Result:
    return _Result(
        call if isinstance(call, str) else "", _VARYING.sub("0", text), is_marked or _ERROR.search(text) is not None
    )


def _text(message: Any, index: int) -> str:
    content = content_of(message)
    try:
        text = content if isinstance(content, str) else any_text_of(message, index)
    except RoutingError:  # An image, or a kind of part that is not known.
        text = ""
    return text[:_CHARACTERS].strip()


def _calls(message: Any) -> Iterator[_Call]:
    """The tools that a message calls, the last one first."""
    if role_of(message) in ("function_call", "custom_tool_call"):
        yield _called(field(message, "call_id"), message)
    calls = field(message, "tool_calls")
    for call in reversed(calls if isinstance(calls, list | tuple) else ()):
        yield _called(field(call, "id"), field(call, "function") or call)
    for part in reversed(parts_of(message)):
        if field(part, "type") == "tool_use":
            yield _called(field(part, "id"), part)


def _called(call: Any, tool: Any) -> _Call:
    name, arguments = str(field(tool, "name")), field(tool, "arguments")
    is_patch = isinstance(arguments, str) and _PATCH in arguments
    is_change = is_patch or (_EDIT.search(name) is not None and _NO_EDIT.search(name) is None)
    return _Call(call if isinstance(call, str) else "", is_change)
