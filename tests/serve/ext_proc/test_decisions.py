"""What a request goes on with: the model in a header and in the body, or everything as it came."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading

import grpc
import pytest
from scripted_upstream import wait_until
from tests.serve.dialects import SPOKEN
from tests.serve.ext_proc.gateway import PATH, body, chat, head, headers_of, removed_by
from tests.serve.ext_proc.messages import FULL_DUPLEX_STREAMED, ProcessingResponse

import turnout

BODY = b'{"seed": 1.0, "tools": [{"model": 1}],\n "model" : "router-mf-0.0", "messages": [{"role": "user", "content": "\xc3\xa9?"}]}'


def test_the_model_is_in_a_header_and_in_the_body_which_is_else_the_same(gateway):
    first, second = gateway().ask(head(), body(BODY))
    assert (headers_of(first), first.request_headers.response.clear_route_cache) == ({}, False)
    changed = BODY.replace(b'"router-mf-0.0"', b'"big"')
    assert second.request_body.response.body_mutation.body == changed
    assert headers_of(second) == {"x-turnout-model": "big", "content-length": str(len(changed))}
    assert second.request_body.response.clear_route_cache


def test_a_model_has_its_own_name_at_its_upstream(gateway, tables):
    tables["models"]["big"]["name"] = "provider/big-2"
    _, answer = gateway().ask(head(), body(chat()))
    assert headers_of(answer)["x-turnout-model"] == "big"
    assert json.loads(answer.request_body.response.body_mutation.body)["model"] == "provider/big-2"


def test_the_header_has_another_name_and_the_body_stays_where_it_is_configured(gateway):
    _, answer = gateway(ext_proc={"model_header": "x-ai-eg-model", "rewrite_body": False}).ask(head(), body(chat()))
    assert headers_of(answer) == {"x-ai-eg-model": "big"}
    assert not answer.request_body.response.HasField("body_mutation")


@pytest.mark.parametrize("prefix", ["", "/openai", "/team/a"])
@pytest.mark.parametrize("name", SPOKEN)
def test_each_dialect_is_decided_as_the_server_does(gateway, start, upstream, name, prefix):
    spoken, one = SPOKEN[name], gateway()
    server = start()
    for text in ("Hello!", "Prove that there are infinitely many primes.", "2 + 2?", "Übersetze das Gedicht in Prosa."):
        sent = spoken.body("router-mf-0.5", **{spoken.conversation: [{"role": "user", "content": text}]})
        _, answer = one.ask(head(f"{prefix}{spoken.path}?a=b"), body(json.dumps(sent).encode()))
        expected = server.post(
            {"model": "router-mf-0.5", "messages": [{"role": "user", "content": text}]}, "/v1/route"
        ).json()
        assert headers_of(answer)["x-turnout-model"] == expected["decisions"][0]["model"]


@pytest.mark.parametrize("path", ["/v1/responses/input_tokens", "/v1/responses/compact"])
def test_counts_and_summaries_of_responses_are_decided(gateway, path):
    _, answer = gateway().ask(head(path), body(json.dumps({"model": "router-mf-0.0", "input": "Hello!"}).encode()))
    assert headers_of(answer)["x-turnout-model"] == "big"


def test_tokens_are_counted_by_the_model_that_would_answer(gateway):
    one = gateway()
    _, answer = one.ask(head("/v1/messages/count_tokens"), body(chat()))
    assert headers_of(answer)["x-turnout-model"] == "big"
    assert one.state.recent.count == 0


def test_the_steps_of_an_agent_stay_with_the_model_that_began_their_turn(gateway):
    from tests.serve.conftest import Alternating

    turnout.register_router("alternating", Alternating)
    one = gateway(routers={"alternating": {"first": 1.0}})
    call = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
    turn = [{"role": "user", "content": "Fix the bug."}]
    step = [*turn, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c1", "content": "x"}]
    for messages in (turn, step):
        sent = json.dumps({"model": "router-alternating-0.5", "messages": messages}).encode()
        _, answer = one.ask(head(x_session_id="s1"), body(sent))
        assert headers_of(answer)["x-turnout-model"] == "big"
    assert one.state.recent.count == 1


def test_a_conversation_that_the_upstream_keeps_stays_with_its_model(gateway):
    from tests.serve.conftest import Alternating

    turnout.register_router("alternating", Alternating)
    one = gateway(routers={"alternating": {"first": 1.0}}, sessions={"stay": "off"})
    named = []
    for conversation in ("conv_1", "conv_2", "conv_1", "conv_2"):
        sent = json.dumps({"model": "router-alternating-0.5", "input": "Go on.", "conversation": conversation}).encode()
        _, answer = one.ask(head("/v1/responses"), body(sent))
        named.append(headers_of(answer)["x-turnout-model"])
    assert named == ["big", "small"] * 2
    assert one.state.recent.count == 2


def test_clients_cannot_name_the_model_in_the_header(gateway):
    one = gateway()
    forged = {"x-turnout-model": "small", "x-turnout-undecided": "x"}
    first, second = one.ask(head(**forged), body(chat()))
    assert removed_by(first) == ["x-turnout-model", "x-turnout-undecided"]
    assert first.request_headers.response.clear_route_cache
    assert headers_of(second)["x-turnout-model"] == "big"
    (only,) = one.ask(head("/v1/models", method="GET", is_end=True, **forged))
    assert removed_by(only) == ["x-turnout-model", "x-turnout-undecided"]


UNCHANGED = [
    ("invalid_json", b'{"model": '),
    ("invalid_json", b"\xff\xfe"),
    ("invalid_json", b"[1]"),
    ("invalid_type", b"{}"),
    ("invalid_json", b'{"model": "router-mf-0.0", "model": "small", "messages": [{"role": "user", "content": "x"}]}'),
    ("model_not_found", chat("no-such-model")),
    ("invalid_model", chat("router-mf-2.0")),
    ("cannot_route", b'{"model": "router-mf-0.0", "messages": []}'),
    ("invalid_json", b'{"model": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
]


@pytest.mark.parametrize(("reason", "content"), UNCHANGED, ids=range(len(UNCHANGED)))
def test_what_cannot_be_decided_goes_on_as_it_came(gateway, reason, content):
    one = gateway()
    _, answer = one.ask(head(), body(content))
    assert headers_of(answer) == {"x-turnout-undecided": reason}
    assert not answer.request_body.response.HasField("body_mutation")
    one.counted(**{reason: 1})


def test_requests_without_a_readable_body_go_on(gateway):
    one = gateway()
    for reason, first in (
        ("no_body", head(is_end=True)),
        ("no_body", head(mode=0)),
        ("invalid_content_encoding", head(content_encoding="gzip")),
    ):
        answers = one.ask(first, body(gzip.compress(chat()))) if reason != "no_body" else one.ask(first)
        assert headers_of(answers[0]) == {"x-turnout-undecided": reason}
        assert not any(headers_of(answer) for answer in answers[1:])
    one.counted(no_body=2, invalid_content_encoding=1)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/responses/resp_1/cancel", "/", ""])
def test_other_requests_go_on_without_a_word(gateway, path):
    one = gateway()
    answers = one.ask(head(path), body(b"anything"))
    assert not any(headers_of(answer) for answer in answers)
    one.counted(other_path=1)


class Slow:
    """A router that decides when it is released."""

    release = threading.Event()

    def win_rate(self, prompt: str) -> float:
        assert self.release.wait(60)
        return 1.0


class Broken:
    """A router that fails with a text that nobody should read."""

    def win_rate(self, prompt: str) -> float:
        raise RuntimeError("sk-secret-of-the-router")


def test_a_decision_that_takes_too_long_is_not_waited_for(gateway):
    turnout.register_router("slow", Slow)
    one = gateway(routers={"slow": {}}, ext_proc={"deadline_ms": 20.0})
    try:
        _, answer = one.ask(head(), body(chat("router-slow-0.5")))
        assert headers_of(answer) == {"x-turnout-undecided": "deadline"}
    finally:
        Slow.release.set()


def test_a_router_that_fails_stops_no_request(gateway, caplog):
    turnout.register_router("broken", Broken)
    one = gateway(routers={"broken": {}})
    secret = "sk-" + "0123456789" * 3
    _, answer = one.ask(head(authorization=f"Bearer {secret}"), body(chat("router-broken-0.5", secret)))
    assert headers_of(answer) == {"x-turnout-undecided": "router_failed"}
    assert secret not in caplog.text


def test_unexpected_errors_stop_no_request(gateway, monkeypatch, caplog):
    one = gateway()
    monkeypatch.setattr("turnout.ext_proc.decider.plan", lambda *_: 1 / 0)
    _, answer = one.ask(head(), body(chat()))
    assert headers_of(answer) == {"x-turnout-undecided": "internal_error"}
    assert "ZeroDivisionError" in caplog.text


def test_bodies_are_bounded_each_and_together(gateway):
    one = gateway(server={"max_body_bytes": 2000, "max_bodies_bytes": 3000})
    _, answer = one.ask(head(), body(chat(text="x" * 2000)))
    assert headers_of(answer) == {"x-turnout-undecided": "body_too_large"}
    assert one.state.bodies.take(2500)
    _, answer = one.ask(head(), body(chat(text="x" * 1000)))
    assert headers_of(answer) == {"x-turnout-undecided": "overloaded"}
    one.state.bodies.give_back(2500)
    _, answer = one.ask(head(), body(chat(text="x" * 1000)))
    assert headers_of(answer)["x-turnout-model"] == "big"
    assert one.state.bodies.used == 0


def test_decisions_are_logged_and_counted(gateway, tmp_path):
    one = gateway(log={"path": str(tmp_path / "log.jsonl")})
    one.ask(head(PATH, x_request_id="r-1"), body(chat()))
    wait_until(lambda: (tmp_path / "log.jsonl").exists() and (tmp_path / "log.jsonl").read_text())
    receipt = json.loads((tmp_path / "log.jsonl").read_text())
    assert (receipt["request_id"], receipt["model"], receipt["router"]) == ("r-1", "big", "mf")
    one.counted(decided=1)
    one.ask(head(), body(b"{}"))
    # What was not decided took no time to decide.
    assert one.state.metrics.registry.get_sample_value("turnout_ext_proc_seconds_count") == 1


def test_a_decision_that_misses_the_deadline_has_a_receipt(gateway, tmp_path, monkeypatch):
    async def never(*_):
        await asyncio.Event().wait()

    monkeypatch.setattr("turnout.ext_proc.decider.body_for", never)
    one = gateway(log={"path": str(tmp_path / "log.jsonl")}, ext_proc={"deadline_ms": 500.0})
    _, answer = one.ask(head(), body(chat()))
    assert headers_of(answer) == {"x-turnout-undecided": "deadline"}
    wait_until(lambda: (tmp_path / "log.jsonl").exists() and (tmp_path / "log.jsonl").read_text())
    receipt = json.loads((tmp_path / "log.jsonl").read_text())
    assert (receipt["model"], receipt["served"], receipt["fallback"]) == ("big", None, "deadline")


def test_exchanges_are_bounded(gateway):
    one = gateway(ext_proc={"max_exchanges": 1})
    done = threading.Event()

    def hold():
        yield head().SerializeToString()
        done.wait(60)

    first = one.call(hold(), timeout=60)
    next(first)
    with pytest.raises(grpc.RpcError) as refused:
        one.ask(head(), body(chat()))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    done.set()
    assert list(first) == []
    assert headers_of(one.ask(head(), body(chat()))[1])["x-turnout-model"] == "big"


def test_a_body_that_is_held_and_does_not_end_goes_on(gateway):
    one = gateway(ext_proc={"body_timeout_s": 0.5})
    released, content = threading.Event(), chat()

    def pieces():
        yield head(mode=FULL_DUPLEX_STREAMED).SerializeToString()
        yield body(content[:10], is_end=False).SerializeToString()
        released.wait(60)
        yield body(content[10:]).SerializeToString()

    answers = one.call(pieces(), timeout=60)
    read = [ProcessingResponse.FromString(next(answers)) for _ in range(2)]
    assert headers_of(read[0]) == {"x-turnout-undecided": "body_timeout"}
    assert one.state.bodies.used == 0
    released.set()
    read += [ProcessingResponse.FromString(one) for one in answers]
    parts = [one.request_body.response.body_mutation.streamed_response for one in read[1:]]
    assert b"".join(part.body for part in parts) == content
    assert [part.end_of_stream for part in parts] == [False, True]
