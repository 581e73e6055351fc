"""Turns that do not get on: the same error again and again, or many steps without a change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from turnout.conversation.harness import DEFAULT, Harness
from turnout.conversation.messages import any_text_of, content_of, field, is_user, listed, parts_of, role_of, texts_of
from turnout.errors import RoutingError

#: Results of tools that are errors, where the dialect does not mark them. "0 errors" and "Errors: 0" are none.
_ERROR = re.compile(
    r"\b(?<!\b0 )(?<!\bno )"
    r"(error|exception|traceback|failed|failure|fatal|not found|no such|denied|exit(?:ed with)?[ _]code\W{0,3}[1-9])(?!s: 0\b)",
    re.IGNORECASE,
)
#: What a process returned that did what it was asked for, whatever it printed (Codex).
_SUCCESS = re.compile(r'^(?:process )?exit(?:ed with)? code:? 0$|"exit_code": ?0\b', re.IGNORECASE | re.MULTILINE)
#: What differs between two runs that fail alike: durations, times of day, addresses. Long numbers are read once.
_VARYING = re.compile(r"0x[0-9a-f]+|(?<!\d)\d+\.\d+|\d\d:\d\d(?::\d\d)?|\b\d+ ?(?:ms|s|seconds?)\b", re.IGNORECASE)
#: Tools that change something, and those of such names that do not: lists of things to do, the input of a process.
_EDIT = re.compile(r"edit|write|patch|diff|replace|create|insert|delete|move|rename", re.IGNORECASE)
_NO_EDIT = re.compile(r"todo|task|plan|stdin|(?:^|_)(?:git|show|view|get)_?diff", re.IGNORECASE)
#: A change that goes through a shell (Codex).
_PATCH = "*** Begin Patch"
#: Of a result that is compared and searched.
_CHARACTERS = 4000


def is_stalled(messages: Any, errors: int = 0, steps: int = 0, harness: Harness = DEFAULT) -> bool:
    """Whether the last step shows that a turn does not get on. The model that takes over gets the same number of steps before the next stall.

    Args:
        messages: As for :func:`turnout.conversation.prompt_of`.
        errors: The last so many results of tools, or a multiple, but for changes that were made, are the same error; 0 for no such rule.
        steps: The last so many calls of tools, or a multiple, changed nothing, by their names; 0 for no such rule.
        harness: Knows the text that agents add.

    Returns:
        Whether one of the rules holds since the last words of the user. One step may have several results and calls.

    Raises:
        RoutingError: ``messages`` is not a list of messages.

    Example:
        >>> call = {"role": "assistant", "tool_calls": [{"function": {"name": "run"}}]}
        >>> step = [call, {"role": "tool", "content": "Error: no disk"}]
        >>> [is_stalled([{"role": "user", "content": "Fix it."}] + step * count, errors=3) for count in (2, 3, 4, 6)]
        [False, True, False, True]
    """
    same, idle, has_changed, is_step = _SameError(), 0, False, False
    # Results and calls of the last step.
    last: tuple[int, int] | None = None
    found = listed(messages)
    for index in range(len(found) - 1, -1, -1):
        message = found[index]
        if is_user(message) and _has_words(message, index, harness):
            break
        results, calls = list(_results(message, index)), list(_calls(message))
        is_step = is_step or bool(results or calls)
        if not is_step and role_of(message) == "assistant":
            # What an agent asks after an answer, such as a recap: the stall, if it was one, was dealt with.
            return False
        for result in results:
            if last is None and (idle or has_changed):
                last = same.count, idle
            # Reading them takes most of the time.
            if errors and not same.is_over:
                same.returned(result)
        for call in calls:
            same.called(call)
            has_changed = has_changed or call.is_change
            idle += not has_changed
        if (not errors or same.is_over) and (not steps or has_changed):
            break
    of_errors, of_calls = last or (same.count, idle)
    return _completes(same.count, of_errors, errors) or _completes(idle, of_calls, steps)


class _SameError:
    """How many results, from the last one back, are the same error.

    Tests fail, the agent changes something, and they fail again: the results of such changes do not count, unless they are the same error.
    """

    def __init__(self) -> None:
        self._text: str | None = None
        self._alike = 0
        #: Of results that differ, by their call, which was made before: how many were alike after them.
        self._differing: dict[str, int] = {}
        self._limit: int | None = None

    @property
    def count(self) -> int:
        """So many, if all results that differ are those of other calls than changes."""
        return min([self._alike, *self._differing.values(), *([] if self._limit is None else [self._limit])])

    @property
    def is_over(self) -> bool:
        """Whether results before do not count."""
        return self._limit is not None

    def returned(self, result: _Result) -> None:
        """Counts a result; the last one is the first to be counted."""
        text = _VARYING.sub("0", result.text)
        if self._text is None:
            self._text = text
            self._limit = None if result.is_error() else 0
        if text == self._text:
            self._alike += 1
        elif result.call:
            self._differing.setdefault(result.call, self._alike)
        elif self._limit is None:
            self._limit = self._alike

    def called(self, call: _Call) -> None:
        """Settles what the result of a call counts."""
        alike = self._differing.pop(call.id, None)
        if alike is not None and not call.is_change:
            self._limit = alike if self._limit is None else min(self._limit, alike)


def _completes(count: int, of_last: int, due: int) -> bool:
    """Whether the last step brings a count to a multiple of what is due, or beyond it."""
    return due > 0 and count // due > max(count - of_last, 0) // due


class _Result(NamedTuple):
    """What a tool returned."""

    #: Id of the call; empty for none.
    call: str
    text: str
    #: Whether the dialect says that it is an error.
    is_marked: bool

    def is_error(self) -> bool:
        """Whether it is marked as an error or says so."""
        return self.is_marked or (_ERROR.search(self.text) is not None and _SUCCESS.search(self.text) is None)


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
    return _Result(call if isinstance(call, str) else "", text, is_marked)


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
