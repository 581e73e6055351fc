"""The adapter for TwinRouterBench's static format."""

from __future__ import annotations

import json

import pytest
from twin_router_bench import TIERS, measure, rates, read, tiers


def row(instance, step, tier, messages, benchmark="swebench"):
    """A line as the question bank has it."""
    found = {"id": f"{instance}-{step}", "benchmark": benchmark, "benchmark_version": "v1", "instance_id": instance}
    more = {"step_index": step, "total_steps": 3, "messages": messages, "functions": []}
    return json.dumps({**found, **more, "target_tier": tier, "target_tier_id": TIERS.index(tier)})


SYSTEM = {"role": "system", "content": "You are an agent."}
TASK = {"role": "user", "content": "Prove that the square root of 2 is irrational."}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "run", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "Traceback"}
EASY = {"role": "user", "content": "List three colors."}


@pytest.fixture
def rows(tmp_path):
    """A loop of three steps, and two trajectories of one; in the file in another order."""
    lines = [
        row("a", 2, "high", [SYSTEM, TASK, CALL, RESULT]),
        row("a", 1, "mid", [SYSTEM, TASK]),
        row("a", 3, "low", [SYSTEM, TASK, CALL, RESULT, CALL, RESULT]),
        "",
        row("b", 1, "low", [EASY], "qmsum"),
        row("c", 1, "mid_high", [EASY], "mtrag"),
    ]
    path = tmp_path / "question_bank.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return read(path)


def test_rows_are_read_in_the_order_of_their_steps(rows):
    assert [(one.trajectory, one.step) for one in rows] == [("c", 1), ("b", 1), ("a", 1), ("a", 2), ("a", 3)]
    assert [one.target for one in rows] == [2, 0, 1, 3, 0]
    assert [one.begins_turn for one in rows] == [True, True, True, False, False]
    assert {one.prompt for one in rows[2:]} == {TASK["content"]}


def test_the_steps_of_a_loop_are_one_decision(rows):
    strong = {TASK["content"]: True, EASY["content"]: False}
    assert tiers(rows, strong, 0) == [0, 0, 3, 3, 3]
    assert tiers(rows, {TASK["content"]: False, EASY["content"]: True}, 1) == [3, 3, 1, 1, 1]


def test_rates_are_those_of_the_benchmark(rows):
    found = rates(rows, [0, 0, 3, 3, 3])
    # c is too low; of the others b and one step of a are exact.
    assert (found["pass"], found["exact"], found["trajectory_pass"]) == (0.8, 0.4, 0.667)
    assert (found["strong_share"], found["switches_within_turns"]) == (0.6, 0)
    assert rates(rows, [0, 0, 3, 0, 0])["switches_within_turns"] == 1
    assert rates(rows, [0, 0, 1, 1, 1])["trajectory_pass"] == 0.333


def test_a_router_is_measured_beside_its_models(rows):
    found = measure(rows, "mf", [0.5], 0)
    assert found["always strong"]["pass"] == found["always strong"]["trajectory_pass"] == 1.0
    assert found["always weak"]["pass"] == 0.4
    assert found["mf, 0.5 of the prompts"]["strong_share"] == 0.6


@pytest.mark.parametrize(
    "line", ["{}", "no", "[]", row("a", 1, "mid", []), row("a", 1, "mid", [EASY]).replace("mid", "top")]
)
def test_a_line_of_another_format_is_an_error_with_its_number(tmp_path, line):
    path = tmp_path / "question_bank.jsonl"
    path.write_text(row("a", 1, "low", [EASY]) + "\n" + line, encoding="utf-8")
    with pytest.raises(ValueError, match="line 2"):
        read(path)
