"""Cascades where upstreams, clients and limits are not as they should be, and what is said of every call."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import httpx
import pytest
from scripted_upstream import completion, event, refuse, wait_until
from tests.serve.cascades import BY_LOGPROB, DISCARD, IDENTITY, KEEP, models, receipt_of, with_deep_input, with_logprobs
from tests.serve.dialects import HELLO, SPOKEN, chat_stream, message, named, response, speak, streaming

from turnout.cascade import Form

CHAT_HELLO: dict[str, Any] = {"model": "router-mf", "messages": HELLO}


@pytest.fixture(params=list(SPOKEN))
def spoken(request):
    return SPOKEN[request.param]


def _slots_are_free(server: Any) -> None:
    wait_until(lambda: server.state.snapshot.upstreams["main"].in_flight == 0)


@pytest.mark.parametrize("logprob", [1000.0, 0.5])
def test_log_probabilities_above_zero_are_read_as_zero(cascading, upstream, logprob):
    async def script(exchange: Any) -> None:
        document = json.loads(completion("small", "I am small"))
        token = {"token": "I", "logprob": logprob, "top_logprobs": [{"token": "I", "logprob": logprob}] * 2}
        document["choices"][0]["logprobs"] = {"content": [token]}
        await exchange.whole(200, json.dumps(document).encode())

    upstream.by_model["small"] = script
    server = cascading(Form(["first_token_entropy"], [1.0], 0.0, -9.0, *IDENTITY), KEEP)
    assert server.post(CHAT_HELLO).headers["x-turnout-cascade"] == "kept"
    assert receipt_of(server)["signals"] == {"first_token_entropy": 0.0}


def test_answers_with_a_byte_order_mark_are_judged(cascading, upstream):
    async def script(exchange: Any) -> None:
        await exchange.whole(200, b"\xef\xbb\xbf" + completion(exchange.json["model"], "I am here"))

    upstream.default = script
    for form, words in ((KEEP, "kept"), (DISCARD, "discarded")):
        answer = cascading(form).post(CHAT_HELLO)
        assert (answer.status_code, answer.headers["x-turnout-cascade"]) == (200, words)
    assert b'"discarded"' in answer.content


def test_an_answer_that_is_nested_too_deep_to_be_judged_is_served(cascading, upstream):
    whole = with_deep_input()
    upstream.by_model["small"] = lambda exchange: exchange.whole(200, whole)
    answer = cascading(DISCARD).post(SPOKEN["messages"].body("router-mf"), SPOKEN["messages"].path)
    assert (answer.status_code, answer.content) == (200, whole)
    assert "x-turnout-cascade" not in answer.headers


def test_numbers_of_an_answer_stay_as_they_were(cascading, upstream):
    body = completion("big", "I am big").replace(b"{", b'{"big": 12345678901234567890123, "one": 1.0, ', 1)

    async def script(exchange: Any) -> None:
        await exchange.whole(200, body)

    upstream.by_model["big"] = script
    answer = cascading(DISCARD).post(CHAT_HELLO)
    assert answer.content.startswith(b'{"big": 12345678901234567890123, "one": 1.0, ')
    assert len(answer.json()["usage"]["discarded"]) == 1


def test_counts_of_tokens_are_not_judged(cascading, upstream):
    server = cascading(DISCARD)
    answer = server.post({"model": "router-mf", "messages": HELLO}, "/v1/messages/count_tokens")
    assert (answer.json(), answer.headers["x-turnout-model"]) == ({"input_tokens": 7}, "small")
    assert models(upstream) == ["small"]


def test_an_error_in_a_held_stream_leads_to_the_strong_model(cascading, upstream):
    bad = b'data: {"error": {"message": "out of memory"}}\n\n'
    upstream.by_model["small"] = streaming(event({"content": "I"}), bad)
    answer = cascading(KEEP).post({**CHAT_HELLO, "stream": True})
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", "error_in_answer")
    assert b"out of memory" not in answer.content


def test_an_error_of_the_strong_models_own_is_worse_than_a_discarded_answer(cascading, upstream):
    upstream.by_model["big"] = refuse(400)
    server = cascading(DISCARD)
    for is_stream in (False, True):
        answer = server.post({**CHAT_HELLO, "stream": is_stream})
        assert (answer.status_code, answer.headers["x-turnout-fallback"]) == (200, "400")
        assert "small" in answer.text
        assert answer.headers["x-turnout-cascade"] == "kept"
    _slots_are_free(server)


def test_an_upstream_that_refuses_log_probabilities_is_asked_without(cascading, upstream):
    async def script(exchange: Any) -> None:
        if "logprobs" in exchange.json:
            await exchange.whole(400, b'{"error": {"message": "logprobs is not supported"}}')
        else:
            await speak(exchange)

    upstream.by_model["small"] = script
    answer = cascading(BY_LOGPROB, KEEP).post(CHAT_HELLO)
    assert (answer.status_code, answer.headers["x-turnout-cascade"]) == (200, "kept")
    assert models(upstream) == ["small", "small"]


def test_a_stream_that_stalls_is_judged_when_the_time_is_up(cascading, upstream):
    upstream.by_model["small"] = streaming(event({"content": "I"}), ends="never")
    server = cascading(DISCARD, hold_ms=20)
    answer = server.post({**CHAT_HELLO, "stream": True})
    assert answer.headers["x-turnout-model"] == "big"
    _slots_are_free(server)


def test_a_time_out_while_a_stream_is_held_is_one_of_its_model(cascading, tables, upstream):
    tables["changes"] = {"watch": ["latency"]}
    tables["upstreams"]["main"]["idle_timeout_s"] = 0.3
    upstream.by_model["small"] = streaming(event({"content": "I"}), ends="never")
    server = cascading(DISCARD, hold_ms=30_000)
    answer = server.post({**CHAT_HELLO, "stream": True})
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", "idle_timeout")
    receipt_of(server)
    assert server.state.changes._detectors["small", "latency"]._values == [math.inf]


def test_a_time_out_before_a_stream_is_held_counts_once(cascading, tables, upstream):
    tables["changes"] = {"watch": ["latency"]}
    tables["upstreams"]["main"] |= {"first_byte_timeout_s": 0.3, "retries": 0}
    upstream.by_model["small"] = streaming(ends="never")
    server = cascading(DISCARD)
    answer = server.post({**CHAT_HELLO, "stream": True})
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", "first_byte_timeout")
    receipt_of(server)
    assert server.state.changes._detectors["small", "latency"]._values == [math.inf]


def test_what_arrives_after_the_time_is_up_is_not_lost(cascading, upstream):
    parts = chat_stream("small", ("I", " am ", "late"))

    async def script(exchange: Any) -> None:
        await exchange.begin_stream()
        await exchange.chunk(parts[0] + parts[1][:9])
        await asyncio.sleep(0.2)
        await exchange.chunk(parts[1][9:] + b"".join(parts[2:]))
        await exchange.chunk(b"")

    upstream.by_model["small"] = script
    answer = cascading(KEEP, hold_ms=20).post({**CHAT_HELLO, "stream": True})
    assert answer.content == b"".join(parts)


@pytest.mark.parametrize("outcome", ["discarded", "client"])
def test_a_discarded_stream_is_closed(cascading, upstream, outcome):
    gone: list[Any] = []

    async def script(exchange: Any) -> None:
        gone.append(exchange.is_gone)
        await exchange.begin_stream()
        await exchange.chunk(b"".join(event({"content": "word"}) for _ in range(40)))
        await exchange.is_gone.wait()

    async def slow(exchange: Any) -> None:
        await exchange.is_gone.wait()

    upstream.by_model["small"] = script
    if outcome == "client":
        upstream.by_model["big"] = slow
    server = cascading(DISCARD)
    if outcome == "client":
        import httpx

        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/v1/chat/completions", json={**CHAT_HELLO, "stream": True}, timeout=0.5)
    else:
        assert server.post({**CHAT_HELLO, "stream": True}).headers["x-turnout-model"] == "big"
    wait_until(lambda: gone[0].is_set())
    _slots_are_free(server)


def test_a_held_stream_does_not_take_the_last_place_of_an_upstream(cascading, upstream, tables):
    tables["upstreams"]["main"]["max_concurrency"] = 1
    server = cascading(DISCARD)
    answer = server.post({**CHAT_HELLO, "stream": True})
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-cascade"]) == ("big", "discarded")
    _slots_are_free(server)


def test_only_the_first_choice_is_judged(cascading, upstream):
    def chunk(index: int, content: str) -> bytes:
        return event({"content": content}).replace(b'"index": 0', f'"index": {index}'.encode())

    assert b'"index": 1' in chunk(1, "")
    upstream.by_model["small"] = streaming(
        chunk(0, "ab"), chunk(1, "012345678"), event({}, finish="stop"), b"data: [DONE]\n\n"
    )
    server = cascading(Form(["length"], [1.0], 0.0, -20.0, *IDENTITY))
    server.post({**CHAT_HELLO, "stream": True, "n": 2})
    assert receipt_of(server)["signals"] == {"length": pytest.approx(1.098612, abs=1e-6)}


def test_the_first_count_of_a_stream_of_messages_is_not_its_length(cascading, upstream):
    head = {**json.loads(message("small", "")), "content": [], "usage": {"input_tokens": 30, "output_tokens": 1}}
    words = [
        named("content_block_delta", index=0, delta={"type": "text_delta", "text": f"word{number} "})
        for number in range(40)
    ]
    block = named("content_block_start", index=0, content_block={"type": "text", "text": ""})
    upstream.by_model["small"] = streaming(named("message_start", message=head), block, *words, ends="never")
    server = cascading(DISCARD)
    server.post({**CHAT_HELLO, "max_tokens": 99, "stream": True}, "/v1/messages")
    [discarded] = receipt_of(server)["discarded"]
    assert discarded["output_tokens"] >= 32
    assert (discarded["input_tokens"], discarded["estimated"]) == (30, True)


def _broken(usage: dict[str, int], *, has_error: bool = False, ends: str = "clean") -> Any:
    """A stream of messages that ends after twenty words, without its last event."""
    head = {**json.loads(message("small", "")), "content": [], "usage": usage}
    block = named("content_block_start", index=0, content_block={"type": "text", "text": ""})
    words = [named("content_block_delta", index=0, delta={"type": "text_delta", "text": f"{n} "}) for n in range(20)]
    error = [named("error", error={"type": "overloaded_error", "message": "busy"})] if has_error else []
    return streaming(named("message_start", message=head), block, *words, *error, ends=ends)


@pytest.mark.parametrize("has_error", [False, True])
def test_tokens_of_a_stream_that_breaks_while_it_is_held_are_paid_for(cascading, upstream, has_error):
    upstream.by_model["small"] = _broken({"input_tokens": 30, "output_tokens": 1}, has_error=has_error)
    server = cascading(KEEP)
    answer = server.post(SPOKEN["messages"].body("router-mf", stream=True), "/v1/messages")
    assert (answer.status_code, answer.headers["x-turnout-model"]) == (200, "big")
    assert "x-turnout-cascade" not in answer.headers
    receipt = receipt_of(server)
    [broken] = receipt["discarded"]
    assert broken == {
        "model": "small",
        "input_tokens": 30,
        "output_tokens": 20,
        "cost": pytest.approx(50e-6),
        "estimated": True,
        "failure": "error_in_answer" if has_error else "lost",
    }
    assert receipt["cost"] == pytest.approx((receipt["input_tokens"] + receipt["output_tokens"]) * 1e-5 + 50e-6)
    assert _usage_of_stream("messages", answer.content)["discarded"][0]["cost"] == pytest.approx(50e-6)


def test_they_are_paid_for_where_no_model_answers(cascading, upstream):
    upstream.by_model["small"] = _broken({"input_tokens": 30, "output_tokens": 1})
    upstream.by_model["big"] = refuse(500)
    server = cascading(KEEP)
    assert server.post(SPOKEN["messages"].body("router-mf", stream=True), "/v1/messages").status_code == 500
    receipt = server.state.recent.since(0, 1)[0].receipt
    wait_until(lambda: receipt["latency_ms"] is not None)
    assert (receipt["served"], receipt["discarded"][0]["failure"]) == (None, "lost")
    assert receipt["cost"] == pytest.approx(50e-6)


def test_the_cost_is_unknown_where_the_client_leaves_while_the_second_model_is_asked(cascading, upstream):
    upstream.by_model["big"] = streaming(ends="never")
    server = cascading(DISCARD)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/chat/completions", json=CHAT_HELLO, timeout=1.0)
    receipt = server.state.recent.since(0, 1)[0].receipt
    wait_until(lambda: receipt["latency_ms"] is not None)
    assert (receipt["served"], receipt["kept"], receipt["cost"]) == (None, False, None)
    assert [one["cost"] for one in receipt["discarded"]] == [pytest.approx(2e-6), None]


def test_what_was_held_is_paid_for_where_the_client_leaves_meanwhile(cascading, upstream):
    upstream.by_model["small"] = _broken({"input_tokens": 30, "output_tokens": 1}, ends="never")
    server = cascading(DISCARD, hold_ms=30_000)
    spoken = SPOKEN["messages"]
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}{spoken.path}", json=spoken.body("router-mf", stream=True), timeout=1.0)
    receipt = server.state.recent.since(0, 1)[0].receipt
    wait_until(lambda: receipt["latency_ms"] is not None)
    [held] = receipt["discarded"]
    assert (receipt["served"], held["failure"], held["output_tokens"]) == (None, "not_delivered", 20)
    assert receipt["cost"] == pytest.approx(50e-6)
    _slots_are_free(server)


def test_an_answer_is_paid_for_whose_judge_fails(cascading, upstream, monkeypatch):
    def fail(*_: Any) -> None:
        raise RuntimeError("no judge")

    monkeypatch.setattr(Form, "p_error", fail)
    server = cascading(KEEP)
    assert server.post(CHAT_HELLO).status_code == 500
    receipt = server.state.recent.since(0, 1)[0].receipt
    wait_until(lambda: receipt["latency_ms"] is not None)
    [unjudged] = receipt["discarded"]
    assert (unjudged["failure"], unjudged["estimated"]) == ("judge_failed", False)
    assert receipt["cost"] == pytest.approx(2e-6)


def _usage_of_stream(name: str, content: bytes) -> dict[str, Any]:
    found = [json.loads(line[6:]) for line in content.split(b"\n") if line.startswith(b"data: {")]
    if name == "responses":
        return dict(found[-1]["response"]["usage"])
    return dict(
        next(one for one in reversed(found) if one.get("usage") and one.get("type") != "message_start")["usage"]
    )


def test_usage_of_streams_has_discarded_answers(cascading, upstream, spoken):
    """In the chunk of ``include_usage``, in ``message_delta`` and in ``response.completed``."""
    usage = {"input_tokens": 5, "output_tokens": 7}
    chunk = {"id": "1", "object": "chat.completion.chunk", "choices": [], "created": 1, "model": "big"}
    counts = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    last = {
        "chat": f"data: {json.dumps({**chunk, 'usage': counts})}\n\n".encode(),
        "responses": named("response.completed", response=json.loads(response("big", "I", usage=usage)), number=1.0),
    }
    parts = spoken.stream("big", ("I", " am ", "big"))
    if spoken.name == "chat":
        parts.insert(-1, last["chat"])
    elif spoken.name == "responses":
        parts[-1] = last["responses"]
    upstream.by_model["big"] = streaming(b"".join(parts[:-2]), *parts[-2:])
    server = cascading(DISCARD)
    answer = server.post(spoken.body("router-mf", stream=True), spoken.path)
    [discarded] = _usage_of_stream(spoken.name, answer.content)["discarded"]
    receipt = receipt_of(server)
    # Only Messages say it of a stream that was read to its end.
    expected = ("small", 2, False) if spoken.name == "messages" else ("small", 3, True)
    assert (discarded["model"], discarded["output_tokens"], discarded["estimated"]) == expected
    assert {name: receipt["discarded"][0][name] for name in discarded} == discarded
    assert receipt["cost"] == pytest.approx(
        (receipt["input_tokens"] + receipt["output_tokens"]) * 1e-5 + discarded["cost"]
    )
    # The client reads it: nothing else of the stream has changed.
    stream = spoken.create(spoken.client(server.url)).create(**spoken.body("router-mf", stream=True))
    assert "".join(map(spoken.word, (one for one in stream if getattr(one, "choices", True)))) == "I am big"


def test_answers_are_counted(cascading, upstream):
    upstream.by_model["small"] = with_logprobs(-0.1)
    server = cascading(BY_LOGPROB, DISCARD)
    server.post(CHAT_HELLO)
    upstream.by_model["small"] = with_logprobs(-2.0)
    server.post(CHAT_HELLO)
    found = {
        (model, outcome): server.metric("turnout_cascade_answers_total", model=model, outcome=outcome)
        for model in ("small", "big")
        for outcome in ("kept", "discarded", "next")
    }
    assert {pair: number for pair, number in found.items() if number} == {
        ("small", "kept"): 1,
        ("small", "discarded"): 1,
        ("big", "next"): 1,
    }


def test_a_change_of_the_model_that_is_not_worth_its_cache_is_not_judged(cascading, upstream, monkeypatch):
    from turnout.serve.endpoints import planner

    def kept(routed: Any, cached: Any, state: Any) -> Any:
        return routed.pair.strong

    monkeypatch.setattr(planner, "_cheaper_to_keep", kept)
    answer = cascading(DISCARD).post(CHAT_HELLO)
    assert (answer.headers["x-turnout-model"], "x-turnout-cascade" in answer.headers) == ("big", False)
    assert models(upstream) == ["big"]
