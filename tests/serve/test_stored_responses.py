"""Responses that are asked for, and continued, at the upstream that made them."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import partial

import httpx
import openai
import pytest
from scripted_upstream import Exchange, refuse
from tests.serve.dialects import SPOKEN, named, speak, streaming

from turnout.serve.http.client_keys import key_hash

RESPONSES = SPOKEN["responses"]


@pytest.fixture
def two(tables, upstream, two_upstreams):
    """`big` and `small` at upstreams of their own, which name their responses after the model."""
    for name, one in (("big", upstream), ("small", two_upstreams)):
        tables["models"][name]["dialects"] = ["responses"]
        one.default = partial(answer, name)
    return {"big": upstream, "small": two_upstreams}


async def answer(name, exchange):
    """An upstream that stores responses."""
    found = RESPONSES.whole(name, f"I am {name}", id=f"resp_{name}")
    if "input_items" in exchange.target:
        found = b'{"object": "list", "data": [{"id": "i1", "type": "message", "role": "user", "content": []}], "has_more": false}'
    elif exchange.head.startswith(b"DELETE"):
        found = json.dumps({"id": f"resp_{name}", "object": "response", "deleted": True}).encode()
    elif "stream=true" in exchange.target or (exchange.body and exchange.json.get("stream")):
        events = [one.replace(b"resp_1", f"resp_{name}".encode()) for one in RESPONSES.stream(name, ("one",))]
        await streaming(*events)(exchange)
        return
    await exchange.whole(200, found)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("model", "name"), [("router-mf-0.0", "big"), ("router-mf-1.0", "small"), ("small", "small")])
def test_a_response_is_found_at_the_upstream_that_made_it(start, two, model, name, is_stream):
    client = RESPONSES.client(start().url)
    made = client.responses.create(model=model, input="Hello!", stream=is_stream)
    if is_stream:
        list(made)
    found = f"resp_{name}"
    assert client.responses.retrieve(found).output_text == f"I am {name}"
    assert [one.id for one in client.responses.input_items.list(found, limit=3, include=["a", "b"])] == ["i1"]
    assert client.responses.cancel(found).id == found
    events = list(client.responses.retrieve(found, stream=True, starting_after=0))
    assert events[-1].type == "response.completed"
    client.responses.delete(found)
    sent = [(one.head.split(b" ")[0].decode(), one.target) for one in two[name].requests[1:]]
    assert [one[0] for one in sent] == ["GET", "GET", "POST", "GET", "DELETE"]
    assert sent[1][1].startswith(f"/v1/responses/{found}/input_items?")
    assert "limit=3" in sent[1][1]
    assert sent[1][1].count("include") == 2
    assert not two["small" if name == "big" else "big"].requests


@pytest.mark.parametrize("how", ["previous_response_id", "conversation", "conversation object"])
def test_what_continues_stays_with_its_model_and_is_not_decided(start, two, how):
    server = start()
    post = partial(server.post, path=RESPONSES.path)
    if how == "previous_response_id":
        first, refers = {}, {"previous_response_id": "resp_small"}
    else:
        first = refers = {"conversation": "conv_1" if how == "conversation" else {"id": "conv_1"}}
    assert post(RESPONSES.body("router-mf-1.0", **first)).headers["x-turnout-model"] == "small"
    outputs = [{"type": "function_call_output", "call_id": "c", "output": ""}]
    answer = post({"model": "router-mf-0.0", "input": outputs, **refers})
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-rule"]) == ("small", "response")
    assert server.state.recent.count == 1
    # The other model has not what it refers to, so it does not stand in.
    two["small"].default = refuse(500)
    assert post({"model": "router-mf-0.0", "input": outputs, **refers}).status_code == 500
    assert not two["big"].requests


def test_a_response_of_a_gateway_is_found_by_its_id_in_base64(start, two):
    name = "resp_" + base64.b64encode(b"litellm:custom_llm_provider:openai;model_id:" + b"7" * 300).decode()
    assert name.endswith("=")
    two["small"].default = lambda exchange: exchange.whole(200, RESPONSES.whole("small", "x", id=name))
    server = start()
    client = RESPONSES.client(server.url)
    client.responses.create(model="router-mf-1.0", input="Hello!")
    assert client.responses.retrieve(name).id == name
    assert two["small"].requests[-1].target == f"/v1/responses/{name}"
    more = server.post(RESPONSES.body("router-mf-0.0", previous_response_id=name), RESPONSES.path)
    assert (more.headers["x-turnout-model"], more.headers["x-turnout-rule"]) == ("small", "response")


def test_a_model_at_the_same_upstream_may_stand_in(start, tables, upstream):
    for model in tables["models"].values():
        model["dialects"] = ["responses"]
    upstream.default = speak
    server = start()
    server.post(RESPONSES.body("router-mf-1.0"), RESPONSES.path)
    upstream.by_model["small"] = refuse(500)
    answer = server.post(RESPONSES.body("router-mf-0.0", previous_response_id="resp_1"), RESPONSES.path)
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", "500")


def test_what_is_not_stored_is_not_remembered(start, two):
    two["small"].default = lambda exchange: exchange.whole(200, RESPONSES.whole("small", "x", store=False))
    server = start()
    server.post(RESPONSES.body("router-mf-1.0"), RESPONSES.path)
    assert asyncio.run(server.state.made.of(["resp_1"])) == [None]


def test_an_unknown_response_is_an_error_or_asked_for_at_the_only_upstream(start, two, tables):
    client = RESPONSES.client(start().url)
    for name in ("resp_unknown", "%2E%2E", "a%2Fb", "x" * 1025, "é"):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(name)
    assert not two["big"].requests + two["small"].requests
    tables["models"]["big"]["dialects"] = ["chat"]
    assert RESPONSES.client(start().url).responses.retrieve("resp_unknown").id == "resp_small"


def test_a_failed_response_is_relayed_as_it_is(start, two):
    server = start()
    server.post(RESPONSES.body("router-mf-1.0"), RESPONSES.path)
    failed = RESPONSES.whole("small", "", status="failed", output=[], error={"code": "server_error", "message": "x"})
    two["small"].default = lambda exchange: exchange.whole(200, failed)
    answer = httpx.get(f"{server.url}/v1/responses/resp_small")
    assert (answer.status_code, answer.content) == (200, failed)
    last = named("response.failed", response=json.loads(failed))
    two["small"].default = streaming(last)
    assert httpx.get(f"{server.url}/v1/responses/resp_small?stream=true").content == last
    two["small"].default = refuse(404)
    assert httpx.get(f"{server.url}/v1/responses/resp_small").json()["error"]["message"] == "scripted 404"
    two["small"].default = partial(Exchange.whole, status=200, body=b"<html>")
    assert httpx.get(f"{server.url}/v1/responses/resp_small").status_code == 502


def test_a_response_belongs_to_the_client_that_made_it(start, two, tmp_path):
    keys = {"Authorization": "Bearer key-of-the-first"}, {"Authorization": "Bearer key-of-another"}
    lines = [f"{name}:{key_hash(one['Authorization'].split()[1])}" for name, one in zip("ab", keys, strict=True)]
    (tmp_path / "keys").write_text("\n".join(lines))
    server = start(server={"client_keys_file": str(tmp_path / "keys")})

    def ask(client, method, path, **options):
        return httpx.request(method, server.url + path, headers=keys[client], timeout=30, **options).status_code

    def post(client, model="router-mf-1.0", **refers):
        return ask(client, "POST", RESPONSES.path, json=RESPONSES.body(model, **refers))

    def send(client, refers):
        return ask(client, "POST", RESPONSES.path, content=f'{{"model": "small", "input": "Hi", {refers}}}'.encode())

    assert post(0, conversation="conv_1") == 200
    sent = len(two["small"].requests)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
        assert ask(1, method, f"/v1/responses/resp_small{path}") == 404
    assert post(1, previous_response_id="resp_small") == 404
    assert post(1, conversation="conv_1") == 404
    # The plain name of a model makes no difference, and what cannot be read is not forwarded.
    assert post(1, "small", previous_response_id="resp_small") == 404
    assert post(1, "small", conversation={"id": "conv_1"}) == 404
    for value in ("x y", 1, ["resp_small"], {"id": "x y"}):
        assert post(1, previous_response_id=value) == 400
    for refers in (
        '"previous_response_id": "resp_small", "previous_response_id": null',
        r'"previous_response_id": "resp_small", "previous\u005fresponse_id": "resp_other"',
        '"conversation": {"id": "conv_1", "id": "conv_2"}',
    ):
        assert send(1, refers) == 400, refers
    # Nobody is known to have made this one.
    assert [ask(client, "GET", "/v1/responses/resp_x") for client in (0, 1)] == [404, 404]
    assert post(0, previous_response_id="resp_x") == 404
    assert len(two["small"].requests) == sent
    assert not two["big"].requests
    assert ask(0, "GET", "/v1/responses/resp_small") == 200
    assert [post(0, **one) for one in ({"previous_response_id": "resp_small"}, {"conversation": "conv_1"})] == [
        200,
        200,
    ]
    assert ask(0, "DELETE", "/v1/responses/resp_small") == 200
