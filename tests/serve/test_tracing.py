"""Spans of a request: OpenTelemetry's conventions for generative AI."""

from __future__ import annotations

import base64
import json
import time

import pytest
from scripted_upstream import answer, completion, refuse, wait_until
from tests.serve.dialects import SPOKEN, speak

HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture(scope="module")
def exporter():
    """Keeps the spans of this process, whose provider can be set once."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans_of(start, exporter, tables):
    """The spans of one request, by their names."""
    for model in tables["models"].values():
        model["dialects"] = list(SPOKEN)
    server = start(telemetry={"otel": True})

    def ask(body, path="/v1/chat/completions", **headers):
        exporter.clear()
        answer = server.post(body, path, headers=headers)
        until = time.monotonic() + 30
        # The client has its answer a moment before the span ends.
        while len(found := exporter.get_finished_spans()) < 2:
            assert time.monotonic() < until, answer.text
            time.sleep(0.01)
        return {span.name: span for span in found}

    return ask


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("name", SPOKEN)
def test_a_call_is_described_in_every_dialect(spans_of, upstream, name, is_stream):
    upstream.default, spoken = speak, SPOKEN[name]
    found = spans_of(spoken.body("router-mf-1.0", **({"stream": True} if is_stream else {})), spoken.path)
    assert set(found) == {"turnout.decide", "chat small"}
    decided, call = found["turnout.decide"].attributes, found["chat small"]
    assert (decided["turnout.router"], decided["turnout.model"], decided["turnout.threshold"]) == ("mf", "small", 1.0)
    assert call.kind.name == "CLIENT"
    told = dict(call.attributes)
    usage = tuple(told.pop(f"gen_ai.usage.{kind}_tokens", None) for kind in ("input", "output"))
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "main",
        "gen_ai.request.model": "small",
        "gen_ai.response.model": "small",
        "server.address": "127.0.0.1",
        "server.port": upstream.port,
        "turnout.model": "small",
    }
    # Some of the scripted answers tell no usage.
    expected = {"messages": (3, 2), "chat": (None, None) if is_stream else (1, 1)}
    assert usage == expected.get(name, (None, None))
    assert call.status.is_unset


def test_names_at_the_upstream_and_of_the_answer_are_told_apart(spans_of, upstream, tables):
    async def dated(exchange):
        await exchange.whole(200, completion("small-2026-11-01", "Hi."))

    upstream.default = dated
    found = spans_of({"model": "router-mf-1.0", "messages": HELLO})["chat small"].attributes
    assert (found["gen_ai.request.model"], found["gen_ai.response.model"]) == ("small", "small-2026-11-01")


def test_tokens_are_counted_under_a_name_of_their_own(spans_of, upstream):
    upstream.default = speak
    found = spans_of(SPOKEN["messages"].body("router-mf-1.0"), "/v1/messages/count_tokens")
    assert found["count_tokens small"].attributes["gen_ai.operation.name"] == "count_tokens"


def test_a_fallback_names_the_model_that_answered(spans_of, upstream):
    async def only_big(exchange):
        await (answer if exchange.json["model"] == "big" else refuse(500))(exchange)

    upstream.default = only_big
    call = spans_of({"model": "router-mf-1.0", "messages": HELLO})["chat small"].attributes
    assert (call["gen_ai.request.model"], call["turnout.model"], call["turnout.fallback"]) == ("big", "big", "500")


def test_failures_have_a_type(spans_of, upstream):
    for status in (400, 500):
        upstream.default = refuse(status)
        call = spans_of({"model": "router-mf-1.0", "messages": HELLO})["chat small"]
        assert call.attributes["error.type"] == str(status)
        assert not call.status.is_ok


def test_an_interrupted_stream_is_a_failure(spans_of, upstream):
    async def cut(exchange):
        await exchange.begin_stream()
        for one in SPOKEN["messages"].stream("small", ("I",))[:4]:
            await exchange.chunk(one)
        exchange.writer.close()

    upstream.default = cut
    body = SPOKEN["messages"].body("router-mf-1.0", stream=True)
    assert spans_of(body, "/v1/messages")["chat small"].attributes["error.type"] == "lost"


def test_spans_belong_to_the_trace_of_the_client_and_the_upstream_to_the_call(spans_of, upstream):
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"traceparent": f"00-{trace}-{parent}-01", "baggage": "user.email=a@b.example"}
    found = spans_of({"model": "router-mf-1.0", "messages": HELLO}, **headers)
    for span in found.values():
        assert f"{span.context.trace_id:032x}" == trace
        assert f"{span.parent.span_id:016x}" == parent
    assert "baggage" not in upstream.requests[-1].headers
    sent = upstream.requests[-1].headers["traceparent"]
    assert sent == f"00-{trace}-{found['chat small'].context.span_id:016x}-01"


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://res.openai.azure.com/openai/v1", "azure.ai.openai"),
        ("https://api.anthropic.com/v1", "anthropic"),
        ("https://notapi.openai.com.example/v1", "one"),
        ("http://localhost:8000/v1", "one"),
    ],
)
def test_providers_are_known_by_their_hosts(url, provider):
    from turnout.serve.decisions.snapshot import take
    from turnout.serve.settings.file import settings_of
    from turnout.serve.tracing import _model_attributes

    models = {name: {"upstream": "one"} for name in ("big", "small")}
    tables = {"pair": {"strong": "big", "weak": "small"}, "upstreams": {"one": {"base_url": url}}, "models": models}
    snapshot = take(settings_of({**tables, "routers": {"random": {}}}))
    assert _model_attributes(snapshot.models["big"])["gen_ai.provider.name"] == provider


@pytest.mark.parametrize("form", [lambda key: key, lambda key: base64.b64encode(key.encode()).decode()])
def test_a_reported_name_with_the_servers_key_is_hidden(upstream, start, exporter, tables, monkeypatch, form):
    """In whichever form: as in the log of changes."""
    key = "sk-a-very-secret-key"
    monkeypatch.setenv("KEY", key)
    tables["upstreams"]["main"]["key_env"] = "KEY"
    upstream.default = lambda exchange: exchange.whole(200, completion(f"x {form(key)}", "Hi."))
    server = start(telemetry={"otel": True})
    exporter.clear()
    server.post({"model": "router-mf-1.0", "messages": HELLO})
    wait_until(lambda: len(exporter.get_finished_spans()) == 2)
    names = [one.attributes.get("gen_ai.response.model") for one in exporter.get_finished_spans()]
    assert [name for name in names if name] == ["***"]


def test_spans_hold_neither_prompts_nor_keys(spans_of):
    secret = "sk-" + "0123456789" * 3
    body = {"model": "router-mf-1.0", "messages": [{"role": "user", "content": secret}]}
    found = spans_of(body, authorization=f"Bearer {secret}")
    assert secret not in json.dumps([span.to_json() for span in found.values()])
