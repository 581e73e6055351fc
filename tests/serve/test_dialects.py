"""Messages and Responses beside Chat Completions, through the official clients: one pipeline, three dialects."""

from __future__ import annotations

import base64
import json
from functools import partial
from itertools import product

import anthropic
import httpx
import openai
import pytest
from scripted_upstream import Exchange, refuse, wait_until
from tests.serve.dialects import HELLO, SPOKEN, named, speak, streaming

ALL = ["chat", "messages", "responses"]


@pytest.fixture(params=ALL)
def spoken(request):
    """Each dialect."""
    return SPOKEN[request.param]


@pytest.fixture
def speaking(upstream, tables):
    """Both models speak every dialect."""
    upstream.default = speak
    for model in tables["models"].values():
        model["dialects"] = ALL
    tables["upstreams"]["main"]["breaker_failures"] = 1000
    return upstream


def test_the_official_client_gets_an_answer_of_the_routed_model(start, speaking, spoken):
    client = spoken.client(start().url)
    for model, name in (("router-mf-0.0", "big"), ("router-mf-1.0", "small")):
        raw = spoken.create(client).with_raw_response.create(**spoken.body(model))
        assert spoken.text(raw.parse()) == f"I am {name}"
        assert raw.headers["x-turnout-model"] == name
        assert raw.headers["x-request-id"]
    assert [one.target for one in speaking.requests] == [spoken.path] * 2


async def test_the_asynchronous_client_streams_and_does_not(start, speaking, spoken):
    async with spoken.async_client(start().url) as client:
        whole = await spoken.create(client).create(**spoken.body())
        assert spoken.text(whole) == "I am small"
        stream = await spoken.create(client).create(**spoken.body(stream=True))
        assert "".join([spoken.word(chunk) async for chunk in stream]) == "I am small"


def test_a_stream_is_relayed_byte_for_byte(start, speaking, spoken):
    answer = start().post(spoken.body(stream=True), spoken.path)
    assert answer.content == b"".join(spoken.stream("small", ("I", " am ", "small")))
    assert answer.headers["content-type"] == "text/event-stream"


def test_events_arrive_before_the_answer_is_complete(start, speaking, spoken):
    events = spoken.stream("small", ("first",))
    speaking.default = streaming(*events[: spoken.first + 1], ends="stall")
    stream = spoken.create(spoken.client(start().url)).create(**spoken.body(stream=True))
    assert next(word for chunk in stream if (word := spoken.word(chunk))) == "first"
    stream.close()


def test_helpers_of_the_clients_accumulate_a_stream(start, speaking):
    url = start().url
    with SPOKEN["messages"].client(url).messages.stream(max_tokens=9, model="router-mf-1.0", messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "I am small"
        assert stream.get_final_message().usage.output_tokens == 2
    with SPOKEN["responses"].client(url).responses.stream(model="router-mf-1.0", input="Hello!") as found:
        assert [one.delta for one in found if one.type == "response.output_text.delta"] == ["I", " am ", "small"]
        assert found.get_final_response().output_text == "I am small"


BODIES = {
    "messages": b'{ "max_tokens":1.0e3,"model" :\t"router-mf-1.0","system":[{"type":"text","text":"\\u4e2d","cache_control":{"type":"ephemeral"}}],'
    b'"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","data":"AAAA"}},{"type":"text","text":"Hi"}]},'
    b'{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"Eq+/"},{"type":"redacted_thinking","data":"c=="},'
    b'{"type":"tool_use","id":"t1","name":"f","input":{"model":"router-mf-1.0","n":1.50}}]},'
    b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"ok"}]}]}],'
    b'"thinking":{"type":"enabled","budget_tokens":1024},"tools":[{"name":"f","input_schema":{"properties":{"model":{"type":"string"}}}}],"x":1E400}',
    "responses": b'{"input":[{"role":"user","content":[{"type":"input_text","text":"Hi"}]},{"type":"reasoning","encrypted_content":"gAAA==",'
    b'"summary":[]},{"type":"function_call","name":"f","call_id":"c1","arguments":"{\\"model\\":\\"x\\"}"},'
    b'{"type":"function_call_output","call_id":"c1","output":"ok"}],"include":["reasoning.encrypted_content"],"store":false,'
    b'"tools":[{"type":"function","name":"f","parameters":{"model":{"model":"router-mf-1.0"}}}],"model"\n:"router-mf-1.0","temperature":1.000}',
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_every_byte_but_the_models_name_is_forwarded(start, speaking, name):
    body = BODIES[name].replace(b"1E400", b"1E300")
    assert start().post(body, SPOKEN[name].path).status_code == 200
    at = body.index(b'"model" :\t' if name == "messages" else b'"model"\n:')
    expected = body[:at] + body[at:].replace(b"router-mf-1.0", b"small", 1)
    assert speaking.requests[0].body == expected


