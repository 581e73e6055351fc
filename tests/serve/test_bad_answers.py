"""Status 200 with something else than a completion: another model answers before the client gets a byte."""

from __future__ import annotations

import gzip
import json
import zlib
from functools import partial

import openai
import pytest
from scripted_upstream import Exchange, answer, completion, event, wait_until

from turnout.serve.dialects import CHAT
from turnout.serve.dialects.judging import BadAnswerError, is_context_overflow, message_of, one_line

HELLO = [{"role": "user", "content": "Hello!"}]
WEAK = {"model": "router-mf-1.0", "messages": HELLO}

ERROR = b'{"error": {"message": "Provider returned error", "code": 502}}'
NO_CHOICES = json.dumps({**json.loads(completion("m", "x")), "choices": []}).encode()
WHOLE = {
    "error": (ERROR, "error_in_answer"),
    "error of a choice": (b'{"choices": [{"error": {"message": "x"}, "message": {"content": ""}}]}', "error_in_answer"),
    "vLLM's error": (b'{"object": "error", "message": "x", "code": 400}', "error_in_answer"),
    "empty": (b"", "empty_answer"),
    "blank": (b" \n", "empty_answer"),
    "no choices": (NO_CHOICES, "no_choices"),
    "no message": (b'{"choices": [{}]}', "no_choices"),
    "empty message": (b'{"choices": [{"message": {}}]}', "no_choices"),
    "choices of another type": (b'{"choices": {"a": 1}}', "no_choices"),
    "HTML": (b"<html><body>Please sign in</body></html>", "not_json"),
    "half": (completion("m", "x")[:40], "not_json"),
    "array": (b"[1]", "not_json"),
    "stream": (event({"content": "x"}) + b"data: [DONE]\n\n", "not_json"),
    "deep": (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "not_json"),
}
STREAMS = {
    "error": (b"data: " + ERROR + b"\n\n", "error_in_answer"),
    "error event": (b'event: error\r\ndata: {"error":\r\ndata: "busy"}\r\n\r\n', "error_in_answer"),
    "comment, then error": (b": wait\n\ndata: " + ERROR + b"\n\n", "error_in_answer"),
    "filters, then error": (b'data: {"choices": []}\n\ndata: ' + ERROR + b"\n\n", "error_in_answer"),
    "nothing": (b"", "empty_answer"),
    "end": (b"data: [DONE]\n\n", "no_choices"),
    "no choices": (b'data: {"choices": []}\n\ndata: [DONE]\n\n', "no_choices"),
    "comments": (b": a\n\n: b\n\n", "no_choices"),
    "HTML": (b"<html>\n\n</html>", "not_a_stream"),
    "text": (b"data: Please sign in\n\n", "not_a_stream"),
    "event without choices": (b'data: {"detail": "not found"}\n\n', "no_choices"),
    "half an event": (b'data: {"choices": [', "no_choices"),
    "JSON error": (ERROR, "error_in_answer"),
    "JSON": (completion("m", "x"), "not_a_stream"),
}


def test_another_model_answers_for_a_completion_that_is_none(start, upstream):
    server = start(upstreams={"main": {"base_url": upstream.base_url, "breaker_failures": 1000}})
    for body, reason in WHOLE.values():
        upstream.by_model["small"] = partial(Exchange.whole, status=200, body=body)
        labels = {"chosen": "small", "served": "big", "reason": reason}
        before = server.metric("turnout_fallbacks_total", **labels)
        found = server.openai().chat.completions.with_raw_response.create(**WEAK)
        assert found.parse().choices[0].message.content == "I am big"
        assert found.headers["x-turnout-fallback"] == reason
        assert server.metric("turnout_fallbacks_total", **labels) == before + 1
    assert server.state.snapshot.upstreams["main"].in_flight == 0


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "Text/Event-Stream; charset=utf-8"])
def test_another_model_answers_for_a_stream_that_is_none(start, upstream, content_type):
    server = start(upstreams={"main": {"base_url": upstream.base_url, "breaker_failures": 1000}})

    async def script(exchange):
        await exchange.begin_stream(content_type=content_type)
        if body:
            await exchange.chunk(body)
        await exchange.chunk(b"")

    upstream.by_model["small"] = script
    for case in STREAMS.values():
        body, reason = case
        found = server.openai().chat.completions.with_raw_response.create(**WEAK, stream=True)
        assert found.headers["x-turnout-fallback"] == reason
        assert "".join(chunk.choices[0].delta.content or "" for chunk in found.parse()) == "I am big"
    wait_until(lambda: server.state.snapshot.upstreams["main"].in_flight == 0)


