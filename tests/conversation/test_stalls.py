"""Turns that do not get on."""

from __future__ import annotations

import time

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


@pytest.mark.parametrize("step", [chat, messages, responses])
def test_who_takes_over_gets_as_many_steps_before_the_next_stall(step):
    failing, reading = step("run", ERROR), step("read", "x")
    assert [is_stalled([ASK, *count * failing], errors=3) for count in range(1, 8)] == [False, False, True] * 2 + [
        False
    ]
    assert [is_stalled([ASK, *count * reading], steps=2) for count in range(1, 5)] == [False, True, False, True]


@pytest.mark.parametrize("step", [chat, messages, responses])
def test_what_an_agent_asks_after_the_last_step_is_no_stall_again(step):
    stalled = [ASK, *3 * step("run", ERROR)]
    hook = {"role": "user", "content": "Stop hook feedback:\nThe tests fail."}
    assert is_stalled(stalled, errors=3, steps=3)
    stopped = [*stalled, {"role": "assistant", "content": "Done."}, hook]
    assert not is_stalled(stopped, errors=3, steps=3)
    assert not is_stalled([*stopped, *step("run", ERROR)], errors=3, steps=3)
    assert is_stalled([*stopped, *3 * step("run", ERROR)], errors=3, steps=3)


def test_a_step_of_several_calls_may_pass_the_number():
    calls, outputs = zip(*[with_ids(responses("run", ERROR), number) for number in range(6)], strict=True)
    two, three = [ASK, *calls[:2], *outputs[:2]], [*calls[2:5], *outputs[2:5]]
    assert not is_stalled(two, errors=3, steps=3)
    assert is_stalled([*two, *three], errors=3)
    assert is_stalled([*two, *three], steps=3)
    assert not is_stalled([*two, *three, *calls[5:], *outputs[5:]], errors=4, steps=4)


def test_results_of_calls_side_by_side_are_those_of_their_own_calls():
    edit, run = with_ids(responses("edit", "ok"), 1), with_ids(responses("run", ERROR), 2)
    step = [edit[0], run[0], edit[1], run[1]]
    assert is_stalled([ASK, *2 * step], errors=2)
    assert not is_stalled([ASK, *2 * [{**one, "name": "read"} for one in step]], errors=2)


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


@pytest.mark.parametrize(
    "text",
    [
        "0 errors, 0 warnings",
        "test result: ok. 12 passed; 0 failed; 0 ignored",
        "Found no errors.",
        "Tests run: 12, Failures: 0, Errors: 0, Skipped: 0",
        "Exit code: 0\nWall time: 1 seconds\nOutput:\nsrc/error.rs",
        "Chunk ID: 1\nProcess exited with code 0\nOutput:\nraise Exception",
        '{"output": "grep: error", "metadata": {"exit_code": 0, "duration_seconds": 0.1}}',
    ],
)
def test_what_says_that_all_went_well_is_no_error(text):
    steps = 3 * [responses("edit", "ok"), responses("run", text)]
    assert not is_stalled([ASK, *(one for at, step in enumerate(steps) for one in with_ids(step, at))], errors=3)
    assert is_stalled([ASK, *3 * messages("run", text, is_error=True)], errors=3)


@pytest.mark.parametrize(
    "text",
    [
        "10 errors",
        "1 failed; 0 errors",
        "error: 0 is no index",
        "Tests run: 12, Failures: 10, Errors: 0",
        "exit code 1",
        "Error: expected exit code: 0, found 1",
    ],
)
def test_what_says_that_something_failed_is_an_error(text):
    assert is_stalled([ASK, *3 * responses("run", text)], errors=3)


@pytest.mark.parametrize("rules", [{"errors": 3}, {"steps": 3}, {"errors": 3, "steps": 3}])
@pytest.mark.parametrize("text", ["1" * 4000, "Error " + "1" * 4000, "Error: line 12 at 12:30:11 in 1.25s; " * 120])
def test_long_turns_take_no_time_that_keeps_requests_waiting(rules, text):
    reading = [one for number in range(1000) for one in responses("read", f"{number} {text}")]
    began = time.perf_counter()
    is_stalled([ASK, *reading], **rules)
    # Without care: 50 s of the first two, 1 s of the last one.
    assert time.perf_counter() - began < 0.3


def test_a_message_of_the_user_that_cannot_be_read_begins_a_turn():
    unreadable = {"role": "user", "content": [{"type": "unheard-of"}]}
    assert not is_stalled([ASK, *2 * chat("run", ERROR), unreadable, *chat("run", ERROR)], errors=3)