@pytest.mark.parametrize("name", ["messages", "responses"])
def test_a_second_model_key_is_refused_wherever_it_is(start, speaking, name):
    spoken = SPOKEN[name]
    tools = b'"tools":[{"model":{"model":"router-mf-1.0"}}],'
    rest = json.dumps(spoken.body())[1:].encode()
    server = start()
    for twice in (b'{"model":"big",', b'{"model":"router-mf-1.0",', b'{"mode\\u006c":"big",', b'{"model":{"a":1},'):
        for more in (b"", tools):
            answer = server.post(twice + more + rest, spoken.path)
            assert (answer.status_code, "2 times" in answer.text) == (400, True), answer.text
    assert not speaking.requests


def test_headers_of_a_dialect_go_on_and_those_of_others_do_not(start, speaking, spoken):
    headers = {
        "anthropic-version": "2023-06-01", "anthropic-beta": "a,b", "openai-beta": "responses=1", "session_id": "s1",
        "session-id": "s1", "thread-id": "t1",
        "traceparent": "00-1", "x-api-key": "client", "authorization": "Bearer client", "cookie": "c", "x-other": "1",
    }  # fmt: skip
    start().post(spoken.body(), f"{spoken.path}?beta=true&key=1", headers=headers)
    arrived = speaking.requests[0]
    own = {
        "chat": {"openai-beta"},
        "messages": {"anthropic-version", "anthropic-beta"},
        "responses": {"openai-beta", "session_id", "session-id", "thread-id"},
    }
    assert arrived.headers.keys() & headers.keys() == {"traceparent", *own[spoken.name]}
    assert arrived.target == spoken.path + ("?beta=true" if spoken.name == "messages" else "")


def test_a_header_that_comes_twice_is_joined(start, speaking):
    spoken = SPOKEN["messages"]
    headers = [("anthropic-beta", "a"), ("anthropic-beta", "b")]
    start().post(spoken.body(), spoken.path, headers=httpx.Headers(headers))
    assert speaking.requests[0].headers["anthropic-beta"] == "a, b"


@pytest.mark.parametrize("configured", ["", "authorization", "api-key"])
def test_the_key_is_in_the_header_of_the_dialect_or_the_configured_one(
    start, speaking, spoken, monkeypatch, configured
):
    monkeypatch.setenv("UPSTREAM_KEY", "k" * 20)
    settings = {"base_url": speaking.base_url, "key_env": "UPSTREAM_KEY", "key_header": configured}
    start(upstreams={"main": settings}).post(spoken.body(), spoken.path)
    name = configured or ("x-api-key" if spoken.name == "messages" else "authorization")
    expected = "bearer " + "k" * 20 if name == "authorization" else "k" * 20
    found = {one: speaking.requests[0].headers.get(one) for one in ("authorization", "x-api-key", "api-key")}
    assert found == {"authorization": None, "x-api-key": None, "api-key": None, name: expected}


