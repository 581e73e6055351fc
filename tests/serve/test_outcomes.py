"""``POST /v1/outcomes``: what came of answered requests is kept durably, once."""

from __future__ import annotations

import asyncio
import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted_upstream import event, wait_until

from turnout import ConfigError, RouterError
from turnout.outcomes import Outcomes
from turnout.serve.http.client_keys import key_hash
from turnout.serve.settings.file import settings_of

PATH = "/v1/outcomes"


async def hang(exchange):
    await exchange.is_gone.wait()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outcomes.sqlite"


def test_an_outcome_is_kept_for_the_id_of_an_answer(start, path):
    server = start(outcomes={"path": str(path)})
    body = {"model": "router-mf-0.5", "messages": [{"role": "user", "content": "Hi"}]}
    receipt_id = server.post(body).headers["x-request-id"]
    answer = server.post({"receipt_id": receipt_id, "thumbs": "up"}, PATH)
    assert (answer.status_code, answer.json()) == (200, {"object": "outcomes", "added": 1, "known": 0})
    again = server.post({"receipt_id": receipt_id, "thumbs": "up"}, PATH)
    assert again.json() == {"object": "outcomes", "added": 0, "known": 1}
    assert [(one.receipt_id, one.kind, one.value) for one in Outcomes(path).read()] == [(receipt_id, "thumbs", 1.0)]
    assert server.metric("turnout_outcomes_total", result="added") == 1


def test_a_batch_is_kept_whole_or_not_at_all(start, path):
    server = start(outcomes={"path": str(path)})
    many = [{"receipt_id": f"r{number}", "score": number / 10} for number in range(10)]
    assert server.post({"outcomes": many}, PATH).json()["added"] == 10
    conflict = server.post(
        {"outcomes": [{"receipt_id": "new", "passed": True}, {"receipt_id": "r1", "score": 0}]}, PATH
    )
    assert conflict.status_code == 409
    assert conflict.json()["error"]["code"] == "outcome_conflict"
    assert "outcome 1: receipt 'r1' has score 0.1 already, found 0; the first one stays" in conflict.text
    assert len(Outcomes(path)) == 10


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "receipt_id is missing"),
        ({"receipt_id": "a"}, "expected exactly one of"),
        ({"receipt_id": "a", "score": 2}, "score is 2, expected a number in 0..=1"),
        ({"receipt_id": ["a"], "score": 1}, "receipt_id is of type list"),
        ({"outcomes": {"receipt_id": "a"}}, "expected one outcome, or outcomes alone with an array"),
        ({"outcomes": ["a"]}, "outcome 0 is of type str"),
        ({"outcomes": [{"receipt_id": "a", "score": 1}] * 1001}, "outcomes has 1001 items, expected at most 1000"),
        ([], "the body is of type list"),
    ],
)
def test_a_bad_body_is_400_and_leaves_nothing(start, path, body, words):
    answer = start(outcomes={"path": str(path)}).post(json.dumps(body).encode(), PATH)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert len(Outcomes(path)) == 0


def test_without_a_path_there_are_no_outcomes(server):
    answer = server.post({"receipt_id": "a", "thumbs": "up"}, PATH)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "outcomes_off")


def test_client_keys_apply_and_their_names_are_kept(start, path, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"team-a:{key_hash('a-key-of-team-a')}\n")
    server = start(outcomes={"path": str(path)}, server={"client_keys_file": str(keys)})
    outcome = {"receipt_id": "a", "thumbs": "up"}
    assert server.post(outcome, PATH).status_code == 401
    assert server.post(outcome, PATH, headers={"authorization": "Bearer a-key-of-team-a"}).status_code == 200
    assert [one.source for one in Outcomes(path).read()] == ["team-a"]


def test_a_full_database_is_507_and_the_server_goes_on(start, path):
    server = start(outcomes={"path": str(path), "most": 1})
    assert server.post({"receipt_id": "a", "thumbs": "up"}, PATH).status_code == 200
    full = server.post({"receipt_id": "b", "thumbs": "up"}, PATH)
    assert (full.status_code, full.json()["error"]["code"]) == (507, "outcomes_failed")
    assert str(path) not in full.text
    assert server.post({"receipt_id": "a", "thumbs": "up"}, PATH).json()["known"] == 1


def test_clients_that_record_at_once_are_each_counted_once(start, path):
    server = start(outcomes={"path": str(path)})
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda number: server.post({"receipt_id": f"{number % 20}", "thumbs": "up"}, PATH), range(40)
        )
        assert sum(answer.json()["added"] for answer in answers) == 20
    assert len(Outcomes(path)) == 20


