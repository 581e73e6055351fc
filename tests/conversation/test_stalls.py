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