def test_ids_and_rate_limits_of_the_upstream_reach_the_client(start, speaking):
    spoken = SPOKEN["messages"]
    speaking.default = partial(
        Exchange.whole,
        status=200,
        body=spoken.whole("m", "x"),
        request_id="req_up",
        anthropic_ratelimit_tokens_remaining="5",
    )
    raw = spoken.client(start().url).messages.with_raw_response.create(**spoken.body())
    assert (raw.parse()._request_id, raw.headers["anthropic-ratelimit-tokens-remaining"]) == ("req_up", "5")


def test_a_clients_key_may_be_in_x_api_key(start, speaking, spoken, tmp_path):
    from turnout.serve.http.client_keys import key_hash

    (tmp_path / "keys").write_text(f"team:{key_hash('client-key-0123456789')}\n")
    url = start(server={"client_keys_file": str(tmp_path / "keys")}).url
    assert spoken.text(spoken.create(spoken.client(url, api_key="client-key-0123456789")).create(**spoken.body()))
    caught = anthropic.AuthenticationError if spoken.name == "messages" else openai.AuthenticationError
    with pytest.raises(caught, match="invalid key"):
        spoken.create(spoken.client(url, api_key="other")).create(**spoken.body())
    assert len(speaking.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503, 529])
def test_errors_are_those_that_the_client_raises_for_the_status(start, speaking, spoken, status):
    speaking.default = refuse(status)
    with pytest.raises(spoken.error) as caught:
        spoken.create(spoken.client(start(server={"fallback": False}).url)).create(**spoken.body())
    assert caught.value.status_code == (502 if status in (401, 403) else status)
    body = caught.value.body
    error = body["error"] if spoken.name == "messages" else body
    if spoken.name == "messages":
        assert (body["type"], set(error)) == ("error", {"type", "message"})
        assert body["request_id"] == caught.value.request_id
    assert str(status) in error["message"]


def test_the_servers_own_errors_have_the_dialects_shape(start, speaking, spoken):
    server = start(server={"max_body_bytes": 2000})
    for body, status, words in (
        (b"{", 400, "not JSON"),
        (spoken.body("nobody"), 404, "unknown model"),
        (spoken.body("router-mf-2"), 400, "between 0 and 1"),
        (spoken.body(stream=1), 400, "expected true or false"),
        ({"model": "router-mf-0"}, 400, f"{spoken.conversation} is null"),
        (spoken.body(metadata="x" * 3000), 413, "larger than the limit"),
    ):
        answer = server.post(body, spoken.path)
        assert (answer.status_code, words in answer.text) == (status, True), answer.text
        if spoken.name == "messages":
            kinds = {400: "invalid_request_error", 404: "not_found_error", 413: "request_too_large"}
            assert answer.json()["error"]["type"] == kinds[status]
            assert answer.json()["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]
        else:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert httpx.get(server.url + spoken.path).status_code == 405
    assert (httpx.get(server.url + spoken.path).json().get("type") == "error") == (spoken.name == "messages")
    assert not speaking.requests


def test_only_models_that_speak_the_dialect_are_candidates(start, speaking, spoken):
    others = [name for name in ALL if name != spoken.name]
    models = {"small": {"upstream": "main", "dialects": others}, "big": {"upstream": "main", "dialects": ALL}}
    server = start(models=models)
    answer = server.post(spoken.body(), spoken.path)
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-pinned"]) == ("big", spoken.name)
    speaking.by_model["big"] = refuse(500)
    assert server.post(spoken.body(), spoken.path).status_code == 500
    assert speaking.models == ["big", "big"]
    none = start(models={name: {"upstream": "main", "dialects": others} for name in ("big", "small")})
    for model in ("router-mf-1.0", "small"):
        answer = none.post(spoken.body(model), spoken.path)
        assert (answer.status_code, f"no model for the {spoken.name} dialect" in answer.text) == (400, True)
        assert (answer.json().get("type") == "error") == (spoken.name == "messages")
    assert speaking.models == ["big", "big"]


def test_tools_and_images_pin_in_every_dialect(start, speaking, spoken):
    models = {"small": {"upstream": "main", "dialects": ALL, "capabilities": []}}
    server = start(models=models)
    part = {"chat": "image_url", "messages": "image", "responses": "input_image"}[spoken.name]
    image = {spoken.conversation: [{"role": "user", "content": [{"type": part}]}]}
    assert server.post({**spoken.body(), **image}, spoken.path).headers["x-turnout-pinned"] == "images"
    tools = [{"type": "function", "name": "f"}]
    assert server.post(spoken.body(tools=tools), spoken.path).headers["x-turnout-pinned"] == "tools"


def test_tool_use_and_thinking_come_through_the_clients(start, speaking):
    block = {"type": "thinking", "thinking": "hm", "signature": "Eq+/="}
    use = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "中"}}
    found = json.loads(SPOKEN["messages"].whole("m", ""))
    speaking.default = partial(
        Exchange.whole,
        status=200,
        body=json.dumps({**found, "content": [block, use], "stop_reason": "tool_use"}).encode(),
    )
    url = start().url
    answer = (
        SPOKEN["messages"]
        .client(url)
        .messages.create(**SPOKEN["messages"].body(tools=[{"name": "weather", "input_schema": {"type": "object"}}]))
    )
    assert answer.content[0].signature == "Eq+/="
    assert (answer.content[1].name, answer.content[1].input) == ("weather", {"city": "中"})
    call = {
        "type": "function_call",
        "id": "f1",
        "call_id": "c1",
        "name": "weather",
        "arguments": "{}",
        "status": "completed",
    }
    reasoning = {"type": "reasoning", "id": "r1", "summary": [], "encrypted_content": "gAAA="}
    body = SPOKEN["responses"].whole("m", "")
    speaking.default = partial(
        Exchange.whole, status=200, body=json.dumps({**json.loads(body), "output": [reasoning, call]}).encode()
    )
    output = SPOKEN["responses"].client(url).responses.create(**SPOKEN["responses"].body()).output
    assert (output[0].encrypted_content, output[1].name) == ("gAAA=", "weather")


