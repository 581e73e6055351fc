"""``[changes]``: what an answer says of its model is watched, and a change is an event."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from scripted_upstream import completion, event, wait_until
from tests.serve import cascades
from tests.serve.dialects import SPOKEN, named, streaming

OLD, NEW = "gpt-4o-2024-08-06", "gpt-4o-2024-11-20"
WEAK = {"model": "router-mf-1.0", "messages": [{"role": "user", "content": "Hi"}]}


def spoken_as(spoken, names, is_stream):
    """An upstream that reports these names, the last one from then on."""
    left = list(names)

    async def script(exchange):
        name = left.pop(0) if len(left) > 1 else left[0]
        if is_stream:
            await streaming(*spoken.stream(name, ("I", " am")))(exchange)
        else:
            await exchange.whole(200, spoken.whole(name, "I am"))

    return script


def ask(server, body=WEAK, path="/v1/chat/completions"):
    """Posts a request, and waits until the server is done with it: clients have the answer before."""
    answer = server.post(body, path)
    wait_until(lambda: all(one.receipt["served"] for one in server.state.recent.since(0, 1000)))
    return answer


def alarms(server, signal="model", model="small"):
    return server.metric("turnout_changes_total", model=model, signal=signal)


@pytest.fixture
def watched(start, tables):
    """Starts a server that watches a signal, with models of every dialect."""
    for model in tables["models"].values():
        model["dialects"] = list(SPOKEN)
    return lambda signal, **added: start(changes={"watch": [signal], "mean_values": 100, **added})


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("dialect", SPOKEN)
def test_another_reported_name_is_a_change_at_once(watched, upstream, caplog, dialect, is_stream):
    spoken = SPOKEN[dialect]
    upstream.default = spoken_as(spoken, [OLD, OLD, NEW], is_stream)
    server = watched("model")
    for expected in (0, 0, 1, 1):
        assert ask(server, spoken.body(stream=is_stream), spoken.path).status_code == 200
        assert alarms(server) == expected
    assert caplog.text.count(f"model small: reports the name '{NEW}', before '{OLD}'") == 1


def test_known_names_may_alternate(watched, upstream):
    upstream.default = spoken_as(SPOKEN["chat"], [OLD, NEW, OLD, NEW, OLD, "third", OLD], False)
    server = watched("model")
    counts = []
    for _ in range(7):
        ask(server)
        counts.append(alarms(server))
    assert counts == [0, 1, 1, 1, 1, 2, 2]


def test_a_model_that_reports_another_name_each_time_is_not_watched_for_ever(watched, upstream, caplog):
    upstream.default = spoken_as(SPOKEN["chat"], [f"m-{number}" for number in range(40)], False)
    server = watched("model")
    for _ in range(40):
        ask(server)
    assert alarms(server) == 31
    assert caplog.text.count("model small: has reported 32 names: new ones are not watched") == 1


def test_an_upstream_that_is_replaced_begins_anew(watched, upstream, tables):
    """The operator changed the model, not the provider."""
    server = watched("model")
    ask(server)
    server.tables["models"]["small"]["name"] = NEW
    assert httpx.post(f"{server.admin_url}/admin/reload", timeout=30).status_code == 200
    ask(server)
    assert upstream.models == ["small", NEW]
    assert alarms(server) == 0


@pytest.fixture
def replaced_meanwhile(start, tables, upstream, tmp_path):
    """Watches everything, asks the model, replaces it before it answers, and lets it answer as the old one; gives the server."""

    def run(body, answer):
        reached, go_on = threading.Event(), threading.Event()

        async def late(exchange):
            reached.set()
            await asyncio.to_thread(go_on.wait, 30)
            await answer(exchange)

        upstream.by_model["small"] = late
        upstream.by_model[NEW] = spoken_as(SPOKEN["chat"], [NEW], False)
        tables["upstreams"]["main"] |= {"idle_timeout_s": 1.0, "first_byte_timeout_s": 30.0}
        server = start(
            changes={"watch": ["outcomes", "latency", "logprobs", "model"], "mean_values": 100},
            outcomes={"path": str(tmp_path / "o.sqlite")},
        )
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(server.post, body)
            assert reached.wait(30)
            server.tables["models"]["small"]["name"] = NEW
            assert httpx.post(f"{server.admin_url}/admin/reload", timeout=30).status_code == 200
            go_on.set()
            asked = asking.result(30)
        wait_until(lambda: server.state.recent.since(0, 1)[0].receipt["latency_ms"] is not None)
        return server, asked

    return run


def test_an_answer_that_outlasts_the_reload_says_nothing_of_the_model_that_came(replaced_meanwhile):
    async def answer(exchange):
        found = json.loads(with_logprobs("chat", False, [-0.5]))
        await exchange.whole(200, json.dumps({**found, "model": OLD}).encode())

    server, asked = replaced_meanwhile(WEAK, answer)
    assert (asked.json()["model"], asked.headers["x-turnout-model"]) == (OLD, "small")
    outcome = {"receipt_id": asked.headers["x-request-id"], "thumbs": "down"}
    assert server.post(outcome, "/v1/outcomes").json()["added"] == 1
    changes = server.state.changes
    assert (changes._names, changes._detectors, changes._answers) == ({}, {}, {})
    ask(server)
    assert alarms(server) == 0
    assert changes._names == {"small": {NEW: None}}
    assert list(changes._detectors) == [("small", "latency")]
    assert len(changes._answers) == 1


def test_a_time_out_after_the_reload_is_not_one_of_the_model_that_came(replaced_meanwhile):
    async def stops(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "I"}, OLD))
        await exchange.is_gone.wait()

    server, asked = replaced_meanwhile({**WEAK, "stream": True}, stops)
    assert "upstream_idle_timeout" in asked.text
    assert server.state.changes._detectors == {}


def test_a_name_with_the_key_or_lines_of_its_own_is_not_logged(watched, upstream, tables, monkeypatch, caplog):
    monkeypatch.setenv("KEY", "sk-a-very-secret-key")
    tables["upstreams"]["main"]["key_env"] = "KEY"
    upstream.default = spoken_as(SPOKEN["chat"], [OLD, "a\nERROR fake", "x sk-a-very-secret-key", "n" * 10_000], False)
    server = watched("model")
    for _ in range(4):
        ask(server)
    assert alarms(server) == 3
    assert "sk-a-very" not in caplog.text
    assert "\nERROR" not in caplog.text
    assert "n" * 300 not in caplog.text


def token(logprob):
    return {"token": "a", "logprob": logprob, "bytes": [97], "top_logprobs": []}


def with_logprobs(dialect, is_stream, values):
    """An answer in a dialect whose tokens have these log-probabilities, in two events."""
    if dialect == "chat":
        if not is_stream:
            found = json.loads(completion("m", "aa"))
            found["choices"][0]["logprobs"] = {"content": [token(one) for one in values], "refusal": None}
            return json.dumps(found).encode()
        parts = []
        for one in values:
            data = json.loads(event({"content": "a"}).removeprefix(b"data: "))
            data["choices"][0]["logprobs"] = {"content": [token(one)]}
            parts.append(b"data: " + json.dumps(data).encode() + b"\n\n")
        return [*parts, event({}, "m", "stop"), b"data: [DONE]\n\n"]
    spoken = SPOKEN["responses"]
    if not is_stream:
        found = json.loads(spoken.whole("m", "aa"))
        found["output"][0]["content"][0]["logprobs"] = [token(one) for one in values]
        return json.dumps(found).encode()
    part = {"item_id": "item_1", "output_index": 0, "content_index": 0, "delta": "a"}
    deltas = [named("response.output_text.delta", logprobs=[token(one)], **part) for one in values]
    parts = spoken.stream("m", ("a",))
    return [*parts[:4], *deltas, parts[-1]]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("dialect", ["chat", "responses"])
def test_the_mean_log_probability_is_what_the_answer_says(watched, upstream, dialect, is_stream):
    answer = with_logprobs(dialect, is_stream, [-0.5, -1.5, -4.0])
    upstream.default = streaming(*answer) if is_stream else lambda exchange: exchange.whole(200, answer)
    server, spoken = watched("logprobs"), SPOKEN[dialect]
    sent = ask(server, spoken.body(stream=is_stream), spoken.path)
    assert sent.status_code == 200
    (detector,) = server.state.changes._detectors.values()
    assert detector._values == [pytest.approx(-2.0)]
    # Nothing is asked of the upstream that the client did not ask.
    assert not {"logprobs", "top_logprobs", "include"} & upstream.requests[0].json.keys()


def test_a_change_of_log_probabilities_is_counted(watched, upstream, caplog):
    number = 0

    async def script(exchange):
        nonlocal number
        number += 1
        level = -0.2 if number <= 60 else -0.8
        await exchange.whole(200, with_logprobs("chat", False, [level - number % 7 / 100]))

    upstream.default = script
    server = watched("logprobs")
    for _ in range(60):
        ask(server)
    before = alarms(server, "logprobs")
    for _ in range(40):
        ask(server)
    assert alarms(server, "logprobs") > before
    assert "model small: its log-probabilities have changed" in caplog.text


def test_log_probabilities_that_a_cascade_asked_for_are_those_of_the_answer_that_was_kept(cascading, tables, upstream):
    tables["changes"] = {"watch": ["logprobs"]}
    upstream.by_model["small"] = cascades.with_logprobs(-0.1)
    server = cascading(cascades.BY_LOGPROB, cascades.DISCARD)
    assert ask(server, {**WEAK, "model": "router-mf"}).headers["x-turnout-model"] == "small"
    upstream.by_model["small"] = cascades.with_logprobs(-2.0)
    assert ask(server, {**WEAK, "model": "router-mf"}).headers["x-turnout-model"] == "big"
    assert {key: one._values for key, one in server.state.changes._detectors.items()} == {
        ("small", "logprobs"): [pytest.approx(-0.1)]
    }


@pytest.mark.parametrize("dialect", SPOKEN)
def test_answers_without_log_probabilities_count_nothing(watched, dialect, upstream):
    spoken = SPOKEN[dialect]
    upstream.default = spoken_as(spoken, ["m"], True)
    server = watched("logprobs")
    assert ask(server, spoken.body(stream=True), spoken.path).status_code == 200
    assert server.state.changes._detectors == {}


def test_an_answer_without_log_probabilities_is_relayed_whatever_is_in_it(watched, upstream):
    """Such as a tool's input that is nested deeper than it could be written again."""
    whole = cascades.with_deep_input()
    upstream.default = lambda exchange: exchange.whole(200, whole)
    answer = ask(watched("logprobs"), SPOKEN["messages"].body(), SPOKEN["messages"].path)
    assert (answer.status_code, answer.content) == (200, whole)


def test_an_answer_that_broke_off_says_nothing(watched, upstream):
    parts = with_logprobs("chat", True, [-0.5, -1.0])
    upstream.default = streaming(*parts[:2], ends="reset")
    server = watched("logprobs")
    ask(server, {**WEAK, "stream": True})
    assert server.state.changes._detectors == {}
