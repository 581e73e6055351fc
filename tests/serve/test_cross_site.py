"""Requests that other web sites make through a browser, and those that only look like it."""

from __future__ import annotations

import logging
import socket
import time

import httpx
import pytest

from turnout import ConfigError
from turnout.serve.http.cross_site import AllowedHosts
from turnout.serve.settings.file import settings_of

WEAK = {"model": "router-mf-1.0", "messages": [{"role": "user", "content": "Hello!"}]}
SDK_HEADERS = (
    "authorization content-type user-agent idempotency-key openai-beta openai-organization traceparent x-session-id x-request-id"
    " x-stainless-arch x-stainless-lang x-stainless-os x-stainless-retry-count x-stainless-runtime x-stainless-timeout"
)


def code(answer):
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("bound", "configured", "good", "bad"),
    [
        (
            "127.0.0.1",
            [],
            "localhost:1 LOCALHOST 127.0.0.1:6060 127.1.2.3 [::1]:6060 localhost.",
            "evil 10.0.0.1 [::2]",
        ),
        ("127.0.0.1", ["a.example"], "a.example A.example:80", "b.example xa.example a.example.evil"),
        ("0.0.0.0", [], "10.0.0.1 [fe80::1]:8 localhost", "evil.example"),
        ("::", [], "10.0.0.1 [fe80::1]:8 localhost", "evil.example"),
        ("10.0.0.1", [], "10.0.0.1:6060 127.0.0.1", "10.0.0.2 evil.example"),
        ("", [], "10.0.0.1 [fe80::1]:8 localhost", "evil.example [ a:b:c"),
        ("127.0.0.1", ["10.0.0.9", "FE80:0::1"], "10.0.0.9:80 [fe80::1]:80", "10.0.0.8 [fe80::2]"),
        ("my.host", [], "my.host:6060", "other.host"),
        ("127.0.0.1", ["*"], "anything 10.0.0.1", ""),
        ("127.0.0.1", [], "", "a@localhost@evil [ [::1 evil:1:2 localhost.evil \x00"),
    ],
)
def test_which_hosts_are_this_servers(bound, configured, good, bad):
    hosts = AllowedHosts(bound, configured)
    assert [host for host in good.split() if not hosts.allow(host)] == []
    assert [host for host in bad.split() if hosts.allow(host)] == []


def test_this_machines_name_is_allowed_where_all_addresses_are_bound():
    assert AllowedHosts("0.0.0.0", []).allow(f"{socket.gethostname()}:6060")


def test_a_name_that_points_here_is_refused_everywhere_but_for_probes(server, upstream):
    evil = {"host": "evil.example"}
    assert code(server.post(WEAK, headers=evil)) == (421, "invalid_host")
    for url in (f"{server.url}/", f"{server.url}/v1/models", f"{server.admin_url}/metrics"):
        assert code(httpx.get(url, headers=evil)) == (421, "invalid_host")
    assert code(httpx.post(f"{server.admin_url}/admin/reload", headers=evil)) == (421, "invalid_host")
    for url in (server.url, server.admin_url):
        assert httpx.get(f"{url}/ready", headers=evil).status_code == 200
    assert not upstream.requests
    assert server.metric("turnout_reloads_total", outcome="done") == 0
    assert server.metric("turnout_errors_total", code="invalid_host") == 5


def test_two_hosts_are_refused(server):
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), 10) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_configured_names_are_served(start):
    server = start(server={"allowed_hosts": ["llm.example.com"]})
    assert server.post(WEAK, headers={"host": "llm.example.com"}).status_code == 200


def test_a_refusal_names_what_to_allow(server):
    message = server.post(WEAK, headers={"host": "LLM.example.com:6060"}).json()["error"]["message"]
    assert message == (
        "host 'llm.example.com' is not a name of this server; add it to [server] allowed_hosts, or with --allowed-host"
    )


@pytest.mark.parametrize(
    "host",
    [
        "a.example:80",
        "https://a.example",
        "*.a.example",
        "a.example/",
        "a.example.",
        "[::1]",
        "",
        "a b",
        "-a",
        "bücher.example",
    ],
)
def test_entries_that_would_never_match_are_refused(tables, host):
    with pytest.raises(ConfigError, match=r"\[server\] allowed_hosts has .*, expected a host name or IP address"):
        settings_of({**tables, "server": {"allowed_hosts": ["ok.example", host]}})


