"""Chat completions through OpenAI's own client: what arrives upstream, and what comes back."""

from __future__ import annotations

import gzip
import json
import time

import openai
import pytest

HELLO = [{"role": "user", "content": "Hello!"}]
STRONG, WEAK = "router-mf-0.0", "router-mf-1.0"


def test_the_threshold_in_the_model_name_chooses_the_model(server, upstream):
    client = server.openai()
    assert client.chat.completions.create(model=STRONG, messages=HELLO).choices[0].message.content == "I am big"
    assert client.chat.completions.create(model=WEAK, messages=HELLO).choices[0].message.content == "I am small"
    assert upstream.models == ["big", "small"]


def test_a_stream_arrives_chunk_by_chunk_as_the_upstream_sent_it(server):
    with server.openai().chat.completions.create(model=WEAK, messages=HELLO, stream=True) as stream:
        assert [chunk.choices[0].delta.content for chunk in stream] == ["I", " am ", "small", None]


def test_chunks_are_relayed_before_the_answer_is_complete(server, upstream):
    from scripted_upstream import event

    async def slow(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "first"}))
        await exchange.is_gone.wait()

    upstream.default = slow
    with server.openai().chat.completions.create(model=WEAK, messages=HELLO, stream=True) as stream:
        assert next(iter(stream)).choices[0].delta.content == "first"


async def test_the_asynchronous_client_streams_and_does_not(server):
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        whole = await client.chat.completions.create(model=STRONG, messages=HELLO)
        assert whole.choices[0].message.content == "I am big"
        stream = await client.chat.completions.create(model=STRONG, messages=HELLO, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "I am big"


def test_tools_images_and_unknown_fields_arrive_untouched(server, upstream):
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"model": {}}}},
    }
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    server.openai().chat.completions.create(
        model=STRONG,
        messages=[{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}],
        tools=[tool],
        tool_choice={"type": "function", "function": {"name": "f"}},
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        extra_body={"unheard_of": {"model": [1, 2.50, None]}},
    )
    arrived = upstream.requests[0].json
    assert arrived["model"] == "big"
    assert arrived["tools"] == [tool]
    assert arrived["messages"][0]["content"][1] == image
    assert arrived["unheard_of"] == {"model": [1, 2.50, None]}
    assert arrived["response_format"]["json_schema"]["name"] == "x"


def test_every_byte_but_the_model_name_is_forwarded(server, upstream):
    body = b'{ "seed":1.0,"messages" : [{"role":"user","content":"\\u4e2d \xe4\xb8\xad"}],\n"model":\t"router-mf-1","x":1e400}'
    server.post(body.replace(b"1e400", b"1e3"))
    assert upstream.requests[0].body == body.replace(b"1e400", b"1e3").replace(b"router-mf-1", b"small")


def test_headers_tell_router_win_rate_threshold_model_and_microseconds(server, router):
    headers = server.post({"model": STRONG, "messages": HELLO}).headers
    assert headers["x-turnout-router"] == "mf"
    assert float(headers["x-turnout-win-rate"]) == router.win_rate("hello")
    assert float(headers["x-turnout-threshold"]) == 0.0
    assert headers["x-turnout-model"] == "big"
    assert float(headers["x-turnout-decision-us"]) > 0
    assert len(headers["x-request-id"]) == 32


def test_a_share_means_the_threshold_of_the_artifact(start, tables):
    import turnout

    tables["routers"]["mf"] = {}
    server = start()
    headers = server.post({"model": "router-mf-share-0.3", "messages": HELLO}).headers
    expected = turnout.load().route("Hello!", strong_share=0.3).threshold
    assert float(headers["x-turnout-threshold"]) == pytest.approx(expected, abs=1e-6)


def test_a_share_of_a_router_without_quantiles_is_refused(server):
    answer = server.post({"model": "router-mf-share-0.3", "messages": HELLO})
    assert (answer.status_code, "router mf: strong_share needs quantiles" in answer.text) == (400, True)


def test_plain_model_names_go_to_their_model_without_a_decision(server, upstream):
    answer = server.post({"model": "small", "messages": HELLO})
    assert upstream.models == ["small"]
    assert "x-turnout-router" not in answer.headers


def test_plain_names_that_nobody_configured_pass_where_an_upstream_takes_them(start, upstream):
    assert start(server={"passthrough": "main"}).post({"model": "new-model", "messages": HELLO}).status_code == 200
    assert upstream.models == ["new-model"]


def test_an_alias_is_a_router_with_a_threshold_and_a_pair(start, upstream):
    aliases = {
        "cheap": {"router": "mf", "threshold": 1.0},
        "odd": {"router": "random", "strong_share": 0.0, "strong": "small", "weak": "big"},
    }
    server = start(aliases=aliases)
    server.post({"model": "cheap", "messages": HELLO})
    server.post({"model": "odd", "messages": HELLO})
    assert upstream.models == ["small", "big"]


