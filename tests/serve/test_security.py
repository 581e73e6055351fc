"""Keys, secrets, headers and bodies that mean harm."""

from __future__ import annotations

import json
import logging
import random
import socket

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_upstream import refuse

from turnout import ConfigError
from turnout.cli import main
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.client_keys import ClientKeys, key_hash
from turnout.serve.http.json_body import replace_model
from turnout.serve.settings.upstreams import UpstreamSettings
from turnout.serve.upstreams import headers as passing
from turnout.serve.upstreams.secrets import Secret, read_key

HELLO = [{"role": "user", "content": "Hello!"}]
WEAK = {"model": "router-mf-1.0", "messages": HELLO}
KEY = "sk-upstream-secret-0123456789"
CLIENT_KEY = "a-long-random-client-key"


@pytest.fixture
def keys_file(tmp_path):
    path = tmp_path / "keys.txt"
    path.write_text(f"# clients\n\nteam-a:{key_hash(CLIENT_KEY)}\n")
    return path


def test_clients_show_a_key_where_keys_are_configured(start, upstream, keys_file):
    server = start(server={"client_keys_file": str(keys_file)})
    with pytest.raises(openai.AuthenticationError):
        server.openai(api_key="wrong").chat.completions.create(**WEAK)
    assert server.post(WEAK).status_code == 401
    for path in ("/v1/models", "/playground/api/x"):
        assert httpx.get(server.url + path).status_code == 401
    assert httpx.get(server.url + "/health").status_code == 200
    assert not upstream.requests
    assert server.openai(api_key=CLIENT_KEY).chat.completions.create(**WEAK).choices[0].message.content == "I am small"


def test_a_clients_key_never_reaches_the_upstream(start, upstream, keys_file):
    start(server={"client_keys_file": str(keys_file)}).openai(api_key=CLIENT_KEY).chat.completions.create(**WEAK)
    assert "authorization" not in upstream.requests[0].headers


def test_keys_on_disk_are_hashes_and_the_command_makes_them(monkeypatch, capsys, tmp_path):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(CLIENT_KEY + "\n"))
    assert main(["serve", "--hash-key"]) == 0
    line = capsys.readouterr().out
    assert CLIENT_KEY not in line
    (tmp_path / "keys").write_text(line)
    keys = ClientKeys.from_file(str(tmp_path / "keys"))
    assert keys.client_of(f"Bearer {CLIENT_KEY}") == "client-name"
    assert keys.client_of(CLIENT_KEY) is keys.client_of(None) is keys.client_of("Bearer ") is None


def test_a_keys_file_saved_on_windows_is_read(tmp_path):
    (tmp_path / "keys").write_bytes(
        b"\xef\xbb\xbf" + f"# clients\r\n team-a: {key_hash(CLIENT_KEY).upper()} \r\n".encode()
    )
    assert ClientKeys.from_file(str(tmp_path / "keys")).client_of(f"Bearer {CLIENT_KEY}") == "team-a"


@pytest.mark.parametrize("content", [CLIENT_KEY, f"a:{CLIENT_KEY}", "", "\xff", f"a:{'0' * 64}\na:{'1' * 64}"])
def test_a_bad_keys_file_is_told_by_line_and_never_shown(tmp_path, content):
    (tmp_path / "keys").write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError) as caught:
        ClientKeys.from_file(str(tmp_path / "keys"))
    assert CLIENT_KEY not in str(caught.value)


def test_the_upstreams_key_comes_from_the_environment_or_a_file(start, upstream, monkeypatch, tmp_path):
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    server = start(upstreams={"main": {"base_url": upstream.base_url, "key_env": "UPSTREAM_KEY"}})
    server.post(WEAK, headers={"authorization": "Bearer of-the-client"})
    assert upstream.requests[0].headers["authorization"] == f"bearer {KEY}"
    (tmp_path / "key").write_text(KEY + "\n")
    assert read_key("x", UpstreamSettings(base_url="http://x", key_file=str(tmp_path / "key"))) == Secret(KEY)


@pytest.mark.parametrize("value", ["", "two words", "line\nbreak", "é"])
def test_a_key_that_can_be_none_is_refused_without_showing_it(monkeypatch, value):
    monkeypatch.setenv("UPSTREAM_KEY", value)
    with pytest.raises(ConfigError, match="UPSTREAM_KEY") as caught:
        read_key("x", UpstreamSettings(base_url="http://x", key_env="UPSTREAM_KEY"))
    assert not value or value not in str(caught.value)


