"""The model of a conversation changes at a new turn only if that is worth the cache that is lost."""

from __future__ import annotations

import json
import time

import pytest
from tests.serve.dialects import SPOKEN, named
from tests.serve.test_sessions import loop

from turnout.serve.sessions.cached import Cached
from turnout.serve.sessions.store import MemoryStore

#: 100,000 cached tokens are worth 0.45 at the strong model. A decision of this router is 0.5 from the threshold.
PRICES = {"input_price": 5.0, "cached_input_price": 0.5, "output_price": 0.0}
USAGE = {
    "chat": {"prompt_tokens": 110_000, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 100_000}},
    "messages": {
        "input_tokens": 10_000,
        "output_tokens": 9,
        "cache_read_input_tokens": 60_000,
        "cache_creation_input_tokens": 40_000,
    },
    "responses": {"input_tokens": 110_000, "output_tokens": 9, "input_tokens_details": {"cached_tokens": 100_000}},
}


def saying(usage):
    """An upstream that says how much of the input was cached."""

    async def script(exchange):
        spoken = next(one for one in SPOKEN.values() if exchange.target.endswith(one.path))
        model, said = exchange.json["model"], usage[spoken.name]
        if not exchange.json.get("stream"):
            await exchange.whole(200, json.dumps({**json.loads(spoken.whole(model, "yes")), "usage": said}).encode())
            return
        events = spoken.stream(model, ("yes",))
        if spoken.name == "chat":
            last = {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": said}
            events.insert(-1, b"data: " + json.dumps(last).encode() + b"\n\n")
        elif spoken.name == "messages":
            head = {**json.loads(spoken.whole(model, "")), "content": [], "usage": said}
            events[0] = named("message_start", message=head)
        else:
            events[-1] = named("response.completed", response={**json.loads(spoken.whole(model, "yes")), "usage": said})
        await exchange.begin_stream()
        for one in events:
            await exchange.chunk(one)
        await exchange.chunk(b"")

    return script


@pytest.fixture
def begin(alternating, tables, upstream):
    """Starts a server with settings of `[switching]`; decisions are strong, weak, strong, ..."""

    def begin(usage=USAGE, **settings):
        for model in tables["models"].values():
            model.update(PRICES)
        server = alternating(switching=settings)
        upstream.default = saying(usage)
        return server

    return begin


def ask(server, spoken, turns, steps=0, **fields):
    """The rule and the model of a step of a turn of one conversation."""
    body = spoken.body("router-alternating-0.5", **fields)
    talk = [{"role": "user", "content": "Fix the test."}]
    for turn in range(turns):
        talk += [{"role": "assistant", "content": "Done."}, {"role": "user", "content": f"Now part {turn}."}]
    body[spoken.conversation] = talk + loop(spoken, "", steps)[1:]
    answer = server.post(body, spoken.path)
    assert answer.status_code == 200, answer.text
    return answer.headers.get("x-turnout-rule", ""), answer.headers["x-turnout-model"]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", list(SPOKEN))
def test_a_change_must_be_worth_the_cache_in_every_dialect(begin, name, is_stream):
    spoken = SPOKEN[name]
    # 0.8 * 0.5 < 0.45 < 1.0 * 0.5
    stays, changes = begin(error_cost=0.8), begin(error_cost=1.0)
    assert [ask(stays, spoken, turn, stream=is_stream) for turn in (0, 1)] == [("", "big"), ("cache", "big")]
    assert [ask(changes, spoken, turn, stream=is_stream) for turn in (0, 1)] == [("", "big"), ("", "small")]


def test_openai_caches_the_prompt_of_an_answer_that_read_nothing_from_the_cache(begin):
    usage = {"prompt_tokens": 110_000, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}}
    server = begin({"chat": usage}, error_cost=0.8)
    assert [ask(server, SPOKEN["chat"], turn) for turn in (0, 1)] == [("", "big"), ("cache", "big")]


def test_what_a_session_knows_is_one_call_of_the_store(begin, monkeypatch):
    calls, get = [], MemoryStore.get

    async def counting(store, keys):
        calls.append(len(keys))
        return await get(store, keys)

    monkeypatch.setattr(MemoryStore, "get", counting)
    server = begin(error_cost=0.8)
    for turn, steps in ((0, 0), (0, 1), (1, 0)):
        ask(server, SPOKEN["chat"], turn, steps, prompt_cache_key="a")
    assert calls == [1, 3, 1]


def test_the_hand_over_counts(begin):
    server = begin(error_cost=1.0, hand_over_cost=0.06)
    assert [ask(server, SPOKEN["chat"], turn)[1] for turn in (0, 1)] == ["big", "big"]


def test_without_a_cost_of_errors_each_turn_is_as_decided(begin):
    server = begin()
    assert [ask(server, SPOKEN["chat"], turn) for turn in (0, 1, 2)] == [("", "big"), ("", "small"), ("", "big")]


def test_a_cache_that_was_never_told_of_or_is_forgotten_is_worth_nothing(begin):
    silent = begin({"chat": {"prompt_tokens": 110_000, "completion_tokens": 9}}, error_cost=0.1)
    assert [ask(silent, SPOKEN["chat"], turn)[1] for turn in (0, 1)] == ["big", "small"]
    forgotten = begin(error_cost=0.1, cache_s=0.05)
    assert ask(forgotten, SPOKEN["chat"], 0)[1] == "big"
    time.sleep(0.1)
    assert ask(forgotten, SPOKEN["chat"], 1)[1] == "small"


def test_within_a_loop_of_tools_nothing_changes_and_the_decision_stays_in_the_receipt(begin):
    server = begin(error_cost=0.8)
    spoken = SPOKEN["messages"]
    assert ask(server, spoken, 0) == ("", "big")
    assert ask(server, spoken, 1) == ("cache", "big")
    assert {ask(server, spoken, 1, steps) for steps in (1, 2, 3)} == {("turn", "big")}
    first, second = (decided.receipt for decided in server.state.recent.since(0, 10))
    assert (second["model"], second["served"], second["is_strong"]) == ("small", "big", False)
    assert (first["cached_tokens"], first["written_tokens"], first["input_tokens"]) == (60_000, 40_000, 110_000)
    # Per million: 10,000 at 5, 60,000 that were read from the cache at 0.5, and 40,000 that were written to it at 6.25.
    assert first["cost"] == pytest.approx(0.33)
    assert server.metric("turnout_undecided_total", rule="cache") == 1


def test_two_conversations_have_two_caches(begin):
    server = begin(error_cost=0.8)
    spoken = SPOKEN["chat"]
    assert ask(server, spoken, 0, prompt_cache_key="a") == ("", "big")
    assert ask(server, spoken, 1, prompt_cache_key="b") == ("", "small")


def test_two_agents_of_one_session_have_two_caches(begin):
    server = begin(error_cost=0.8)

    def say(*said):
        turns = [{"role": "user", "content": text} for text in said]
        talk = [one for turn in turns for one in (turn, {"role": "assistant", "content": "Done."})][:-1]
        body = {"model": "router-alternating-0.5", "messages": talk}
        return server.post(body, headers={"x-session-id": "s"}).headers["x-turnout-model"]

    assert [say("Fix the test."), say("Search the docs.")] == ["big", "small"]
    # The router would go on with these.
    assert [say("Rest."), say("Fix the test.", "Now the docs.")] == ["big", "big"]


@pytest.mark.parametrize("text", [None, "", "null", "[]", '["a", 1]', '["a", true, 1]', '{"a": 1}', "[1, 2, 3]", "x"])
def test_what_is_not_ours_is_no_cache(text):
    assert Cached.read(text) is None
