"""Transcripts of agents through the server: a decision a turn, and no other model within one."""

from __future__ import annotations

import json
import re
from collections import defaultdict

import httpx
import pytest
from agent_transcripts import transcript
from tests.serve.dialects import SPOKEN


@pytest.fixture
def replaying(alternating):
    """A server whose router alternates, with settings of `[agents]`."""
    return lambda **agents: alternating(first=0.0, agents=agents)


def replay(server, name, number):
    """The models that answered, turn by turn."""
    found = defaultdict(list)
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for request in transcript(name, number, "router-alternating-0.5"):
            answer = client.post(SPOKEN[name].path, json=request.body)
            assert answer.status_code == 200, answer.text
            found[request.turn].append(answer.headers["x-turnout-model"])
    return found


@pytest.mark.parametrize("name", list(SPOKEN))
def test_each_turn_of_a_transcript_is_one_decision_and_has_one_model(replaying, name):
    server = replaying()
    turns = 0
    # All twelve take a minute in each dialect.
    for number in (0, 5, 10):
        for models in replay(server, name, number).values():
            turns += 1
            assert len(set(models)) == 1, (number, models)
    assert turns == 6
    assert server.state.recent.count == turns


@pytest.mark.parametrize("name", list(SPOKEN))
def test_a_turn_whose_tool_fails_again_and_again_goes_to_the_strong_model(replaying, name):
    server = replaying(escalate_after_errors=3)
    models = replay(server, name, 4)[0]
    at = models.index("big")
    assert set(models[:at]) == {"small"}
    assert set(models[at:]) == {"big"}
    assert server.metric("turnout_undecided_total", rule="stall") == 1


@pytest.mark.parametrize("name", list(SPOKEN))
def test_a_turn_that_changes_nothing_for_long_goes_to_the_strong_model(replaying, name):
    steps = [json.dumps(one.body) for one in transcript(name, 6, "router-alternating-0.5") if one.turn == 0]
    calls = [re.findall(r'"name": "([a-z_]+)"', step) for step in steps]
    due = next(at for at, found in enumerate(calls) if len(found) >= 6 and "edit_file" not in found[-6:])
    server = replaying(escalate_after_steps=6)
    models = replay(server, name, 6)[0]
    assert (set(models[:due]), set(models[due:])) == ({"small"}, {"big"})
    assert server.metric("turnout_undecided_total", rule="stall") >= 1