def test_the_upstreams_key_is_in_no_log_and_no_error(start, upstream, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    server = start(
        upstreams={"main": {"base_url": upstream.base_url, "key_env": "UPSTREAM_KEY", "retries": 0}},
        server={"fallback": False},
    )

    async def echo(exchange):
        await exchange.whole(400, json.dumps({"error": {"message": f"bad key {KEY}"}}).encode())

    texts = []
    for script in (echo, refuse(401), refuse(500), lambda exchange: exchange.abort()):
        upstream.scripts = [script]
        answer = server.post(WEAK)
        texts.append(f"{answer.status_code} {answer.text} {answer.headers}")
    texts += [caplog.text, repr(server.state.snapshot), repr(vars(server.state.snapshot.upstreams["main"]))]
    texts.append(server.state.metrics.text().decode())
    assert not [text for text in texts if KEY in text]
    assert texts[1].startswith("502")  # a refused key is the server's fault, not the client's


def test_a_secret_is_never_text():
    import pickle

    assert KEY not in f"{Secret(KEY)} {Secret(KEY)!r} {[Secret(KEY)]}"
    with pytest.raises(TypeError):
        pickle.dumps(Secret(KEY))


def test_no_url_is_ever_taken_from_a_request(server, upstream):
    for body in ({**WEAK, "base_url": "http://evil", "api_base": "http://evil"}, {**WEAK, "model": "http://evil/v1"}):
        server.post(body, headers={"x-base-url": "http://evil", "x-forwarded-host": "evil", "forwarded": "host=evil"})
    assert len(upstream.requests) == 1
    assert upstream.requests[0].headers["host"] == f"127.0.0.1:{upstream.port}"


def test_only_known_headers_pass_in_either_direction(server, upstream):
    from scripted_upstream import completion

    async def script(exchange):
        await exchange.whole(
            200,
            completion("m", "x"),
            set_cookie="a=b",
            x_ratelimit_limit="9",
            server="theirs",
            x_turnout_model="forged",
        )

    upstream.default = script
    sent = {
        "cookie": "c=d",
        "x-forwarded-for": "1.2.3.4",
        "authorization": "Bearer x",
        "openai-beta": "v2",
        "x-request-id": "my-id.1",
    }
    answer = server.post(WEAK, headers=sent)
    arrived = upstream.requests[0].headers
    assert not {"cookie", "x-forwarded-for", "authorization"} & arrived.keys()
    assert arrived["openai-beta"] == "v2"
    assert not {"set-cookie", "server"} & answer.headers.keys()
    assert answer.headers["x-ratelimit-limit"] == "9"
    assert answer.headers.get_list("x-turnout-model") == ["small"]
    assert answer.headers["x-request-id"] == "my-id.1"


@pytest.mark.parametrize("value", ["a b", "x" * 129, 'a"b', "<script>", ""])
def test_a_request_id_that_cannot_be_echoed_is_replaced(server, value):
    assert len(server.post(WEAK, headers={"x-request-id": value}).headers["x-request-id"]) == 32


def test_header_injection_is_refused(server, upstream):
    address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    body = json.dumps(WEAK).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nopenai-beta: a\rset-cookie: b\x00\r\ncontent-length: %d\r\n\r\n"
    with socket.create_connection(address, 10) as connection:
        connection.sendall(head % len(body) + body)
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 400")
    assert not upstream.requests


@given(st.text())
def test_a_name_in_a_header_is_always_one_line_of_ascii(name):
    value = passing.safe_value(name.encode("utf-8", "replace").decode())
    assert all(0x21 <= byte <= 0x7E for byte in value)


def test_deep_and_large_json_is_refused_or_answered_but_never_hangs(server):
    for body in (
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"model":"router-mf-1","messages":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ):
        assert server.post(body).status_code == 400
    escapes = b'{"x":"' + b"\\u006d" * 200_000 + b'","model":"router-mf-1","messages":[{"role":"user","content":"x"}]}'
    assert server.post(escapes).status_code == 200


@pytest.mark.parametrize("stay", ["off", "turn", "conversation"])
def test_nesting_is_read_or_refused_and_never_an_error_of_the_server(start, stay):
    server = start(sessions={"stay": stay})
    request = '{"model": "router-mf-1.0", "messages": [{"role": "user", "content": CONTENT}], "tools": TOOLS, "stream": STREAM, "threshold": STREAM}'
    for depth in (100, 253, 254, 255, 500, 1000, 1015, 1024, 3000):
        nested = "[" * depth + "]" * depth
        part = f'[{{"type": "text", "text": "x", "y": {nested}}}]'
        for content, tools, stream in (
            (nested, "[]", "null"),
            (part, "[]", "null"),
            ('"x"', nested, "null"),
            ('"x"', "[]", nested),
        ):
            body = request.replace("CONTENT", content).replace("TOOLS", tools).replace("STREAM", stream)
            named = body.replace('"model": "router-mf-1.0"', '"router": "mf"')
            for path, sent in (("/v1/chat/completions", body), ("/v1/route", body), ("/v1/route", named)):
                answer = server.post(sent.encode(), path)
                assert answer.status_code in (200, 400), (depth, answer.text)
                assert len(answer.content) < 2000


def test_what_a_client_sent_is_quoted_in_part(server):
    long = "\x00" * 300_000
    user = {"role": "user", "content": "x"}
    requests = [
        {"model": long},
        {"model": "router-" + long},
        {"model": "router-mf-" + long},
        {"messages": long},
        {"messages": [{**user, "role": long}]},
        {"messages": [{**user, "content": [{"type": long}]}]},
        {"stream": long},
        {"router": long},
        {"router": "mf", "threshold": long},
        {"prompt": {long: 1}},
    ]
    for request in requests:
        for path in ("/v1/chat/completions", "/v1/route"):
            answer = server.post({**WEAK, **request}, path)
            assert len(answer.content) < 3000, (list(request), path)
    assert len(httpx.get(f"{server.url}/v1/models/{'%01' * 5000}").content) < 3000


def test_any_json_gets_an_answer_in_the_shape_of_openai(start):
    server = start(sessions={"stay": "conversation"}, models={"small": {"upstream": "main", "capabilities": []}})
    chance = random.Random(0)
    text_part, bare = {"type": "text"}, {"role": "user"}
    messages = [
        [{}],
        [bare],
        [{**bare, "content": None}],
        [{**bare, "content": [text_part]}],
        [{**bare, "content": [3]}],
    ]
    messages += [
        [{"role": ["user"], "content": "x"}],
        [{**bare, "content": "x"}],
        [[[]]],
        [{**bare, "content": [{"type": []}]}],
    ]
    names = ["router-", "router-mf-", "router-mf-share-", "router-mf-share-9", "router-random-0.5", "router-mf-1"]
    values = [None, True, 0, 1.5, "x", "", [], {}, {"a": [1]}, *messages, *names]
    keys = "model messages stream tools prompt router threshold strong_share functions".split()
    with httpx.Client(timeout=30) as client:
        for _ in range(400):
            body = {key: chance.choice(values) for key in chance.sample(keys, chance.randint(0, 6))}
            if chance.random() < 0.5:
                body["model"] = "router-mf-0.5"
            for path in ("/v1/chat/completions", "/v1/route"):
                answer = client.post(server.url + path, json=body)
                assert answer.status_code in (200, 400, 404), (body, answer.text)
                assert answer.status_code == 200 or set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_context_function_that_fails_is_the_servers_error(start, tmp_path, monkeypatch):
    (tmp_path / "picking.py").write_text("def broken(messages):\n    raise KeyError('secret text')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    answer = start(server={"context": "picking:broken"}).post(WEAK)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "router_failed")
    assert "secret text" not in answer.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["model", "a", '"model"', "m\\o"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.text(), st.booleans(), st.sampled_from([None, 2]))
def test_replacing_the_model_changes_nothing_else(fields, model, ascii_only, indent):
    try:
        body = json.dumps({**fields, "model": model}, ensure_ascii=ascii_only, indent=indent).encode()
    except UnicodeEncodeError:
        return
    assert json.loads(replace_model(body, "other")) == {**fields, "model": "other"}


@pytest.mark.parametrize(
    "body",
    [
        rb'{"mod\u0065l": "a", "x": "\"model\": \"b\""}',
        rb'{"x": {"model": "b"}, "model"  :"a"}',
        b'{"x": "model", "y": ["model"], "model":\r\n"a" }',
        rb'{"model": "\u0061"}',
        rb'{"x": "\\", "model": "a", "n": 123456789012345678901234567890}',
    ],
)
def test_the_outermost_model_is_found_however_it_is_written(body):
    before, after = json.loads(body), json.loads(replace_model(body, "other"))
    assert after.pop("model") == "other"
    assert before.pop("model") == "a"
    assert before == after


@pytest.mark.parametrize("body", [b'{"model":"a","model":"b"}', rb'{"model":"a","mod\u0065l":"b"}'])
def test_two_models_are_refused(body):
    with pytest.raises(ApiError, match="2 times"):
        replace_model(body, "other")


def test_cors_is_off_unless_origins_are_named(start, server):
    asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in httpx.options(server.url + "/v1/models", headers=asked).headers
    named = start(server={"cors_origins": ["https://app.example"]})
    answer = httpx.options(named.url + "/v1/models", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    other = httpx.options(named.url + "/v1/models", headers={**asked, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_admin_and_metrics_are_on_their_own_address_only(server):
    for path in ("/metrics", "/admin/reload", "/admin/changes", "/admin/changes/confirm"):
        assert httpx.post(server.url + path).status_code in (404, 405)
    assert httpx.post(server.admin_url + "/v1/chat/completions", json=WEAK).status_code == 404