@pytest.mark.parametrize("name", ["messages", "responses"])
def test_tokens_are_counted_by_the_model_that_would_answer_and_are_no_decision(start, speaking, name):
    server = start()
    client = SPOKEN[name].client(server.url)
    if name == "messages":
        path = "/v1/messages/count_tokens"
        count = partial(client.messages.with_raw_response.count_tokens, messages=HELLO)
    else:
        path = "/v1/responses/input_tokens"
        count = partial(client.responses.input_tokens.with_raw_response.count, input=HELLO)
    raw = count(model="router-mf-1.0")
    assert (raw.parse().input_tokens, raw.headers["x-turnout-model"]) == (7, "small")
    assert speaking.requests[0].target == path
    assert server.state.recent.count == 0
    body = b'{ "input":"Hi",\t"messages": [{"role": "user", "content": "Hi"}], "x":1.50, "model" : "small"}'
    httpx.post(server.url + path, content=body).raise_for_status()
    assert speaking.requests[-1].body == body
    speaking.by_model["small"] = partial(Exchange.whole, status=200, body=b'{"input_tokens": "7"}')
    assert count(model="router-mf-1.0").headers["x-turnout-fallback"] == "no_count"


def whole_failures(spoken):
    """Bodies with status 200 that are no answer, with the reason."""
    empty = json.loads(spoken.whole("m", "x"))
    for field in ("choices", "content", "output"):
        empty.pop(field, None)
    stream = b"".join(spoken.stream("m", ("x",)))
    yield json.dumps(empty).encode(), spoken.without_content
    yield b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}', "error_in_answer"
    yield b'{"error": {"message": "Provider returned error", "code": 502}}', "error_in_answer"
    yield from ((b"", "empty_answer"), (b" \n", "empty_answer"), (b"<html>", "not_json"), (b"[1]", "not_json"))
    yield spoken.whole("m", "x")[:40], "not_json"
    yield stream, "not_json"
    yield b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "not_json"
    for other in SPOKEN.values():
        if other is not spoken:
            yield other.whole("m", "x"), spoken.without_content
    if spoken.name == "responses":
        failed = {"code": "server_error", "message": "x"}
        yield spoken.whole("m", "", status="failed", output=[], error=failed), "error_in_answer"


