"""Decisions alone for bodies of every dialect: ``POST /v1/route`` with ``requests``."""

from __future__ import annotations

import json

import pytest
from scripted_upstream import wait_until
from tests.serve.dialects import SPOKEN, speak

from turnout.evaluate.traffic.traffic import join
from turnout.outcomes import Outcome

TEXTS = [
    "Hello!",
    "Prove that there are infinitely many primes.",
    "2 + 2?",
    "Write a haiku about rust, then explain it.",
]


@pytest.fixture
def server(start, upstream, tables):
    """Both models speak every dialect."""
    upstream.default = speak
    for model in tables["models"].values():
        model["dialects"] = list(SPOKEN)
    return start()


def batch(server, requests, dialect="chat", **headers):
    answer = server.post({"requests": requests, "dialect": dialect}, "/v1/route", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["decisions"]


@pytest.mark.parametrize("name", SPOKEN)
def test_decisions_are_those_of_the_endpoint_of_the_dialect(server, upstream, name):
    spoken = SPOKEN[name]
    bodies = [
        spoken.body(model, **{spoken.conversation: [{"role": "user", "content": text}]})
        for text in TEXTS
        for model in ("router-mf-0.5", "small")
    ]
    told = batch(server, bodies, name)
    assert upstream.requests == []
    answered = [server.post(body, spoken.path).headers for body in bodies]
    assert [one["model"] for one in told] == [one["x-turnout-model"] for one in answered]
    for one, headers in zip(told, answered, strict=True):
        assert one.get("win_rate") == (float(headers["x-turnout-win-rate"]) if "win_rate" in one else None)
    assert [one["model"] for one in told[1::2]] == ["small"] * len(TEXTS)


def test_the_report_grades_decisions_that_a_gateway_followed(start, upstream, tables, tmp_path):
    server = start(log={"path": str(tmp_path / "log.jsonl")}, changes={"watch": ["outcomes"]})
    decided = batch(server, [SPOKEN["chat"].body("router-mf-0.5")] * 3)
    wait_until(lambda: (tmp_path / "log.jsonl").read_text().count("\n") == 3)
    receipts = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert {(one["by"], one["served"]) for one in receipts} == {("gateway", None)}
    traffic = join(receipts, [Outcome(one["request_id"], "passed", 1.0) for one in decided], {})
    assert (traffic.served.tolist(), traffic.grades["passed"].tolist()) == (
        [one["model"] for one in decided],
        [1.0] * 3,
    )
    assert set(server.state.changes._answers) == {one["request_id"] for one in decided}


def test_errors_are_told_row_by_row(server):
    good = SPOKEN["chat"].body("router-mf-0.0")
    rows = [good, 3, {}, {**good, "model": "nope"}, {**good, "messages": []}, {**good, "model": "router-mf-9"}, good]
    told = batch(server, rows)
    assert [one.get("status") for one in told] == [None, 400, 400, 404, 400, 400, None]
    assert [one["model"] for one in told] == ["big", None, None, None, None, None, "big"]
    assert told[3]["error"]["code"] == "model_not_found"
    assert server.metric("turnout_errors_total", code="model_not_found") == 1


@pytest.mark.parametrize("depth", [300, 900])
def test_a_request_that_is_nested_deeply_is_decided_as_by_its_endpoint(server, depth):
    nested = b"[" * depth + b"]" * depth
    good = b'{"model": "router-mf-0.0", "messages": [{"role": "user", "content": "Hi"}]}'
    rows = [good, good[:-1] + b', "metadata": %b}' % nested, b'{"model": "router-mf-0.0", "messages": %b}' % nested]
    found = server.post(b'{"requests": [%b]}' % b",".join(rows), "/v1/route")
    assert found.status_code == 200, found.text
    told = found.json()["decisions"]
    assert [one.get("status", 200) for one in told] == [server.post(row).status_code for row in rows] == [200, 200, 400]
    assert [one["model"] for one in told] == ["big", "big", None]


def test_a_decision_names_the_model_at_its_upstream_and_who_may_stand_in(start, tables):
    tables["models"]["big"] |= {"name": "provider/big-2", "capabilities": []}
    tools = SPOKEN["chat"].body("router-mf-0.0", tools=[{"type": "function", "function": {"name": "f"}}])
    plain, pinned = batch(start(), [SPOKEN["chat"].body("router-mf-0.0"), tools])
    assert (plain["model"], plain["upstream_model"], plain["fallbacks"]) == ("big", "provider/big-2", ["small"])
    assert (pinned["model"], pinned["fallbacks"], pinned["pinned_for"]) == ("small", [], ["tools"])


def test_decisions_are_logged_under_their_own_ids(start, tmp_path):
    path = tmp_path / "log.jsonl"
    server = start(log={"path": str(path)})
    told = batch(server, [SPOKEN["chat"].body("router-mf-0.0")] * 2, **{"x-request-id": "r1"})
    assert [one["request_id"] for one in told] == ["r1-0", "r1-1"]
    wait_until(lambda: path.exists() and path.read_text().count("\n") == 2)
    receipts = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(one["request_id"], one["model"], one["served"]) for one in receipts] == [
        ("r1-0", "big", None),
        ("r1-1", "big", None),
    ]


def test_the_steps_of_an_agent_stay_with_the_model_that_began_their_turn(alternating):
    server = alternating()
    call = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    turn = [{"role": "user", "content": "Fix the bug."}]
    step = [*turn, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "x"}]
    told = [
        batch(server, [{"model": "router-alternating-0.5", "messages": messages}], **{"x-session-id": "s"})[0]
        for messages in (turn, step, turn)
    ]
    assert [(one["model"], one["rule"]) for one in told] == [("big", ""), ("big", "turn"), ("small", "")]


def test_a_long_batch_is_answered_in_order(server):
    bodies = [SPOKEN["chat"].body(f"router-mf-{float(number % 2)}") for number in range(300)]
    told = batch(server, bodies)
    assert [one["model"] for one in told] == ["big", "small"] * 150


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"requests": {}}, "requests is of type dict, expected an array"),
        ({"requests": [], "dialect": "gemini"}, "dialect is 'gemini', expected one of chat, messages, responses"),
        ({"requests": [], "dialect": 3}, "dialect is '3'"),
        ({"requests": [], "model": "router-mf-0.5"}, "'model' beside requests"),
        ({"requests": [0] * 10_001}, "10001 entries, expected at most 10000"),
    ],
)
def test_a_malformed_batch_is_refused(server, body, words):
    answer = server.post(body, "/v1/route")
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
