"""The server's key for an upstream reaches no client, however the upstream sends it back."""

from __future__ import annotations

import base64
import gzip
import html
import json
import logging
import urllib.parse
from functools import partial
from itertools import product

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_upstream import Exchange, completion, event

from turnout.serve.upstreams.secrets import Secret

HELLO = [{"role": "user", "content": "Hello!"}]
WEAK = {"model": "router-mf-1.0", "messages": HELLO}
KEY = "sk-Secret/Key+0123456789=="


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(one):04x}" for one in text)


ENCODINGS = {
    "as it is": lambda key: key,
    "lower case": str.lower,
    "JSON": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "JSON, every character": escaped,
    "JSON, upper case": lambda key: escaped(key).upper().replace("\\U", "\\u"),
    "JSON in JSON": lambda key: escaped(key).replace("\\", "\\\\"),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of the header": lambda key: base64.b64encode(f"Authorization: Bearer {key}".encode()).decode(),
    "base64 of a user and the key": lambda key: base64.b64encode(f"user:{key}@host".encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(f"x{key}".encode()).decode().rstrip("="),
    "URL": lambda key: urllib.parse.quote(key, safe=""),
    "URL twice": lambda key: urllib.parse.quote(urllib.parse.quote(key, safe=""), safe=""),
    "hexadecimal": lambda key: key.encode().hex().upper(),
    "HTML": lambda key: "".join(f"&#{ord(one)};" for one in key),
    "HTML, hexadecimal": lambda key: "".join(f"&#x{ord(one):X};" for one in key),
}


def shown(text: str) -> str:
    """Text after everything that a client might do to read it."""
    for _ in range(4):
        text = html.unescape(urllib.parse.unquote(text))
        text = text.encode("ascii", "replace").decode("unicode_escape")
    return text


@pytest.fixture
def guarded(start, upstream, monkeypatch, caplog):
    """A server with a key for its upstream; the fixture checks that no answer and no log has it."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    settings = {"base_url": upstream.base_url, "key_env": "UPSTREAM_KEY", "retries": 0, "breaker_failures": 1000}
    return start(upstreams={"main": settings}, server={"fallback": False})


def check(answer, caplog):
    """No form of the key is in an answer or the log; it is tried in both cases, as httpx lowers header names only."""
    texts = [answer.text, "\n".join(f"{name}: {value}" for name, value in answer.headers.items()), caplog.text]
    for text in texts:
        for form in (text, shown(text)):
            for encode in ENCODINGS.values():
                assert encode(KEY).lower() not in form.lower()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_error_body_never_has_the_key(guarded, upstream, caplog, encoding):
    body = '{"error": {"message": "Incorrect key: KEY", "code": 400}}'.replace("KEY", ENCODINGS[encoding](KEY)).encode()
    for status in (400, 404, 429, 500, 200):
        for content, headers in ((body, {}), (gzip.compress(body), {"content_encoding": "gzip"})):
            upstream.default = partial(Exchange.whole, status=status, body=content, **headers)
            answer = guarded.post(WEAK, headers={"accept-encoding": "gzip, br"})
            assert answer.status_code == (400 if status == 200 else status)
            assert set(answer.json()["error"]) >= {"message", "code"}
            check(answer, caplog)
    assert upstream.requests[0].headers["authorization"] == f"bearer {KEY}".lower()


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/plain", "text/html", "application/problem+json"])
def test_an_error_of_any_type_never_has_the_key(guarded, upstream, caplog, content_type):
    for body in ('data: {"error": {"message": "KEY"}}\n\n', "KEY", "<p>KEY</p>", '["KEY"]', '{"KEY": 1}'):
        for status, is_stream in product((400, 500, 200), (False, True)):
            content = body.replace("KEY", KEY).encode()
            upstream.default = partial(Exchange.whole, status=status, body=content, content_type=content_type)
            answer = guarded.post({**WEAK, "stream": is_stream})
            assert answer.headers["content-type"] == "application/json"
            check(answer, caplog)


def no_part_of_the_key(text):
    dense = "".join(one for one in shown(text) if "!" <= one <= "~").lower()
    parts = {KEY[begin : begin + 12].lower() for begin in range(len(KEY) - 11)}
    return not any(part in dense for part in parts)


@pytest.mark.parametrize("before", [165, 178, 185, 790])
def test_a_key_where_a_message_is_shortened_leaves_no_part(guarded, upstream, caplog, before):
    message = "x" * before + KEY
    bodies = [
        json.dumps(body).encode()
        for body in (
            {"error": message},
            [message],
            message,
            {"error": {"message": message, "code": 400}},
            {"error": {"message": "x", "code": message}},
            {"error": [{"detail": message}]},
        )
    ]
    for body, status in product([*bodies, message.encode()], (200, 400, 500)):
        upstream.default = partial(Exchange.whole, status=status, body=body)
        for is_stream in (False, True):
            assert no_part_of_the_key(guarded.post({**WEAK, "stream": is_stream}).text)
    upstream.default = partial(Exchange.whole, status=302, body=b"", location="/" + message)
    assert no_part_of_the_key(guarded.post(WEAK).text)
    assert no_part_of_the_key(caplog.text)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_error_in_another_encoding_is_not_shown(guarded, upstream, caplog, encoding):
    for text, status in product((KEY, f"bad {KEY}", json.dumps({"error": {"message": KEY}})), (200, 400, 500)):
        upstream.default = partial(Exchange.whole, status=status, body=text.encode(encoding))
        for is_stream in (False, True):
            assert no_part_of_the_key(guarded.post({**WEAK, "stream": is_stream}).text)
    assert no_part_of_the_key(caplog.text)


@pytest.mark.parametrize("between", ["\0", "\n", "\x85", "\u200b", " "])
def test_a_key_with_characters_between_its_own_is_not_shown(guarded, upstream, caplog, between):
    message = between.join(KEY)
    for body in (message, json.dumps({"error": message}, ensure_ascii=False), json.dumps(["\t" + message])):
        for status in (200, 400, 500):
            upstream.default = partial(Exchange.whole, status=status, body=body.encode())
            assert no_part_of_the_key(guarded.post(WEAK).text.replace("\\n", "").replace("\\u0000", ""))
    assert no_part_of_the_key(caplog.text)


@pytest.mark.parametrize("key", ["test", "EMPTY", "ollama", "x" * 15])
def test_a_placeholder_changes_no_answer_and_is_named_at_the_start(start, upstream, monkeypatch, caplog, key):
    monkeypatch.setenv("UPSTREAM_KEY", key)
    server = start(upstreams={"main": {"base_url": upstream.base_url, "key_env": "UPSTREAM_KEY"}})
    told = [record.getMessage() for record in caplog.records if "fewer than 16 characters" in record.getMessage()]
    assert len(told) == 1
    assert "upstream main" in told[0]
    assert key not in told[0]
    text = f"a {key} of {key}s"
    upstream.default = lambda exchange: exchange.whole(200, completion("m", text))
    assert server.post(WEAK).json()["choices"][0]["message"]["content"] == text
    assert upstream.requests[0].headers["authorization"] == f"bearer {key}".lower()


def test_a_key_of_16_characters_is_looked_for():
    assert Secret("k" * 16).plain_removed_from(b"a " + b"k" * 16) == b"a ***"
    assert not Secret("k" * 16).is_placeholder
    assert not Secret("").is_placeholder


def test_a_key_over_the_end_of_a_chunk_is_found(guarded, upstream, caplog):
    body = json.dumps({"error": {"message": f"Incorrect key: {KEY}"}}).encode()

    async def script(exchange):
        await exchange.send(b"HTTP/1.1 400 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        for byte in body:
            await exchange.chunk(bytes([byte]))
        await exchange.chunk(b"")

    upstream.default = script
    answer = guarded.post(WEAK)
    assert answer.json()["error"]["message"] == "Incorrect key: ***"
    check(answer, caplog)


@pytest.mark.parametrize("status", [400, 500])
def test_a_long_error_is_replaced(guarded, upstream, caplog, status):
    body = json.dumps({"error": {"message": "x" * (5 << 20) + KEY}}).encode()
    upstream.default = lambda exchange: exchange.whole(status, body)
    answer = guarded.post(WEAK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, f"upstream_{status}")
    check(answer, caplog)


@pytest.mark.parametrize("cut", [100, (4 << 20) + 30, 0])
def test_a_long_answer_never_has_the_key(guarded, upstream, caplog, cut):
    body = completion("m", "x" * (4 << 20) + KEY + "y" * 1000 + KEY)

    async def script(exchange):
        await exchange.send(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        size = cut or 1000
        for begin in range(0, len(body), size) if not cut else (0,):
            await exchange.chunk(body[begin : begin + size])
        if cut:
            await exchange.chunk(body[cut:])
        await exchange.chunk(b"")

    upstream.default = script
    answer = guarded.post(WEAK)
    assert answer.json()["choices"][0]["message"]["content"] == "x" * (4 << 20) + "***" + "y" * 1000 + "***"
    check(answer, caplog)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_error_within_a_stream_never_has_the_key(guarded, upstream, caplog, encoding):
    error = b'data: {"error": {"message": "Incorrect key: ' + ENCODINGS[encoding](KEY).encode() + b'"}}\n\n'

    async def script(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "begun"}))
        for part in (error[:50], error[50:60], error[60:]):
            await exchange.chunk(part)
        await exchange.chunk(b"")

    upstream.default = script
    with pytest.raises(openai.APIError):
        list(guarded.openai().chat.completions.create(**WEAK, stream=True))
    check(guarded.post({**WEAK, "stream": True}), caplog)
    # Events that arrive in one piece are judged together, before the client gets a byte.
    codes = ("stream_error_event", "stream_key_in_answer", "upstream_key_in_answer")
    assert sum(guarded.metric("turnout_errors_total", code=code) for code in codes) >= 2


def test_only_short_errors_of_a_stream_are_searched_for_every_form_of_the_key(guarded, upstream, caplog, monkeypatch):
    searched = []
    monkeypatch.setattr(
        Secret, "is_in", lambda self, content, is_in=Secret.is_in: searched.append(len(content)) or is_in(self, content)
    )
    healthy = event({"content": "y" * 200_000})
    healthy = healthy[:-3] + b', "error": null}' + healthy[-2:]
    error = json.dumps({"error": {"message": "x" * 70_000 + ENCODINGS["hexadecimal"](KEY)}}).encode()

    async def script(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "begun"}))
        await exchange.chunk(healthy)
        await exchange.chunk(b"data: " + error + b"\n\n" + healthy)
        await exchange.chunk(b"")

    upstream.default = script
    answer = guarded.post({**WEAK, "stream": True})
    pieces = answer.content.split(b"\n\n")
    assert pieces[1] == pieces[3] == healthy.removesuffix(b"\n\n")
    assert json.loads(pieces[2].removeprefix(b"data: "))["error"]["code"] == "upstream_error_in_answer"
    assert guarded.metric("turnout_errors_total", code="stream_error_event") == 1
    for status in (200, 400):
        upstream.default = partial(Exchange.whole, status=status, body=error)
        check(guarded.post(WEAK), caplog)
    check(answer, caplog)
    assert max(searched) < 64 * 1024


def test_a_healthy_answer_that_repeats_the_key_is_relayed_without_it(guarded, upstream, caplog):
    async def script(exchange):
        if not exchange.json.get("stream"):
            await exchange.whole(200, completion("m", f"headers: {KEY}"))
            return
        await exchange.begin_stream()
        for word in ("a", f"b {KEY}", f"c {KEY}"):
            content = event({"content": word})
            await exchange.chunk(content[:-20])
            await exchange.chunk(content[-20:])
        await exchange.chunk(b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    upstream.default = script
    assert guarded.post(WEAK).json()["choices"][0]["message"]["content"] == "headers: ***"
    answer = guarded.post({**WEAK, "stream": True})
    assert answer.text.count("***") == 2
    check(answer, caplog)


@pytest.mark.parametrize("encoding", ["as it is", "lower case", "base64", "base64 of the header", "URL", "hexadecimal"])
def test_a_header_with_the_key_is_left_out(guarded, upstream, caplog, encoding):
    value = f"key-{ENCODINGS[encoding](KEY)}"
    headers = {"openai_organization": value, "x_ratelimit_key": value, "cache_control": value, "x_ratelimit_reset": "3"}
    for status in (200, 400, 429):
        body = completion("m", "x") if status == 200 else b'{"error": {"message": "x"}}'
        upstream.default = partial(Exchange.whole, status=status, body=body, **headers)
        answer = guarded.post(WEAK)
        assert (answer.status_code, answer.headers["x-ratelimit-reset"]) == (status, "3")
        assert not {"openai-organization", "x-ratelimit-key", "cache-control"} & answer.headers.keys()
        check(answer, caplog)


def test_the_key_may_have_a_header_of_its_own(start, upstream, monkeypatch):
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    settings = {
        "base_url": upstream.base_url,
        "key_env": "UPSTREAM_KEY",
        "key_header": "api-key",
        "query": {"api-version": "2024-10-21 preview&x"},
        "headers": {"X-Team": "research"},
    }
    start(upstreams={"main": settings}).post(WEAK)
    arrived = upstream.requests[0]
    assert (arrived.headers["api-key"], arrived.headers["x-team"]) == (KEY.lower(), "research")
    assert "authorization" not in arrived.headers
    assert arrived.target == "/v1/chat/completions?api-version=2024-10-21+preview%26x"


@given(key=st.text("abcXYZ019-_./+=~%&\\\"<>'", min_size=16), before=st.text(max_size=5), after=st.text(max_size=5))
def test_any_key_is_found_in_every_encoding(key, before, after):
    secret = Secret(key)
    for name, encode in ENCODINGS.items():
        content = f"{before} {encode(key)} {after}".encode()
        assert secret.is_in(content), name
        cleaned = secret.removed_from(content)
        assert cleaned is None or not secret.is_in(cleaned), name


@given(st.binary(max_size=300))
def test_content_without_the_key_is_unchanged(content):
    assert Secret("sk-not-in-there-0123456789").removed_from(content) == content
    assert Secret("").removed_from(content) == content


@pytest.mark.parametrize("form", ["as it is", "JSON", "JSON, every character", "JSON, upper case"])
def test_a_healthy_answer_has_the_key_in_no_form_of_json(form):
    content = f'{{"choices": [{{"message": {{"content": "before {ENCODINGS[form](KEY)} after"}}}}]}}'.encode()
    assert KEY in json.loads(content)["choices"][0]["message"]["content"]
    cleaned = Secret(KEY).plain_removed_from(content)
    assert json.loads(cleaned)["choices"][0]["message"]["content"] == "before *** after"


@given(st.text(), st.text(), st.lists(st.booleans(), min_size=len(KEY), max_size=len(KEY)))
def test_any_mixture_of_escapes_is_found_in_healthy_answers(before, after, choice):
    key = "".join(escaped(one) if is_escaped else one for one, is_escaped in zip(KEY, choice, strict=True))
    content = json.dumps(before)[:-1].encode() + key.encode() + json.dumps(after)[1:].encode()
    if KEY not in before and KEY not in after:
        assert json.loads(Secret(KEY).plain_removed_from(content)) == f"{before}***{after}"