def test_the_upstream_has_its_own_name_for_a_model(start, upstream):
    start(models={"small": {"upstream": "main", "name": "org/small-v2"}}).post({"model": WEAK, "messages": HELLO})
    assert upstream.models == ["org/small-v2"]


def test_the_last_user_message_is_routed_on_not_tool_results_or_system_text(server, router):
    messages = [
        {"role": "system", "content": "You prove theorems."},
        {"role": "user", "content": [{"type": "text", "text": "Hello!"}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "1", "content": "a very long result"},
    ]
    headers = server.post({"model": STRONG, "messages": messages}).headers
    assert float(headers["x-turnout-win-rate"]) == router.win_rate("hello")


def test_bare_replies_are_judged_with_what_they_answer_and_in_one_form(server, router):
    asked = [{"role": "user", "content": "Prove that e is irrational."}, {"role": "assistant", "content": "Fully?"}]
    for text in ("yes", "Yes!", "YES.", "go on", "¿Por qué?", "好的。"):
        reply = {"role": "user", "content": text}
        headers = server.post({"model": STRONG, "messages": [*asked, reply]}).headers
        assert float(headers["x-turnout-win-rate"]) == router.win_rate("Prove that e is irrational.")
    for text in ("yes", "Yes!", "YES."):
        alone = server.post({"router": "mf", "prompt": text}, "/v1/route").json()["decisions"][0]["win_rate"]
        headers = server.post({"model": STRONG, "messages": [{"role": "user", "content": text}]}).headers
        assert alone == float(headers["x-turnout-win-rate"]) == router.win_rate("yes")


def test_requests_are_pinned_to_the_model_that_serves_them(start, upstream):
    server = start(models={"small": {"upstream": "main", "capabilities": []}})
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    answer = server.post({"model": WEAK, "messages": image})
    assert answer.headers["x-turnout-pinned"] == "images"
    server.post({"model": WEAK, "messages": HELLO, "tools": [{"type": "function"}]})
    assert upstream.models == ["big", "big"]


def test_what_neither_model_serves_is_refused(start, upstream):
    server = start(models={name: {"upstream": "main", "capabilities": ["tools"]} for name in ("big", "small")})
    audio = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]
    answer = server.post({"model": WEAK, "messages": audio})
    assert answer.status_code == 400
    assert "audio" in answer.json()["error"]["message"]
    assert not upstream.requests


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b"[1]", 400, "expected an object"),
        (b'{"model":"\xff"}', 400, "not JSON"),
        ({"messages": HELLO}, 400, "model is missing"),
        ({"model": 3, "messages": HELLO}, 400, "model is missing or not a string"),
        ({"model": "nobody", "messages": HELLO}, 404, "unknown model 'nobody'"),
        ({"model": "router-nope-0.5", "messages": HELLO}, 400, "available routers: mf, random"),
        ({"model": "router-mf-2", "messages": HELLO}, 400, "between 0 and 1"),
        ({"model": "router-mf-x", "messages": HELLO}, 400, "threshold is 'x', expected a number"),
        ({"model": "router-mf-٠.٥", "messages": HELLO}, 400, "expected a number between 0 and 1"),
        ({"model": "router-mf-0_1", "messages": HELLO}, 400, "expected a number between 0 and 1"),
        ({"model": "router-mf-nan", "messages": HELLO}, 400, "between 0 and 1"),
        ({"model": STRONG}, 400, "messages is null"),
        ({"model": STRONG, "messages": []}, 400, "an empty list"),
        ({"model": STRONG, "messages": [3]}, 400, "messages[0] is of type int"),
        ({"model": STRONG, "messages": [{"role": "system"}]}, 400, "messages have no text to route on"),
        ({"model": STRONG, "messages": [{"role": "user", "content": [{"type": "x"}]}]}, 400, "messages[0].content[0]"),
        ({"model": STRONG, "messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content"),
        (b'{"model":"router-mf-0","model":"big","messages":[{"role":"user","content":"x"}]}', 400, "2 times"),
    ],
)
def test_errors_have_the_shape_of_openai_and_say_what_was_expected(server, upstream, body, status, words):
    answer = server.post(body)
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]


def test_the_client_raises_its_own_exceptions(server):
    client = server.openai()
    with pytest.raises(openai.BadRequestError, match="between 0 and 1"):
        client.chat.completions.create(model="router-mf-2", messages=HELLO)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=HELLO)


def test_errors_of_the_upstream_are_relayed_as_they_are(server, upstream):
    from scripted_upstream import refuse

    upstream.default = refuse(422, x_ratelimit_remaining="3")
    answer = server.post({"model": WEAK, "messages": HELLO})
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, "scripted 422")
    assert answer.headers["x-ratelimit-remaining"] == "3"
    assert len(upstream.requests) == 1


