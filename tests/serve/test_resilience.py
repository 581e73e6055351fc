"""What happens when upstreams fail: each fault once, scripted."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading

import httpx
import openai
import pytest
from scripted_upstream import ScriptedUpstream, completion, event, refuse, wait_until

from turnout.serve.upstreams.breaker import CircuitBreaker

HELLO = [{"role": "user", "content": "Hello!"}]
WEAK = {"model": "router-mf-1.0", "messages": HELLO}


async def abort(exchange):
    exchange.abort()


async def hang(exchange):
    await exchange.is_gone.wait()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_the_other_model_answers_for_one_that_refuses(server, upstream, status):
    upstream.by_model["small"] = refuse(status)
    answer = server.post(WEAK)
    assert answer.json()["choices"][0]["message"]["content"] == "I am big"
    assert answer.headers["x-turnout-model"] == "big"
    assert answer.headers["x-turnout-fallback"] == str(status)
    assert server.metric("turnout_fallbacks_total", chosen="small", served="big", reason=str(status)) == 1


def test_the_other_model_answers_when_nobody_listens(start, tables, two_upstreams):
    two_upstreams.stop()
    server = start()
    answer = server.post(WEAK)
    assert (answer.status_code, answer.headers["x-turnout-fallback"]) == (200, "connect")


@pytest.mark.parametrize("begun", ["nothing", "head", "half a body"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_connection_lost_before_the_client_got_a_byte_falls_back(server, upstream, begun, is_stream):
    async def script(exchange):
        if begun == "head" or (begun == "half a body" and is_stream):
            await exchange.begin_stream()
        elif begun == "half a body":
            await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{")
        exchange.abort()

    upstream.by_model["small"] = script
    answer = server.post({**WEAK, "stream": is_stream})
    assert (answer.status_code, answer.headers["x-turnout-fallback"]) == (200, "lost")
    assert "big" in answer.text


def test_without_fallback_the_clients_gets_the_upstreams_error(start, upstream):
    upstream.default = refuse(503, retry_after="7")
    answer = start(server={"fallback": False}).post(WEAK)
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "scripted 503")
    assert answer.headers["retry-after"] == "7"
    assert upstream.models == ["small"]  # 7 seconds are not waited for, so there was no second attempt


def test_when_both_fail_the_last_error_is_told(server, upstream):
    upstream.default = abort
    answer = server.post(WEAK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_lost")
    assert upstream.models == ["small", "small", "big", "big"]


def test_plain_names_have_nobody_to_fall_back_to(server, upstream):
    upstream.default = refuse(500)
    assert server.post({"model": "big", "messages": HELLO}).status_code == 500
    assert upstream.models == ["big"]


@pytest.mark.parametrize("fault", [refuse(429), refuse(503), abort])
def test_a_repeat_is_safe_where_no_answer_was_begun(server, upstream, fault):
    upstream.scripts = [fault]
    answer = server.post(WEAK)
    assert answer.headers["x-turnout-model"] == "small"
    assert "x-turnout-fallback" not in answer.headers
    assert upstream.models == ["small", "small"]


@pytest.mark.parametrize("status", [500, 502, 504])
def test_what_may_have_been_done_already_is_not_repeated(server, upstream, status):
    upstream.scripts = [refuse(status)]
    server.post(WEAK)
    assert upstream.models == ["small", "big"]


@pytest.mark.parametrize("status", [404, 409, 410])
def test_a_model_that_the_upstream_does_not_have_leads_to_the_other(server, upstream, status):
    upstream.by_model["small"] = refuse(status)
    for _ in range(7):
        answer = server.post(WEAK)
        assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", str(status))
    assert not server.state.snapshot.upstreams["main"].breaker("small").is_open
    answer = server.post({**WEAK, "model": "small"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (status, f"scripted {status}")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_errors_of_the_request_are_neither_repeated_nor_handed_on(server, upstream, status):
    upstream.default = refuse(status)
    assert server.post(WEAK).status_code == status
    assert upstream.models == ["small"]


def test_the_first_byte_must_come_in_time(start, upstream):
    upstream.by_model["small"] = hang
    server = start(upstreams={"main": {"base_url": upstream.base_url, "first_byte_timeout_s": 0.1}})
    answer = server.post(WEAK)
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", "first_byte_timeout")
    assert upstream.models == ["small", "big"]


def test_a_time_out_without_fallback_is_504(start, upstream):
    upstream.default = hang
    server = start(
        upstreams={"main": {"base_url": upstream.base_url, "first_byte_timeout_s": 0.05}}, server={"fallback": False}
    )
    assert (server.post(WEAK).status_code, server.post(WEAK).json()["error"]["code"]) == (
        504,
        "upstream_first_byte_timeout",
    )


def test_an_answer_must_be_complete_in_time(start, upstream):
    async def dripping(exchange):
        await exchange.begin_stream()
        while not exchange.is_gone.is_set():
            await exchange.chunk(event({"content": "x"}))
            await asyncio.sleep(0.02)

    upstream.default = dripping
    server = start(upstreams={"main": {"base_url": upstream.base_url, "total_timeout_s": 0.3}})
    with pytest.raises(openai.APIError, match="interrupted"):
        list(server.openai().chat.completions.create(**WEAK, stream=True))
    wait_until(lambda: upstream.gone == 1)


def test_a_stream_that_breaks_off_tells_the_client_and_is_not_begun_anew(server, upstream):
    async def breaking(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "once"}))
        exchange.abort()

    upstream.default = breaking
    stream = iter(server.openai().chat.completions.create(**WEAK, stream=True))
    assert next(stream).choices[0].delta.content == "once"
    with pytest.raises(openai.APIError, match="interrupted"):
        next(stream)
    assert len(upstream.requests) == 1
    assert server.metric("turnout_errors_total", code="stream_lost") == 1


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_client_that_goes_cancels_the_upstream_call(server, upstream, is_stream):
    async def script(exchange):
        if exchange.json.get("stream"):
            await exchange.begin_stream()
            await exchange.chunk(event({"content": "x"}))
        await exchange.is_gone.wait()

    upstream.default = script
    with httpx.Client() as client:
        try:
            with client.stream(
                "POST", server.url + "/v1/chat/completions", json={**WEAK, "stream": is_stream}, timeout=0.5
            ) as answer:
                next(answer.iter_bytes())
        except httpx.ReadTimeout:
            pass
    wait_until(lambda: upstream.gone == 1)
    wait_until(lambda: server.state.in_flight == 0)
    assert server.state.snapshot.upstreams["main"].in_flight == 0


def test_the_circuit_opens_and_closes_again(start, tables, upstream, two_upstreams):
    tables["upstreams"]["other"] |= {"breaker_failures": 2, "breaker_open_s": 3.0, "retries": 0}
    server = start()
    two_upstreams.default = refuse(500)
    for _ in range(4):
        assert server.post(WEAK).headers["x-turnout-model"] == "big"
    assert len(two_upstreams.requests) == 2
    assert server.metric("turnout_fallbacks_total", chosen="small", served="big", reason="breaker_open") == 2
    assert 'turnout_breaker_open{model="small",upstream="other"} 1.0' in httpx.get(server.admin_url + "/metrics").text
    two_upstreams.default = lambda exchange: exchange.whole(200, completion("small", "back"))
    wait_until(lambda: server.post(WEAK).headers["x-turnout-model"] == "small")


def test_an_open_circuit_without_fallback_is_503_with_retry_after(start, upstream):
    upstream.default = refuse(500)
    server = start(
        upstreams={"main": {"base_url": upstream.base_url, "breaker_failures": 1, "retries": 0}},
        server={"fallback": False},
    )
    server.post(WEAK)
    answer = server.post(WEAK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_breaker_open")
    assert 1 <= int(answer.headers["retry-after"]) <= 10


def test_a_half_open_circuit_lets_one_request_through():
    now = [0.0]
    breaker = CircuitBreaker(2, 10.0, lambda: now[0])

    def allowed() -> int:
        token = breaker.allow()
        assert token is not None
        return token

    for _ in range(2):
        breaker.failed(allowed())
    assert breaker.allow() is None
    now[0] = 10.0
    probe = allowed()
    assert breaker.allow() is None
    breaker.abandoned(probe)
    breaker.failed(allowed())
    assert breaker.allow() is None
    assert breaker.remaining_s() == 10.0
    now[0] = 20.0
    breaker.succeeded(allowed())
    allowed()


@pytest.mark.parametrize("result", ["succeeded", "failed", "abandoned"])
@pytest.mark.parametrize("when", [5.0, 12.0])
def test_a_request_from_before_the_circuit_opened_is_not_the_probe(result, when):
    now = [0.0]
    breaker = CircuitBreaker(1, 10.0, lambda: now[0])
    early, late = breaker.allow(), breaker.allow()
    breaker.failed(early)
    now[0] = when
    probe = breaker.allow()
    assert (probe is None) == (when < 10)
    getattr(breaker, result)(late)
    assert breaker.is_open
    assert breaker.remaining_s() == max(0, 10 - when)
    assert breaker.allow() is None
    if probe is not None:
        breaker.succeeded(probe)
        assert not breaker.is_open
        breaker.failed(late)
        assert not breaker.is_open


@pytest.mark.parametrize("limit", ["server", "upstream"])
def test_requests_in_flight_are_bounded(start, upstream, limit):
    upstream.default = hang
    added = (
        {"server": {"max_concurrency": 1}}
        if limit == "server"
        else {
            "upstreams": {"main": {"base_url": upstream.base_url, "max_concurrency": 1}},
            "server": {"fallback": False},
        }
    )
    server = start(**added)
    thread = threading.Thread(target=server.post, args=(WEAK,), daemon=True)
    thread.start()
    wait_until(lambda: len(upstream.requests) == 1)
    answer = server.post(WEAK)
    upstream.requests[0].abort()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert httpx.get(server.url + "/health").status_code == 200


def test_bodies_are_bounded_with_and_without_a_length(start, upstream):
    server = start(server={"max_body_bytes": 1000})
    large = json.dumps({**WEAK, "x": "y" * 2000}).encode()
    assert server.post(large).status_code == 413
    chunked = httpx.post(server.url + "/v1/chat/completions", content=iter([large[:500], large[500:]]))
    assert (chunked.status_code, chunked.json()["error"]["code"]) == (413, "body_too_large")
    assert not upstream.requests


def test_reload_takes_new_thresholds_and_keeps_old_ones_where_the_new_are_wrong(server, upstream):
    server.tables = {**server.tables, "aliases": {"auto": {"router": "mf", "threshold": 1.0}}}
    assert httpx.post(server.admin_url + "/admin/reload").status_code == 200
    assert server.post({"model": "auto", "messages": HELLO}).headers["x-turnout-model"] == "small"
    server.tables = {**server.tables, "aliases": {"auto": {"router": "mf", "threshold": 7.0}}}
    answer = httpx.post(server.admin_url + "/admin/reload")
    assert (answer.status_code, "expected less than or equal to 1" in answer.text) == (409, True)
    assert server.post({"model": "auto", "messages": HELLO}).status_code == 200
    assert server.metric("turnout_reloads_total", outcome="failed") == 1


def test_reload_takes_a_new_artifact_and_refuses_a_damaged_one(start, tables, artifact, tmp_path, edit_manifest):
    folder = shutil.copytree(artifact, tmp_path / "router")
    tables["routers"]["mf"] = {"path": str(folder)}
    server = start()
    before = server.state.routers["mf"].artifact_hash
    edit_manifest(folder, lambda manifest: manifest.update(name="newer"))
    told = httpx.post(server.admin_url + "/admin/reload").json()
    after = told["routers"]["mf"]
    assert before != after
    (folder / "model.onnx").write_bytes(b"damaged")
    assert httpx.post(server.admin_url + "/admin/reload").status_code == 409
    assert server.post(WEAK).status_code == 200
    assert server.state.routers["mf"].artifact_hash == after


def test_reload_drops_no_request_in_flight_even_where_its_upstream_changed(server, upstream):
    go = threading.Event()

    async def waiting(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "begun"}))
        while not go.is_set():
            await asyncio.sleep(0.01)
        await exchange.chunk(event({"content": "ended"}) + b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    upstream.scripts = [waiting]
    stream = iter(server.openai().chat.completions.create(**WEAK, stream=True))
    assert next(stream).choices[0].delta.content == "begun"
    before = server.state.snapshot.upstreams["main"]
    changed = {"main": {**server.tables["upstreams"]["main"], "retries": 3}}
    server.tables = {**server.tables, "upstreams": changed}
    assert httpx.post(server.admin_url + "/admin/reload").status_code == 200
    assert server.post(WEAK).status_code == 200
    go.set()
    assert [chunk.choices[0].delta.content for chunk in stream] == ["ended"]
    wait_until(lambda: before._session is None)


def test_an_upstream_that_did_not_change_keeps_its_connections_over_a_reload(server, upstream):
    server.post(WEAK)
    httpx.post(server.admin_url + "/admin/reload")
    server.post(WEAK)
    assert upstream.connections == 1


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_is_not_followed_but_named_and_another_model_answers(server, upstream, caplog, status):
    with ScriptedUpstream() as elsewhere:
        target = f"{elsewhere.base_url}/chat/completions"
        upstream.by_model["small"] = refuse(status, location=f"{target}?token=hidden")
        answer = server.post(WEAK)
        assert (answer.status_code, answer.headers["x-turnout-fallback"]) == (200, "redirect")
        assert target in caplog.text
        assert "hidden" not in caplog.text
        upstream.default = refuse(status)
        answer = server.post(WEAK)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_redirect")
        assert not elsewhere.requests


@pytest.mark.parametrize("status", [101, 600, 999])
def test_a_status_that_means_nothing_is_a_failure(server, upstream, status):
    upstream.by_model["small"] = refuse(status)
    answer = server.post(WEAK)
    assert (answer.status_code, answer.headers["x-turnout-fallback"]) == (200, "status")
    upstream.default = refuse(status)
    assert (server.post(WEAK).status_code, server.post(WEAK).json()["error"]["code"]) == (502, "upstream_status")