def stream_failures(spoken):
    """Streams that are none, with the reason."""
    before = b"".join(spoken.stream("m", ("x",))[: spoken.before])
    error = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    yield b"data: " + error + b"\n\n", "error_in_answer"
    yield before + b": wait\n\nevent: error\r\ndata: " + error + b"\r\n\r\n", "error_in_answer"
    yield error, "error_in_answer"
    yield b"", "empty_answer"
    yield b": a\n\n: b\n\n", spoken.without_content
    yield b"<html>\n\n</html>", "not_a_stream"
    yield b"data: Please sign in\n\n", "not_a_stream"
    yield b'data: {"detail": "not found"}\n\n', spoken.without_content
    yield b'data: {"typ', spoken.without_content
    yield spoken.whole("m", "x"), "not_a_stream"
    if before:
        yield before, spoken.without_content
    if spoken.name == "responses":
        failed = json.loads(spoken.whole("m", "", status="failed", output=[], error={"code": "x", "message": "y"}))
        yield before + named("response.failed", response=failed), "error_in_answer"
        yield before + named("error", code="rate_limit_exceeded", message="slow down", param=None), "error_in_answer"
    for other in SPOKEN.values():
        if other is not spoken and "chat" in (spoken.name, other.name):
            yield b"".join(other.stream("m", ("x",))), spoken.without_content


def test_another_model_answers_for_an_answer_that_is_none(start, speaking, spoken):
    server = start()
    client = spoken.client(server.url)
    for body, reason in whole_failures(spoken):
        speaking.by_model["small"] = partial(Exchange.whole, status=200, body=body)
        found = spoken.create(client).with_raw_response.create(**spoken.body())
        assert (spoken.text(found.parse()), found.headers["x-turnout-fallback"]) == ("I am big", reason), body
    assert server.state.snapshot.upstreams["main"].in_flight == 0


def test_another_model_answers_for_a_stream_that_is_none(start, speaking, spoken):
    server = start()
    client = spoken.client(server.url)
    for body, reason in stream_failures(spoken):
        speaking.by_model["small"] = streaming(*([body] if body else []))
        found = spoken.create(client).with_raw_response.create(**spoken.body(stream=True))
        assert found.headers["x-turnout-fallback"] == reason, body
        assert "".join(spoken.word(chunk) for chunk in found.parse()) == "I am big"
    wait_until(lambda: server.state.snapshot.upstreams["main"].in_flight == 0)


@pytest.mark.parametrize("is_stream", [False, True])
def test_without_another_model_the_error_of_an_answer_reaches_the_client(start, speaking, spoken, is_stream):
    error = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded", "code": 529}}'
    speaking.default = partial(Exchange.whole, status=200, body=error)
    with pytest.raises(spoken.error, match="Overloaded") as caught:
        spoken.create(spoken.client(start(server={"fallback": False}).url)).create(**spoken.body(stream=is_stream))
    assert caught.value.status_code == 529


def cuts(spoken):
    """Where a stream may break after its first word."""
    events = spoken.stream("m", ("one", "two" * 20))
    first = b"".join(events[: spoken.first + 1])
    second = events[spoken.first + 1]
    lines = second.replace(b'"m"', b'\ndata: "m"').replace(b'"delta"', b'\ndata: "delta"', 1)
    return first, {
        "between events": b"",
        "after a comment": b": wait\n\n",
        "within a field": b"dat",
        "within JSON": second[:60],
        "within a string": second[:-30],
        "before the empty line": second[:-1],
        "between lines": lines[: lines.index(b'\ndata: "delta') + 1] if b'\ndata: "delta' in lines else second[:20],
        "within CRLF": second.replace(b"\n", b"\r\n")[:-1],
    }