def test_names_addresses_and_the_star_are_entries(tables):
    hosts = ("*", "a", "A.example", "xn--bcher-kva.example", "my_host", "10.0.0.1", "::1")
    assert settings_of({**tables, "server": {"allowed_hosts": list(hosts)}}).server.allowed_hosts == hosts


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://other.localhost"},
    ],
)
def test_state_is_not_changed_for_other_origins(server, upstream, headers):
    assert code(server.post(WEAK, headers=headers)) == (403, "invalid_origin")
    assert code(server.post({"prompt": "x"}, "/v1/route", headers=headers)) == (403, "invalid_origin")
    assert code(httpx.post(f"{server.admin_url}/admin/reload", headers=headers)) == (403, "invalid_origin")
    assert not upstream.requests
    assert server.metric("turnout_reloads_total", outcome="done") == 0


def test_the_own_page_and_named_origins_may(start):
    server = start(server={"cors_origins": ["https://app.example"]})
    for headers in (
        {"origin": server.url},
        {"origin": "https://app.example"},
        {"origin": "https://public.example", "sec-fetch-site": "same-origin"},  # Behind a proxy that changes Host.
        {"origin": "http://localhost", "host": "localhost:80"},
        {"origin": "https://localhost", "host": "localhost"},
    ):
        assert server.post(WEAK, headers=headers).status_code == 200, headers
    answer = httpx.post(f"{server.admin_url}/admin/reload", headers={"origin": "https://app.example"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/plain; x=application/json", "application/x-www-form-urlencoded", "x"]
)
def test_types_that_a_page_can_send_unasked_are_refused(server, upstream, kind):
    assert code(server.post(b"{}", headers={"content-type": kind})) == (415, "invalid_content_type")
    assert not upstream.requests


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON ; charset=UTF-8", "application/problem+json"])
def test_json_passes_however_it_is_named(server, kind):
    import json

    assert server.post(json.dumps(WEAK).encode(), headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/models/", "/v1/chat/completions/", "/health/", "//evil.example/", "/playground/"]
)
def test_nothing_is_redirected(server, path):
    for url in (server.url, server.admin_url):
        answer = httpx.get(url + path)
        assert answer.status_code in (404, 405)
        assert "location" not in answer.headers


def test_the_headers_of_sdks_pass_a_preflight(start):
    server = start(server={"cors_origins": ["https://app.example"]})
    for name in [*SDK_HEADERS.split(), SDK_HEADERS.replace(" ", ",")]:
        asked = {
            "origin": "https://app.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": name,
        }
        answer = httpx.options(f"{server.url}/v1/chat/completions", headers=asked)
        assert answer.status_code == 200
        assert set(name.split(",")) <= set(answer.headers["access-control-allow-headers"].replace(" ", "").split(","))


def test_a_page_of_a_named_origin_reads_answers_and_errors(start):
    server = start(server={"cors_origins": ["https://app.example"]})
    for body, status in ((WEAK, 200), ({"model": "nope"}, 404)):
        answer = server.post(body, headers={"origin": "https://app.example"})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert answer.headers["access-control-expose-headers"] == "*"


def test_the_access_log_has_a_line_for_each_request_and_no_prompt(start, caplog):
    caplog.set_level(logging.INFO, "turnout.access")
    server = start(server={"access_log": True})
    server.post(WEAK, headers={"x-request-id": "abc"})
    httpx.get(f"{server.url}/a%0Ab?key=secret")
    server.post(WEAK, headers={"host": "evil.example"})
    end = time.monotonic() + 20
    lines = []
    while len(lines) < 3 and time.monotonic() < end:  # A line is written after the answer was sent.
        time.sleep(0.01)
        lines = [one.getMessage() for one in caplog.records if one.name == "turnout.access"]
    assert [line.split(" ms ")[1] for line in lines] == ["abc", "-", "-"]
    assert lines[0].startswith("127.0.0.1 POST /v1/chat/completions 200 ")
    assert lines[1].startswith("127.0.0.1 GET /a%0Ab 404 ")
    assert lines[2].startswith("127.0.0.1 POST /v1/chat/completions 421 ")


def test_no_access_log_unless_asked_for(server, caplog):
    caplog.set_level(logging.INFO, "turnout.access")
    server.post(WEAK)
    assert not [one for one in caplog.records if one.name == "turnout.access"]


def test_each_listed_model_is_found_by_its_name(start):
    name = "openrouter/meta-llama/llama-3.1-70b:free"
    server = start(models={name: {"upstream": "main"}}, aliases={"auto": {"router": "mf"}})
    client = server.openai()
    listed = [one.id for one in client.models.list()]
    assert {"router-mf", "auto", "big", name} <= set(listed)
    assert [client.models.retrieve(one).id for one in listed] == listed
    assert code(httpx.get(f"{server.url}/v1/models/nope")) == (404, "model_not_found")
    for name in ("router-mf-0.5", "router-mf-share-0.3", "router-random-1"):
        assert client.models.retrieve(name).id == name
    for name in ("router-nope-0.5", "router-mf-2", "router-mf-x", "router-"):
        assert code(httpx.get(f"{server.url}/v1/models/{name}")) == (404, "model_not_found")
