"""Turns that do not get on."""

from __future__ import annotations

import pytest

from turnout.conversation.stalls import is_stalled

ASK = {"role": "user", "content": "Fix the test."}
ERROR = "Traceback: AssertionError"


def chat(tool, text, is_error=False):
    return [
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": tool}}]},
        {"role": "tool", "content": text},
    ]


def messages(tool, text, is_error=False):
    result = {"type": "tool_result", "content": [{"type": "text", "text": text}], "is_error": is_error}
    reminder = {"type": "text", "text": "<system-reminder>x</system-reminder>"}
    return [
        {"role": "assistant", "content": [{"type": "tool_use", "name": tool}]},
        {"role": "user", "content": [result, reminder]},
    ]


def responses(tool, text, is_error=False):
    return [{"type": "function_call", "name": tool}, {"type": "function_call_output", "output": text}]


@pytest.mark.parametrize("step", [chat, messages, responses])
def test_the_same_error_again_and_again_is_a_stall(step):
    failing = [*step("edit", "ok"), *3 * step("run", ERROR)]
    assert is_stalled([ASK, *failing], errors=3)
    assert not is_stalled([ASK, *failing], errors=4)
    assert not is_stalled([ASK, *failing[:-2]], errors=3)
    assert not is_stalled([ASK, *failing, *step("run", "Error: another")], errors=3)
    assert not is_stalled([ASK, *3 * step("run", "12 lines")], errors=3)
    assert not is_stalled([ASK, *2 * step("run", ERROR), ASK, *step("run", ERROR)], errors=3)


def with_ids(step, number):
    """A step whose call and result have the same id."""
    call, result = step
    name = f"call_{number}"
    if "tool_calls" in call:
        return [{**call, "tool_calls": [{**call["tool_calls"][0], "id": name}]}, {**result, "tool_call_id": name}]
    if "call_id" in result or "type" in result:
        return [{**call, "call_id": name}, {**result, "call_id": name}]
    return [
        {**call, "content": [{**call["content"][0], "id": name}]},
        {**result, "content": [{**result["content"][0], "tool_use_id": name}, *result["content"][1:]]},
    ]


@pytest.mark.parametrize("step", [chat, messages, responses])
def test_tests_that_fail_alike_after_every_change_are_a_stall(step):
    steps = [step("apply_patch", "ok"), step("run", ERROR)] * 3
    working = [one for number, found in enumerate(steps) for one in with_ids(found, number)]
    assert is_stalled([ASK, *working], errors=3)
    assert not is_stalled([ASK, *working], errors=4)
    # The last change has not been tried.
    assert not is_stalled([ASK, *working[:-2]], errors=3)
    reading = [
        one
        for number, found in enumerate([step("read", "x"), step("run", ERROR)] * 3)
        for one in with_ids(found, number)
    ]
    assert not is_stalled([ASK, *reading], errors=3)
    refused = [one for number in range(3) for one in with_ids(step("edit", "Error: text not found"), number)]
    assert is_stalled([ASK, *refused], errors=3)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("1 failed in 0.12s", "1 failed in 3.40s", True),
        ("Exit code: 1\nWall time: 1 seconds", "Exit code: 1\nWall time: 12 seconds", True),
        ("12:01:07 fatal: 0x7f3a", "12:03:59 fatal: 0xffff", True),
        ("Process exited with code 2 after 80 ms", "Process exited with code 2 after 95 ms", True),
        ("1 failed", "2 failed", False),
        ("a.py:3: error", "a.py:4: error", False),
    ],
)
def test_errors_are_compared_without_what_every_run_changes(first, second, same):
    assert is_stalled([ASK, *responses("run", first), *responses("run", second)], errors=2) is same


@pytest.mark.parametrize("tool", ["TodoWrite", "TaskCreate", "write_stdin", "create_plan", "git_diff"])
def test_lists_of_things_to_do_change_nothing(tool):
    assert is_stalled([ASK, *5 * responses(tool, "ok")], steps=5)


def test_a_patch_changes_something_whatever_its_tool_is_called():
    assert not is_stalled([ASK, *5 * responses("apply_diff", "ok")], steps=5)
    patch = {
        "type": "function_call",
        "name": "shell",
        "arguments": '{"command": ["apply_patch", "*** Begin Patch\\n"]}',
    }
    assert not is_stalled([ASK, *4 * responses("read", "x"), patch], steps=5)
    assert is_stalled([ASK, *5 * [{**patch, "arguments": "{}"}]], steps=5)


@pytest.mark.parametrize("odd", [[], {}, 1, None])
def test_ids_that_are_none_are_left_out(odd):
    call = {"type": "function_call", "name": "edit", "call_id": odd}
    assert is_stalled([ASK, *3 * [call, {"type": "function_call_output", "call_id": odd, "output": ERROR}]], errors=3)


def test_a_result_that_is_marked_as_an_error_is_one_whatever_it_says():
    assert is_stalled([ASK, *2 * messages("run", "x", is_error=True)], errors=2)
    assert not is_stalled([ASK, *2 * messages("run", "x")], errors=2)


@pytest.mark.parametrize("step", [chat, messages, responses])
def test_many_steps_without_a_change_are_a_stall(step):
    reading = [one for number in range(5) for one in step("read_file", f"part {number}")]
    assert is_stalled([ASK, *reading], steps=5)
    assert not is_stalled([ASK, *reading], steps=6)
    assert not is_stalled([ASK, *step("read", "x"), ASK, *reading[2:]], steps=5)
    assert not is_stalled([ASK, *reading, *step("str_replace", "ok")], steps=5)
    assert not is_stalled([ASK, *reading, *step("str_replace", "ok"), *reading[2:]], steps=5)
    assert is_stalled([ASK, *step("str_replace", "ok"), *reading], steps=5)


def test_without_rules_and_without_steps_nothing_stalls():
    assert not is_stalled([ASK, *9 * chat("run", ERROR)])
    assert not is_stalled([ASK], errors=1, steps=1)


@pytest.mark.parametrize("calls", [1, True, "x", {"function": 1}, [1, None]])
def test_calls_that_are_none_are_left_out(calls):
    odd = [{"role": "assistant", "tool_calls": calls}, {"role": "tool", "content": ERROR}]
    assert is_stalled([ASK, *3 * odd], errors=3, steps=9)


def test_a_message_of_the_user_that_cannot_be_read_begins_a_turn():
    unreadable = {"role": "user", "content": [{"type": "unheard-of"}]}
    assert not is_stalled([ASK, *2 * chat("run", ERROR), unreadable, *chat("run", ERROR)], errors=3)