async def read(spoken, client):
    """The words that a client gets, and the exception that it raises."""
    words = []

    async def consume():
        async for chunk in await spoken.create(client).create(**spoken.body(stream=True)):
            words.append(spoken.word(chunk))  # noqa: PERF401 - the ones before the error count

    with pytest.raises(spoken.error, match="interrupted") as caught:
        await consume()
    return "".join(words), caught.value


@pytest.mark.parametrize("ends", ["reset", "stall"])
async def test_a_stream_cut_anywhere_ends_with_an_error_that_clients_raise(start, speaking, spoken, ends):
    settings = {"base_url": speaking.base_url, "breaker_failures": 1000}
    if ends == "stall":
        settings["idle_timeout_s"] = 0.5
    server = start(upstreams={"main": settings})
    first, parts = cuts(spoken)
    async with spoken.async_client(server.url) as client:
        for part in parts.values():
            speaking.default = streaming(first, *([part] if part else []), ends=ends)
            words, error = await read(spoken, client)
            assert words == "one"
            assert not isinstance(error, openai.APIConnectionError | anthropic.APIConnectionError)
    assert len(speaking.requests) == len(parts)  # Nothing was sent again.
    reason = "idle_timeout" if ends == "stall" else "lost"
    assert server.metric("turnout_errors_total", code=f"stream_{reason}") == len(parts)
    wait_until(lambda: server.state.snapshot.upstreams["main"].in_flight == 0)


@pytest.mark.parametrize("name", ["messages", "responses"])
async def test_a_stream_without_its_last_event_is_cut_too(start, speaking, name):
    spoken = SPOKEN[name]
    events = spoken.stream("m", ("one",))
    async with spoken.async_client(start().url) as client:
        for end in (events[:-1], [*events[:-1], b": bye\n\n"], [*events[:-1], events[-1][:30]]):
            speaking.default = streaming(*end)
            assert (await read(spoken, client))[0] == "one"


@pytest.mark.parametrize("name", ["messages", "responses"])
def test_the_last_event_may_lack_its_empty_line_or_be_followed_by_another(start, speaking, name):
    spoken = SPOKEN[name]
    server = start()
    events = spoken.stream("m", ("one",))
    for last in ([events[-1][:-1]], [events[-1][:-2]], [events[-1], b"data: [DONE]\n\n"]):
        speaking.default = streaming(*events[:-1], *last)
        content = server.post(spoken.body(stream=True), spoken.path).content
        assert content.startswith(b"".join([*events[:-1], *last]).rstrip())
        assert b"interrupted" not in content


def test_an_error_in_the_middle_of_a_stream_is_relayed_and_counted(start, speaking, spoken):
    server = start()
    events = spoken.stream("m", ("one",))
    error = {"message": "Overloaded", "type": "overloaded_error", "code": None, "param": None}
    last = named("error", error=error) if spoken.name != "chat" else b'data: {"error": {"message": "Overloaded"}}\n\n'
    # The client leaves at the error, before the stream ends.
    speaking.default = streaming(*events[:-1], last, ends="stall")
    with pytest.raises(spoken.error, match="Overloaded"):
        list(spoken.create(spoken.client(server.url)).create(**spoken.body(stream=True)))
    wait_until(lambda: server.metric("turnout_errors_total", code="stream_error_event") == 1)


def test_a_failed_response_in_the_middle_of_a_stream_is_relayed_as_it_is(start, speaking):
    spoken = SPOKEN["responses"]
    events = spoken.stream("m", ("one",))
    failed = json.loads(spoken.whole("m", "", status="failed", error={"code": "server_error", "message": "x"}))
    last = named("response.failed", response=failed, sequence_number=9)
    speaking.default = streaming(*events[:-1], last)
    server = start()
    assert server.post(spoken.body(stream=True), spoken.path).content == b"".join([*events[:-1], last])
    wait_until(lambda: server.metric("turnout_errors_total", code="stream_error_event") == 1)


