"""How requests reach an upstream: proxies, certificates, keys, pauses between attempts, headers in either direction."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from email.utils import formatdate

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_upstream import ScriptedUpstream, completion, refuse

from turnout import ConfigError
from turnout.retry_after import retry_after_s
from turnout.serve.settings.upstreams import UpstreamSettings
from turnout.serve.upstreams import headers as passing
from turnout.serve.upstreams.proxies import proxy_of
from turnout.serve.upstreams.secrets import Secret, read_key

HELLO = [{"role": "user", "content": "Hello!"}]
WEAK = {"model": "router-mf-1.0", "messages": HELLO}
KEY = "sk-upstream-secret-0123456789"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "60"}, 60.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250.5", "retry-after": "9"}, 0.2505),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:16:40 GMT"}, 1000.0),
        ({"retry-after": "Thursday, 01-Jan-70 00:16:40 GMT"}, 1000.0),
        ({"retry-after": "Thu Jan  1 00:16:40 1970"}, 1000.0),
        ({"retry-after": "Wed, 31 Dec 1969 23:00:00 GMT"}, 0.0),
        *(
            ({"retry-after": bad}, None)
            for bad in ("", "²", "٣", "-1", "nan", "inf", "1e3", "soon", "1" * 400, "12h", "\udcb2")
        ),
        ({}, None),
    ],
)
def test_a_wait_is_read_in_every_form(headers, expected):
    assert retry_after_s(headers, now=0.0) == expected


@given(st.text(max_size=40))
def test_any_text_is_a_wait_or_none(text):
    found = retry_after_s({"retry-after": text})
    assert found is None or found >= 0


@pytest.mark.parametrize(("headers", "attempts"), [({"retry_after": "0.4"}, 2), ({"retry_after_ms": "400"}, 2)])
def test_a_short_wait_is_kept(server, upstream, headers, attempts):
    times = []

    async def script(exchange):
        times.append(time.monotonic())
        await refuse(429, **headers)(exchange)

    upstream.by_model["small"] = script
    assert server.post(WEAK).headers["x-turnout-fallback"] == "429"
    assert len(times) == attempts
    assert times[1] - times[0] >= 0.4


@pytest.mark.parametrize("seconds", [60, 2.5])
@pytest.mark.parametrize("form", ["seconds", "date", "ms"])
def test_after_a_long_wait_the_other_model_answers_at_once(server, upstream, form, seconds):
    headers = {
        "seconds": {"retry_after": str(seconds)},
        "date": {"retry_after": formatdate(time.time() + 60, usegmt=True)},
        "ms": {"retry_after_ms": str(int(seconds * 1000))},
    }[form]
    upstream.by_model["small"] = refuse(429, **headers)
    assert server.post(WEAK).headers["x-turnout-fallback"] == "429"
    assert upstream.models == ["small", "big"]


def test_the_wait_reaches_the_client_if_it_can_be_read(start, upstream):
    server = start(server={"fallback": False})
    upstream.default = refuse(429, retry_after="7.5", retry_after_ms="7500")
    answer = server.post(WEAK)
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("7.5", "7500")

    async def superscript(exchange):
        await exchange.send(b"HTTP/1.1 429 X\r\nretry-after: \xb2\r\ncontent-length: 2\r\n\r\n{}")

    upstream.default = superscript
    answer = server.post(WEAK)
    assert (answer.status_code, answer.headers.get("retry-after")) == (429, None)


def test_bytes_of_headers_beyond_ascii_arrive_as_they_were_sent(server, upstream):
    value = "Zoë 中文".encode() + b" \xe9\xff"

    async def script(exchange):
        body = completion("m", "x")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\nopenai-organization: %s\r\n\r\n"
        await exchange.send(head % (len(body), value) + body)

    upstream.default = script
    answer = server.post(WEAK, headers=[(b"user-agent", "Zoë/1".encode()), (b"openai-beta", b"caf\xe9")])
    assert dict(answer.headers.raw)[b"openai-organization"] == value
    assert "\r\nuser-agent: Zoë/1\r\n".encode() in upstream.requests[0].head
    assert "\r\nopenai-beta: café\r\n".encode() in upstream.requests[0].head


@given(st.binary(max_size=20))
def test_any_bytes_of_a_header_pass_or_are_left_out(value):
    sent = passing.to_upstream([(b"user-agent", value)]).get("user-agent")
    assert sent is None or isinstance(sent.encode(), bytes)
    text = value.decode("utf-8", "surrogateescape")
    assert passing.to_client({"OpenAI-X": text}, Secret(KEY)) in ([], [(b"openai-x", value)])


@pytest.mark.parametrize("text", [f"{KEY}\n", f"\ufeff{KEY}\r\n", f"  {KEY}\t ", f"\ufeff {KEY}"])
def test_a_key_is_read_alike_from_the_environment_and_a_file(monkeypatch, tmp_path, text):
    monkeypatch.setenv("UPSTREAM_KEY", text)
    (tmp_path / "key").write_text(text, encoding="utf-8")
    for source in ({"key_env": "UPSTREAM_KEY"}, {"key_file": str(tmp_path / "key")}):
        assert read_key("x", UpstreamSettings(base_url="http://x", **source)) == Secret(KEY)


@pytest.mark.parametrize("text", ["\ufeff\n", " ", "two words", "é"])
def test_a_file_without_a_key_is_refused_without_showing_it(tmp_path, text):
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="no valid key") as caught:
        read_key("x", UpstreamSettings(base_url="http://x", key_file=str(tmp_path / "key")))
    assert "two words" not in str(caught.value)


@pytest.fixture
def proxy():
    """A forward proxy that answers itself: requests through it have an absolute target."""
    with ScriptedUpstream() as found:
        found.default = lambda exchange: exchange.whole(200, completion("m", f"through the proxy to {exchange.target}"))
        yield found


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_requests_go_through_the_proxy_of_the_environment_when_the_settings_say_so(start, proxy, monkeypatch, variable):
    with monkeypatch.context() as changed:  # Not for the client of the test.
        changed.setenv(variable, f"http://user:secret@127.0.0.1:{proxy.port}")
        server = start(upstreams={"main": {"base_url": "http://models.example/v1", "proxy": "env"}})
    text = server.openai().chat.completions.create(**WEAK).choices[0].message.content
    assert text == "through the proxy to http://models.example/v1/chat/completions"
    assert proxy.requests[0].headers["proxy-authorization"].startswith("basic ")


def test_a_proxy_may_be_in_the_settings(start, proxy):
    settings = {"base_url": "http://models.example/v1", "proxy": f"http://127.0.0.1:{proxy.port}"}
    assert "through the proxy" in start(upstreams={"main": settings}).post(WEAK).text


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "127.0.0.1:{port}"])
def test_hosts_of_no_proxy_are_called_directly(start, upstream, proxy, monkeypatch, no_proxy):
    with monkeypatch.context() as changed:
        changed.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.port}")
        changed.setenv("NO_PROXY", no_proxy.format(port=upstream.port))
        server = start(upstreams={"main": {"base_url": upstream.base_url, "proxy": "env"}})
    assert server.post(WEAK).json()["choices"][0]["message"]["content"] == "I am small"
    assert not proxy.requests


def test_without_the_setting_the_environment_is_not_used_and_the_log_says_so(
    start, upstream, proxy, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as changed:
        changed.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        server = start()
    assert server.post(WEAK).status_code == 200
    assert not proxy.requests
    assert 'not used without proxy = "env"' in caplog.text


def test_a_proxy_of_another_kind_is_refused_without_its_password(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:secret@h:1")
    with pytest.raises(ConfigError, match="not an HTTP proxy") as caught:
        proxy_of("main", UpstreamSettings(base_url="https://models.example/v1", proxy="env"))
    assert "secret" not in str(caught.value)


def test_a_proxy_that_refuses_is_a_failure_of_the_connection(start, proxy, caplog):
    proxy.default = refuse(407)
    for scheme, code in (("http", "upstream_407"), ("https", "upstream_connect")):
        settings = {"base_url": f"{scheme}://models.example/v1", "proxy": f"http://127.0.0.1:{proxy.port}"}
        answer = start(upstreams={"main": settings}).post(WEAK)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, code)


@pytest.fixture
def self_signed(tmp_path):
    """A certificate that nobody trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    files = ("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem"))
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1")
    subprocess.run([*command, *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


def test_a_certificate_that_is_not_trusted_is_a_failure_of_the_connection(start, self_signed):
    with ScriptedUpstream(tls=self_signed) as secured:
        server = start(upstreams={"main": {"base_url": secured.base_url, "retries": 0}})
        answer = server.post(WEAK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_connect")
    assert "no valid certificate" in answer.json()["error"]["message"]


def test_a_server_that_speaks_something_else_is_a_failure(start):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def speak():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                connection.close()

        threading.Thread(target=speak, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        server = start(upstreams={"main": {"base_url": url, "backoff_s": 0.01}})
        with pytest.raises(openai.InternalServerError, match="closed the connection"):
            server.openai().chat.completions.create(**WEAK)