def test_a_file_of_another_program_stops_the_server_from_starting(start, path):
    path.write_text("mine " * 1000)
    with pytest.raises(RouterError, match="not a database"):
        start(outcomes={"path": str(path)})


def test_unknown_keys_of_the_table_are_errors(tables):
    with pytest.raises(ConfigError, match=r"\[outcomes\] has an unknown key 'file', expected path, most"):
        settings_of({**tables, "outcomes": {"file": "x"}})


def test_a_change_of_outcomes_is_counted_by_model(start, path, caplog):
    watch = {"watch": ["outcomes"], "mean_values": 1000}
    server = start(outcomes={"path": str(path)}, changes=watch)
    for number in range(300):
        server.state.changes.answered(f"r{number}", server.state.snapshot.models["small"])
    for begin, thumbs in ((0, "up"), (150, "down")):
        many = [{"receipt_id": f"r{number}", "thumbs": thumbs} for number in range(begin, begin + 150)]
        assert server.metric("turnout_changes_total", model="small", signal="outcomes") == 0
        server.post({"outcomes": many}, PATH)
        server.post({"outcomes": many}, PATH)
    assert server.metric("turnout_changes_total", model="small", signal="outcomes") == 1
    assert "model small: its outcomes have changed" in caplog.text


def test_what_grades_an_answer_is_watched_and_nothing_else(start, path):
    """As for the report and for learning: an outcome may name the model that answered, and ``regenerated`` is no grade."""
    server = start(outcomes={"path": str(path)}, changes={"watch": ["outcomes"], "mean_values": 1000})
    changes = server.state.changes
    changes.answered("r", server.state.snapshot.models["small"])
    for outcome in ({"regenerated": True}, {"score": 0.0, "model": "big"}):
        server.post({"receipt_id": "r", **outcome}, PATH)
    assert changes._detectors == {}
    server.post({"receipt_id": "r", "score": 1.0, "model": "small"}, PATH)
    assert [detector._values for detector in changes._detectors.values()] == [[1.0]]


def test_a_change_of_latency_is_counted_by_model(start):
    server = start(changes={"watch": ["latency"], "mean_values": 1000})
    model = server.state.snapshot.models["big"]
    for number in range(300):
        server.state.changes.took(model, 0.1 + number % 7 / 100 + (number >= 150))
    assert server.metric("turnout_changes_total", model="big", signal="latency") >= 1


def test_latencies_are_those_of_the_attempt_and_a_time_out_is_the_slowest(start, upstream):
    """The seconds that were lost on one model are not those of the model that answered in its place."""
    upstream.by_model["small"] = hang
    server = start(
        upstreams={"main": {"base_url": upstream.base_url, "first_byte_timeout_s": 0.5}}, changes={"watch": ["latency"]}
    )
    answer = server.post({"model": "router-mf-1.0", "messages": [{"role": "user", "content": "Hi"}]})
    assert answer.headers["x-turnout-model"] == "big"
    wait_until(lambda: len(server.state.changes._detectors) == 2)
    values = {label: one._values for (label, _), one in server.state.changes._detectors.items()}
    assert values["small"] == [math.inf]
    (decided,) = server.state.recent.since(0, 10)
    assert values["big"][0] <= decided.receipt["latency_ms"] / 1e3 - 0.49


def test_a_stream_that_stops_in_the_middle_is_the_slowest(start, upstream):
    async def stops(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "I"}, "small"))
        await hang(exchange)

    upstream.by_model["small"] = stops
    server = start(
        upstreams={"main": {"base_url": upstream.base_url, "idle_timeout_s": 0.3}}, changes={"watch": ["latency"]}
    )
    body = {"model": "router-mf-1.0", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    assert "upstream_idle_timeout" in server.post(body).text
    wait_until(lambda: server.state.changes._detectors)
    assert [one._values for one in server.state.changes._detectors.values()] == [[math.inf]]


def test_the_latency_of_a_stream_has_the_waits_for_its_later_parts(start, upstream):
    async def slow(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "I"}, "small"))
        await asyncio.sleep(0.3)
        await exchange.chunk(event({"content": " am"}, "small") + b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    upstream.by_model["small"] = slow
    server = start(changes={"watch": ["latency"]})
    body = {"model": "router-mf-1.0", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    server.post(body).raise_for_status()
    wait_until(lambda: server.state.changes._detectors)
    ((took,),) = [one._values for one in server.state.changes._detectors.values()]
    (decided,) = server.state.recent.since(0, 10)
    assert 0.25 < took <= decided.receipt["latency_ms"] / 1e3


def test_nothing_is_watched_by_default(server):
    server.post({"model": "router-mf-0.5", "messages": [{"role": "user", "content": "Hi"}]})
    assert server.state.changes._answers == {}
    assert server.state.changes._detectors == {}