def test_the_error_event_of_an_interrupted_response_continues_its_numbers(start, speaking):
    spoken = SPOKEN["responses"]
    events = spoken.stream("m", ("one",))
    speaking.default = streaming(*events[:5], ends="reset")
    content = start().post(spoken.body(stream=True), spoken.path).content
    last = json.loads(content.rpartition(b"data: ")[2])
    assert (last["type"], last["sequence_number"], last["code"]) == ("error", 5, "upstream_lost")
    assert last["error"]["message"] == last["message"]


def test_the_models_are_listed_in_the_shape_of_the_client(start, speaking):
    server = start(aliases={"auto": {"router": "mf"}})
    names = ["router-mf", "router-random", "auto", "big", "small"]
    client = SPOKEN["messages"].client(server.url)
    assert [one.id for one in client.models.list()] == names
    assert [one.id for one in client.models.list(limit=2)] == names
    assert [one.id for one in client.models.list(limit=2).data] == names[:2]
    assert [one.id for one in client.models.list(limit=2, before_id="big").data] == names[1:3]
    assert client.models.retrieve("router-mf-0.5").display_name == "router-mf-0.5"
    assert [one.id for one in SPOKEN["chat"].client(server.url).models.list()] == names
    with pytest.raises(anthropic.NotFoundError, match="unknown model"):
        client.models.retrieve("nobody")
    for query in (
        "limit=0",
        "limit=x",
        "limit=1001",
        "limit=0000000019999",
        "limit=000000001" + "1" * 5000,
        "after_id=nobody",
    ):
        found = httpx.get(f"{server.url}/v1/models?{query}", headers={"anthropic-version": "2023-06-01"})
        assert (found.status_code, found.json()["error"]["type"]) == (400, "invalid_request_error")


KEY = "sk-Secret/Key+0123456789=="


@pytest.mark.parametrize("name", ["messages", "responses"])
def test_the_key_of_the_upstream_is_in_no_answer_of_any_dialect(start, speaking, monkeypatch, name):
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    spoken = SPOKEN[name]
    settings = {"base_url": speaking.base_url, "key_env": "UPSTREAM_KEY", "retries": 0, "breaker_failures": 1000}
    server = start(upstreams={"main": settings}, server={"fallback": False})
    encoded = base64.b64encode(KEY.encode()).decode()
    events = spoken.stream("m", ("one",))
    for form in (KEY, encoded, KEY.replace("/", "\\/")):
        error = {"type": "invalid_request_error", "message": f"Incorrect key: {form}", "code": "x"}
        failed = [named("error", error=error, code="x", message=form)]
        if name == "responses":
            failed.append(named("response.failed", response=json.loads(spoken.whole("m", "", error=error))))
        scripts = [
            *(
                partial(Exchange.whole, status=status, body=json.dumps({"error": error}).encode())
                for status in (200, 400, 500)
            ),
            *(streaming(event) for event in failed),
            *(streaming(*events[:-1], event) for event in failed),
        ]
        for script, is_stream in product(scripts, (False, True)):
            speaking.default = script
            answer = server.post(spoken.body(stream=is_stream), spoken.path)
            for found in (answer.text, answer.text.replace("\\", ""), str(answer.headers)):
                assert KEY not in found
                assert encoded not in found
        if name == "responses":
            failed_before = spoken.whole("m", "", error=error, status="failed")
            speaking.default = partial(Exchange.whole, status=200, body=failed_before)
            stored = httpx.get(f"{server.url}/v1/responses/resp_1").text
            assert KEY not in stored.replace("\\", "")
            assert encoded not in stored
    speaking.default = partial(Exchange.whole, status=200, body=spoken.whole("m", f"my key is {KEY}"))
    assert KEY not in server.post(spoken.body(), spoken.path).text


def test_an_overload_is_tried_again_with_the_same_model(start, speaking):
    speaking.scripts = [refuse(529)]
    answer = start().post(SPOKEN["messages"].body(), "/v1/messages")
    assert (answer.status_code, answer.headers["x-turnout-model"]) == (200, "small")
    assert speaking.models == ["small", "small"]
