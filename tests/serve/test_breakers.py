"""One model fails, its upstream serves another one: the healthy model answers every request."""

from __future__ import annotations

import asyncio

import httpx
import openai
import pytest
from scripted_upstream import answer, completion, refuse, wait_until

from turnout.serve.upstreams.breaker import Breakers

HELLO = [{"role": "user", "content": "Hello!"}]
STRONG = "router-mf-0.0"


async def abort(exchange):
    exchange.abort()


async def cut_before_an_event(exchange):
    await exchange.begin_stream()
    await exchange.chunk(b": wait\n\ndata: {")
    exchange.abort()


async def hang(exchange):
    await exchange.is_gone.wait()


async def error_under_200(exchange):
    if exchange.json.get("stream"):
        await exchange.begin_stream()
        await exchange.chunk(b'data: {"error": {"message": "Overloaded"}}\n\n')
        await exchange.chunk(b"")
    else:
        await exchange.whole(200, b'{"error": {"message": "Overloaded"}}')


FAULTS = {
    "500": refuse(500),
    "503": refuse(503),
    "429": refuse(429),
    "429 with a wait": refuse(429, retry_after="60"),
    "401": refuse(401),
    "402": refuse(402),
    "reset": abort,
    "cut": cut_before_an_event,
    "time-out": hang,
    "200": error_under_200,
}


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_healthy_model_answers_for_the_one_that_fails(start, upstream, fault, is_stream):
    upstream.by_model["big"] = FAULTS[fault]
    settings = {"base_url": upstream.base_url, "backoff_s": 0.01}
    if fault == "time-out":
        settings["first_byte_timeout_s"] = 1.0
    server = start(upstreams={"main": settings})
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:

        async def text() -> str:
            found = await client.chat.completions.create(model=STRONG, messages=HELLO, stream=is_stream)
            if not is_stream:
                return found.choices[0].message.content
            return "".join([chunk.choices[0].delta.content or "" async for chunk in found])

        in_sequence = [await text() for _ in range(7)]
        in_parallel = await asyncio.gather(*(text() for _ in range(20)))
    assert set(in_sequence) | set(in_parallel) == {"I am small"}
    upstreams = server.state.snapshot.upstreams["main"]
    assert not upstreams.breaker("small").is_open
    assert upstreams.breaker("big").is_open == (not fault.startswith("429"))
    wait_until(lambda: upstreams.in_flight == 0)


def test_each_model_of_an_upstream_has_its_own_breaker_and_metric(start, upstream):
    upstream.by_model["big"] = refuse(500)
    settings = {"base_url": upstream.base_url, "breaker_failures": 2}
    server = start(upstreams={"main": settings})
    for _ in range(5):
        assert server.post({"model": STRONG, "messages": HELLO}).status_code == 200
    assert upstream.models.count("big") == 2
    text = httpx.get(server.admin_url + "/metrics").text
    assert 'turnout_breaker_open{model="big",upstream="main"} 1.0' in text
    assert 'turnout_breaker_open{model="small",upstream="main"} 0.0' in text


def test_names_that_pass_through_have_breakers_of_their_own_and_one_label(start, upstream):
    upstream.by_model["broken"] = refuse(500)
    settings = {"base_url": upstream.base_url, "breaker_failures": 2, "retries": 0}
    server = start(upstreams={"main": settings}, server={"passthrough": "main"})
    codes = [server.post({"model": "broken", "messages": HELLO}).json()["error"]["code"] for _ in range(3)]
    assert codes[-1] == "upstream_breaker_open"
    assert upstream.models.count("broken") == 2
    assert server.post({"model": "healthy", "messages": HELLO}).status_code == 200
    text = httpx.get(server.admin_url + "/metrics").text
    assert 'model="other"' in text
    assert "healthy" not in text
    assert "broken" not in text


def test_there_are_as_many_breakers_as_a_limit_and_open_ones_are_kept():
    breakers = Breakers(1, 10.0)
    opened = breakers.of("broken")
    opened.failed(opened.allow())
    used = breakers.of("used")
    for number in range(3000):
        breakers.of(f"name-{number}")
        assert breakers.of("used") is used
    assert len(breakers) == 1000
    assert breakers.of("broken") is opened
    for number in range(3000):
        one = breakers.of(f"broken-{number}")
        one.failed(one.allow())
    assert len(breakers) == 1000
    assert breakers.of("broken-2999").is_open


@pytest.mark.parametrize(
    "body",
    [b'{"error": {"message": "no such parameter", "code": 400}}', b'{"error": {"message": "slow", "code": 429}}'],
)
def test_a_request_at_fault_cannot_open_the_breaker_of_a_model(start, upstream, body):
    upstream.by_model["big"] = lambda exchange: exchange.whole(200, body)
    server = start(upstreams={"main": {"base_url": upstream.base_url, "breaker_failures": 1, "retries": 0}})
    for _ in range(3):
        assert server.post({"model": STRONG, "messages": HELLO}).headers["x-turnout-model"] == "small"
    upstream.by_model["big"] = answer
    assert server.post({"model": STRONG, "messages": HELLO}).headers["x-turnout-model"] == "big"


def test_a_breaker_closes_when_the_model_is_back(start, upstream):
    upstream.by_model["big"] = error_under_200
    settings = {"base_url": upstream.base_url, "breaker_failures": 1, "breaker_open_s": 0.05}
    server = start(upstreams={"main": settings})
    assert server.post({"model": STRONG, "messages": HELLO}).headers["x-turnout-fallback"] == "error_in_answer"
    upstream.by_model["big"] = lambda exchange: exchange.whole(200, completion("big", "back"))
    wait_until(lambda: server.post({"model": STRONG, "messages": HELLO}).headers["x-turnout-model"] == "big")