@pytest.mark.parametrize("is_stream", [False, True])
def test_without_another_model_the_client_raises_an_error_of_the_server(start, upstream, is_stream):
    server = start(
        upstreams={"main": {"base_url": upstream.base_url, "breaker_failures": 1000}}, server={"fallback": False}
    )
    bodies = (ERROR, b"", b"<html>", NO_CHOICES, b'{"error": "busy"}', b'{"error": {"code": 401}}')
    for body in bodies:
        upstream.default = partial(Exchange.whole, status=200, body=body, content_type="text/html")
        with pytest.raises(openai.APIStatusError) as caught:
            server.openai().chat.completions.create(**WEAK, stream=is_stream)
        assert caught.value.status_code == 502
        assert "message" in caught.value.body
    assert server.metric("turnout_errors_total", code="upstream_error_in_answer") == 3


def test_the_error_that_an_answer_names_reaches_the_client(start, upstream):
    body = b'{"error": {"message": "temperature is 3", "code": 422}}'
    upstream.default = lambda exchange: exchange.whole(200, body)
    with pytest.raises(openai.UnprocessableEntityError, match="temperature is 3"):
        start(server={"fallback": False}).openai().chat.completions.create(**WEAK)


@pytest.mark.parametrize("content_type", ["application/json", "Text/Event-Stream", "text/plain; charset=utf-8"])
def test_what_an_answer_is_does_not_depend_on_its_content_type(server, upstream, content_type):
    async def mislabeled(exchange):
        if not exchange.json.get("stream"):
            await exchange.whole(200, completion("m", "whole"), content_type=content_type)
            return
        await exchange.begin_stream(content_type=content_type)
        await exchange.chunk(event({"content": "streamed"}) + b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    upstream.default = mislabeled
    whole = server.post(WEAK)
    assert whole.headers["content-type"].startswith("application/json")
    assert whole.json()["choices"][0]["message"]["content"] == "whole"
    streamed = server.post({**WEAK, "stream": True})
    assert streamed.headers["content-type"].lower().startswith("text/event-stream")
    assert "x-turnout-fallback" not in streamed.headers


def test_an_answer_may_begin_with_a_byte_order_mark(server, upstream):
    upstream.default = lambda exchange: exchange.whole(200, b"\xef\xbb\xbf" + completion("m", "whole"))
    found = server.openai().chat.completions.with_raw_response.create(**WEAK)
    assert found.parse().choices[0].message.content == "whole"
    assert "x-turnout-fallback" not in found.headers


def test_a_stream_may_begin_with_comments_and_events_without_choices(server, upstream):
    beginning = b'\xef\xbb\xbf: wait\r\n\r\nid: 1\r\ndata: {"choices": [], "prompt_filter_results": []}\r\n\r\n'

    async def script(exchange):
        await exchange.begin_stream()
        for part in (beginning[:5], beginning[5:40], beginning[40:], event({"content": "x"}), b"data: [DONE]\n\n", b""):
            await exchange.chunk(part)

    upstream.default = script
    answer = server.post({**WEAK, "stream": True})
    assert answer.headers["x-turnout-model"] == "small"
    assert answer.content == beginning + event({"content": "x"}) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("value", ["true", 1, 0, [], {}])
def test_a_request_says_plainly_whether_it_wants_a_stream(server, upstream, value):
    answer = server.post({**WEAK, "stream": value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")
    assert not upstream.requests


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_compressed_answers_are_decoded_though_none_was_requested(server, upstream, encoding, is_stream):
    pack = gzip.compress if encoding.lower() == "gzip" else zlib.compress

    async def script(exchange):
        body = event({"content": "packed"}) + b"data: [DONE]\n\n" if is_stream else completion("m", "packed")
        await exchange.whole(200, pack(body), content_encoding=encoding)

    upstream.default = script
    answer = server.post({**WEAK, "stream": is_stream}, headers={"accept-encoding": "gzip"})
    assert upstream.requests[0].headers["accept-encoding"] == "identity"
    assert "content-encoding" not in answer.headers
    assert "packed" in answer.text
    assert "x-turnout-fallback" not in answer.headers


@pytest.mark.parametrize(("encoding", "reason"), [("compress", "encoding"), ("gzip, br", "encoding"), ("gzip", "lost")])
def test_an_answer_that_cannot_be_decoded_is_a_failure(server, upstream, encoding, reason):
    upstream.by_model["small"] = lambda exchange: exchange.whole(200, b"\x00packed", content_encoding=encoding)
    assert server.post(WEAK).headers["x-turnout-fallback"] == reason


def test_a_body_that_unpacks_to_gigabytes_is_not_held_in_memory(server, upstream):
    bomb = gzip.compress(b" " * (200 << 20), 1)
    upstream.by_model["small"] = lambda exchange: exchange.whole(200, bomb, content_encoding="gzip")
    assert server.post(WEAK).headers["x-turnout-fallback"] == "not_json"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"message": "This model's maximum context length is 8192 tokens.", "code": "context_length_exceeded"}),
        (
            400,
            {"message": "This model's maximum context length is 4096 tokens. However, you requested 5000", "code": 400},
        ),
        (400, {"message": "prompt is too long: 208310 tokens > 200000 maximum"}),
        (400, {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"}),
        (413, {"message": "The input token count (200000) exceeds the maximum number of tokens allowed (131072)."}),
        (422, {"message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097"}),
        (400, {"message": "Input is too long for requested model."}),
        (
            400,
            {
                "message": "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length"
            },
        ),
        (400, {"message": "Invalid request: Your request exceeded model token limit: 262144"}),
        (400, {"message": "Prompt exceeds max length", "code": "1261"}),
        (400, {"message": "Range of input length should be [1, 129024]"}),
    ],
)
def test_a_conversation_too_long_for_one_model_goes_to_the_other(server, start, upstream, status, body):
    upstream.by_model["small"] = lambda exchange: exchange.whole(status, json.dumps({"error": body}).encode())
    answered = server.post(WEAK)
    assert (answered.status_code, answered.headers["x-turnout-fallback"]) == (200, "context_overflow")
    assert not server.state.snapshot.upstreams["main"].breaker("small").is_open
    upstream.by_model["big"] = upstream.by_model["small"]
    assert server.post(WEAK).status_code == status
    upstream.by_model["big"] = answer
    without = start(server={"fallback_on_context_overflow": False}).post(WEAK)
    assert (without.status_code, without.json()["error"]) == (status, body)


@pytest.mark.parametrize(
    "message",
    [
        "temperature must be at most 2",
        "unknown field 'context'",
        "max_tokens is too large",
        "max_tokens: 9 > 8, which is the maximum allowed number of output tokens",
    ],
)
def test_other_errors_of_a_request_are_no_overflow(message):
    assert not is_context_overflow(400, json.dumps({"error": {"message": message}}).encode())


def test_the_beginning_of_a_stream_is_judged_by_its_events():
    assert CHAT.begins(CHAT.event(b'{"choices": [{"delta": {}}], "error": null}'))
    assert not CHAT.begins(CHAT.event(b'{"choices": []}'))
    with pytest.raises(BadAnswerError, match="busy"):
        CHAT.event(b'{"choices": [], "error": "busy"}')
    CHAT.check_whole(b'{"choices": [{"message": {"content": null}}], "error": null}')


def test_a_stream_that_never_begins_is_cut(server, upstream, monkeypatch):
    monkeypatch.setattr("turnout.serve.upstreams.answer.LONGEST_EVENT", 100_000)

    async def script(exchange):
        await exchange.begin_stream()
        for _ in range(20):
            await exchange.chunk(b'data: {"choices": []}\n\n' * 1000)
        await exchange.chunk(event({"content": "late"}))
        await exchange.chunk(b"")

    upstream.by_model["small"] = script
    assert server.post({**WEAK, "stream": True}).headers["x-turnout-fallback"] == "event_too_long"


def test_what_an_error_says_is_whole_and_shortened_to_one_line():
    assert message_of(b'{"detail": [{"loc": ["body"], "msg": "missing"}]}') == '[{"loc":["body"],"msg":"missing"}]'
    assert message_of(b"404 page not found") == "404 page not found"
    assert message_of(b"<!doctype html>...") == ""
    assert message_of(b"\xef\xbb\xbf<!doctype html>...") == message_of(b"caf\xe9") == message_of(b"a\0b") == ""
    assert one_line(message_of(json.dumps({"error": "\x00\n" * 100_000}).encode())) == ""
    long = message_of(json.dumps({"error": {"message": "x" * 10_000}}).encode())
    assert (len(long), len(one_line(long))) == (10_000, 203)
    deep = b'{"error": {"message": ' + b"[" * 900 + b"]" * 900 + b"}}"
    assert message_of(deep) == ""