def test_route_decides_one_prompt_or_many_and_calls_nobody(server, upstream, router):
    many = server.post({"model": "router-mf-0.5", "prompt": ["Hello!", "中文"]}, "/v1/route").json()
    assert [one["win_rate"] for one in many["decisions"]] == [router.win_rate("hello"), router.win_rate("中文")]
    assert many["artifact_hash"] == router.artifact_hash
    one = server.post({"router": "mf", "threshold": 1, "prompt": "Hello!"}, "/v1/route").json()["decisions"]
    assert [decision["model"] for decision in one] == ["small"]
    assert server.post({"router": "mf", "messages": HELLO}, "/v1/route").status_code == 200
    assert server.post({"router": "no", "prompt": "x"}, "/v1/route").status_code == 400
    assert server.post({"router": "mf", "prompt": ["x", 3]}, "/v1/route").status_code == 400
    assert server.post({"router": "mf", "prompt": "x", "threshold": True}, "/v1/route").status_code == 400
    assert not upstream.requests


def test_models_health_and_readiness(server):
    import httpx

    assert [model.id for model in server.openai().models.list()] == ["router-mf", "router-random", "big", "small"]
    assert httpx.get(server.url + "/health").json() == {"status": "alive"}
    assert httpx.get(server.url + "/ready").json() == {"status": "ready"}
    server.state.is_ready = False
    assert httpx.get(server.url + "/ready").status_code == 503
    answer = httpx.get(server.url + "/nowhere")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = httpx.get(server.url + "/v1/chat/completions")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_a_compressed_body_is_refused_in_words(server, upstream):
    for encoding in ("gzip", "GZIP", "br", "identity, gzip"):
        answer = server.post(
            gzip.compress(b"{}"), headers={"content-type": "application/json", "content-encoding": encoding}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "invalid_content_encoding")
    assert not upstream.requests


def test_metrics_count_requests_decisions_times_and_the_strong_share(server):
    import httpx

    for model in (STRONG, STRONG, STRONG, WEAK):
        server.post({"model": model, "messages": HELLO})
    text = httpx.get(server.admin_url + "/metrics").text
    for line in (
        'turnout_requests_total{endpoint="/v1/chat/completions",status="200"} 4.0',
        'turnout_decisions_total{model="big",router="mf"} 3.0',
        'turnout_strong_share{router="mf"} 0.75',
        'turnout_decision_seconds_count{router="mf"} 4.0',
        'turnout_win_rate_count{router="mf"} 4.0',
        'turnout_upstream_first_byte_seconds_count{model="small"} 1.0',
        'turnout_breaker_open{model="big",upstream="main"} 0.0',
    ):
        assert line in text
    assert httpx.get(server.url + "/metrics").status_code == 404


def test_labels_of_metrics_never_come_from_requests(start):
    import httpx

    server = start(server={"passthrough": "main"})
    server.post({"model": "an-unheard-of-model", "messages": HELLO})
    httpx.get(server.url + "/an-unheard-of-path")
    assert b"unheard" not in server.state.metrics.text()


def test_a_router_of_the_users_is_served(start, tables):
    import turnout

    class Longer:
        def __init__(self, longest: int = 10) -> None:
            self.longest = longest

        def win_rate(self, prompt: str) -> float:
            return min(len(prompt) / self.longest, 1.0)

    turnout.register_router("longer", Longer)
    server = start(routers={"longer": {"longest": 10}})
    assert server.post({"model": "router-longer-0.9", "messages": HELLO}).headers["x-turnout-win-rate"] == "0.5"


def test_routers_of_the_users_cannot_take_the_server_down(start):
    import turnout

    class Broken:
        def win_rate(self, prompt: str) -> float:
            if prompt == "raise":
                raise ZeroDivisionError("inside")
            return 7.0

    turnout.register_router("broken", Broken)
    server = start(routers={"broken": {}})
    answer = server.post({"model": "router-broken-0.5", "messages": HELLO})
    assert (answer.status_code, "7.0" in answer.text) == (500, True)
    raising = server.post({"model": "router-broken-0.5", "messages": [{"role": "user", "content": "raise"}]})
    assert raising.status_code == 500
    assert "inside" not in raising.text
    assert json.loads(raising.text)["error"]["code"] == "router_failed"
    assert server.post({"model": WEAK, "messages": HELLO}).status_code == 200


def test_ten_thousand_prompts_are_decided_without_holding_up_others(server, router):
    import threading

    import httpx

    prompts = ["Prove that there are infinitely many primes."] * 10_000
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(server.post({"router": "mf", "prompt": prompts}, "/v1/route").json())
    )
    thread.start()
    while thread.is_alive():
        assert httpx.get(server.url + "/health").status_code == 200
    assert {one["win_rate"] for one in answers[0]["decisions"]} == {router.win_rate(prompts[0])}
    assert len(answers[0]["decisions"]) == 10_000
    assert server.post({"router": "mf", "prompt": [*prompts, "x"]}, "/v1/route").status_code == 400


def test_a_body_that_does_not_arrive_gives_its_place_back(server, monkeypatch):
    import socket

    monkeypatch.setattr("turnout.serve.http.asgi._BODY_S", 0.2)
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), 10) as connection:
        connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        assert connection.recv(4096).startswith(b"HTTP/1.1 408")
    until = time.monotonic() + 10
    while server.state.in_flight:
        assert time.monotonic() < until
