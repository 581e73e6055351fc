"""The configuration: what it says when something is wrong, and the example file."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path

import pytest

from turnout import ConfigError
from turnout.cli import main
from turnout.serve.settings.file import _model as table_of
from turnout.serve.settings.file import read_config, settings_of, simple_settings
from turnout.serve.settings.tables import RouterSettings, Settings

EXAMPLE = Path(__file__).parents[2] / "docs" / "turnout.toml"

#: Free ones: those of the default may be taken.
PORTS = ["--port", "0", "--admin-port", "0"]

GOOD = {
    "pair": {"strong": "big", "weak": "small"},
    "upstreams": {"main": {"base_url": "http://localhost:8000/v1"}},
    "models": {"big": {"upstream": "main"}, "small": {"upstream": "main"}},
}


def test_defaults_stand_where_nothing_is_said():
    settings = settings_of(GOOD)
    assert (settings.server.port, settings.server.host, settings.sessions.stay) == (6060, "127.0.0.1", "turn")
    assert settings.routers == {"mf": RouterSettings()}
    assert settings.server.playground


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sever": {}}, r"unknown table \[sever\]"),
        ({"server": {"prot": 1}}, r"\[server\] has an unknown key 'prot'"),
        ({"server": {"port": "1"}}, r"\[server\] port is '1', expected a valid integer"),
        ({"server": {"port": 70000}}, r"\[server\] port is 70000, expected less than or equal to 65535"),
        ({"server": {"fallback": 1}}, "expected true or false"),
        ({"server": {"context": "all"}}, "last_user, conversation"),
        ({"server": {"passthrough": "nope"}}, "expected one of main"),
        ({"server": {"cors_origins": "x"}}, r"\[server\] cors_origins is 'x', expected an array"),
        ({"server": {"cors_origins": [1]}}, r"\[server\] cors_origins\[0\] is 1, expected a valid string"),
        ({"server": {"cors_origins": ["*"], "client_keys_file": "k"}}, "expected the origins that may send keys"),
        ({"pair": {"strong": "big"}}, r"\[pair\] lacks 'weak'"),
        ({"pair": {"strong": "big", "weak": "nope"}}, "expected one of big, small"),
        ({"upstreams": {"main": {"base_url": "localhost"}}}, "expected http:// or https://"),
        ({"upstreams": {"main": {"base_url": "http://key@host/v1"}}}, "put keys into key_env"),
        ({"upstreams": {"main": {"base_url": "http://h", "key_env": "A", "key_file": "b"}}}, "expected one"),
        (
            {"upstreams": {"main": {"base_url": "http://h", "retries": -1}}},
            r"\[upstreams.main\] retries is -1, expected greater than or equal to 0",
        ),
        (
            {"upstreams": {"main": {"base_url": "http://h", "total_timeout_s": 0}}},
            "total_timeout_s is 0, expected greater than 0",
        ),
        ({"models": {"big": {"upstream": "x"}, "small": {"upstream": "main"}}}, "upstream is 'x'"),
        ({"models": {"big": {"upstream": "main", "capabilities": ["smell"]}, "small": {"upstream": "main"}}}, "smell"),
        ({"models": {"big": {"upstream": "main", "dialects": ["grpc"]}, "small": {"upstream": "main"}}}, "'responses'"),
        ({"models": {"big": {"upstream": "main", "dialects": []}, "small": {"upstream": "main"}}}, "at least 1 item"),
        (
            {"models": {"big": {"upstream": "main", "dialects": ["responses"], "translate": "litellm"}}},
            r"\[models.big\] translate is 'litellm', which translates to chat or messages, and dialects has neither",
        ),
        ({"upstreams": {"main": {"base_url": "http://h/v1/messages"}}}, "base_url ends with /messages"),
        ({"aliases": {"a": {"router": "nope"}}}, "router is 'nope', expected one of mf"),
        ({"aliases": {"a": {"router": "mf", "threshold": 2.0}}}, r"\[aliases.a\] threshold is 2.0, expected less"),
        ({"aliases": {"a": {"router": "mf", "threshold": 0.1, "strong_share": 0.1}}}, "expected one"),
        ({"aliases": {"big": {"router": "mf"}}}, "also the name of a model"),
        ({"sessions": {"stay": "moon"}}, "expected 'off', 'turn' or 'conversation'"),
        ({"agents": {"harness_tags": [" "]}}, r"\[agents\] harness_tags has an empty text"),
        ({"aliases": {"a": {"threshold": 0.5}}}, r"\[aliases.a\] expected either router or model"),
        ({"aliases": {"a": {"model": "small", "threshold": 0.5}}}, "model stands for another name"),
        ({"aliases": {"claude-*": "router-nope"}}, r"\[aliases.claude-\*\] model: invalid router"),
        ({"aliases": {"claude-*": "nobody"}}, r"\[aliases.claude-\*\] model is 'nobody', expected one of big, small"),
        ({"aliases": {"a": "b", "b": "small"}}, "which is an alias of a name itself"),
        ({"log": {"format": "xml"}}, "expected 'jsonl' or 'parquet'"),
        ({"server": 3}, r"\[server\] is 3, expected a table"),
        ({"server": {"shutdown_s": float("nan")}}, "shutdown_s is nan, expected a finite number"),
        ({"server": {"max_concurrency": True}}, "max_concurrency is True, expected a valid integer"),
        ({"server": {"port": -1, "fallback": 3}}, r"\(1 more\)"),
        ({"routers": {"mf": 3}}, r"\[routers.mf\] is 3, expected a table"),
        ({"routers": {"mf": {"threshold": "0.5"}}}, r"\[routers.mf\] threshold is '0.5', expected a valid number"),
        ({"routers": {"mf": {"threshold": 0.5, "strong_share": 0.5}}}, r"\[routers.mf\] both"),
        ({"pair": {"strong": "big", "weak": "big"}}, "both 'big', expected two models"),
        ({"upstreams": {"main": {"base_url": "http://h/v1/chat/completions"}}}, "expected the part before it"),
        ({"upstreams": {"main": {"base_url": "http://h/v1?api-version=1"}}}, "expected it in a table: query"),
        ({"upstreams": {"main": {"base_url": "http://h", "query": {"a": 1}}}}, "query a is 1, expected a valid string"),
        ({"upstreams": {"main": {"base_url": "http://h", "headers": {"a b": "x"}}}}, "expected the name of a header"),
        ({"upstreams": {"main": {"base_url": "http://h", "headers": {"Host": "x"}}}}, "the server sets itself"),
        ({"upstreams": {"main": {"base_url": "http://h", "headers": {"Authorization": "x"}}}}, "key_env or key_file"),
        ({"upstreams": {"main": {"base_url": "http://h", "headers": {"a": "x\r\nb: c"}}}}, "expected printable ASCII"),
        ({"upstreams": {"main": {"base_url": "http://h", "key_header": "host"}}}, "the server sets itself"),
        ({"upstreams": {"main": {"base_url": "http://h", "proxy": "socks5://h"}}}, 'expected "env" or a URL'),
        ({"upstreams": {"main": {"base_url": "http://h", "proxy": "http://a:b@h"}}}, "proxy has a password"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(change, words):
    with pytest.raises(ConfigError, match=words):
        settings_of({**GOOD, **change})


def test_a_pair_or_a_pool_is_required():
    with pytest.raises(ConfigError, match=r"\[pair\] or \[pool\] is missing"):
        settings_of({name: table for name, table in GOOD.items() if name != "pair"})


def test_the_file_is_named_in_errors(tmp_path):
    (tmp_path / "t.toml").write_text("[server]\nport = \nhost = 1")
    with pytest.raises(ConfigError, match=r"t\.toml: .*line 2"):
        read_config(tmp_path / "t.toml")


def test_the_example_file_is_checked_and_printed(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-shown")
    monkeypatch.chdir(tmp_path)
    text = EXAMPLE.read_text().replace("port = 6060", "port = 0").replace("port = 6061", "port = 0")
    (tmp_path / "turnout.toml").write_text(text)
    assert main(["serve", "--config", "turnout.toml", "--check"]) == 0
    out = capsys.readouterr().out
    assert "sk-not-shown" not in out
    for line in ("listen      http://127.0.0.1:0", "router      mf: artifact", "alias       auto: router mf"):
        assert line in out


def test_a_check_fails_where_litellm_is_missing(monkeypatch, capsys, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "litellm" else found(name, *more)
    )
    text = EXAMPLE.read_text().replace("# translate =", "translate =").replace('key_env = "OPENAI_API_KEY"', "")
    (tmp_path / "turnout.toml").write_text(text)
    assert main(["serve", "--config", str(tmp_path / "turnout.toml"), "--check"]) != 0
    assert "translate = \"litellm\" needs litellm: pip install 'turnout[litellm]'" in capsys.readouterr().err


def test_every_setting_stands_in_the_example_file():
    text = EXAMPLE.read_text()
    for name in Settings.model_fields:
        assert f"[{name}" in text
        for field in table_of([name]).model_fields:
            assert f"\n{field} = " in text or f"\n# {field} = " in text, f"[{name}] {field}"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_saved_on_windows_is_read_as_any_other(tmp_path, newline):
    text = EXAMPLE.read_text()
    (tmp_path / "t.toml").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", newline).encode())
    assert read_config(tmp_path / "t.toml") == read_config(EXAMPLE)


def test_a_file_in_another_encoding_is_refused_by_name(tmp_path):
    (tmp_path / "t.toml").write_text("[server]", encoding="utf-16")
    with pytest.raises(ConfigError, match=r"t\.toml: not UTF-8 at byte 0"):
        read_config(tmp_path / "t.toml")


def test_an_unknown_key_does_not_show_its_value():
    with pytest.raises(ConfigError) as caught:
        settings_of({**GOOD, "upstreams": {"main": {"base_url": "http://h/v1", "api_key": "sk-secret"}}})
    assert "unknown key 'api_key'" in str(caught.value)
    assert "sk-secret" not in str(caught.value)


def test_flags_are_the_simple_case(capsys, monkeypatch, artifact):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    flags = ["--strong-model", "big", "--weak-model", "small", "--base-url", "http://localhost:1/v1"]
    assert (
        main(["serve", *flags, "--router", "mf", str(artifact), "random", "--threshold", "0.25", *PORTS, "--check"])
        == 0
    )
    out = capsys.readouterr().out
    assert "router      tiny: artifact" in out
    assert out.count("threshold 0.25") == 3
    assert "no key" in out


def test_the_proxy_of_the_endpoint_is_a_flag_and_shown_without_its_password(capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@proxy.example:3128")
    monkeypatch.setenv("http_proxy", "http://user:secret@proxy.example:3128")
    flags = ["--strong-model", "big", "--weak-model", "small", "--base-url", "http://models.example/v1", "--port", "0"]
    assert main(["serve", *flags, "--admin-port", "0", "--proxy", "env", "--check"]) == 0
    out = capsys.readouterr().out
    assert "http://models.example/v1, no key, through the proxy proxy.example:3128" in out
    assert "secret" not in out
    assert main(["serve", *flags, "--admin-port", "0", "--check"]) == 0
    assert "through the proxy" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--strong-model", "a"], "--weak-model, --base-url missing"),
        (["--config", "x.toml", "--strong-model", "a"], "--strong-model given together with --config"),
        (["--config", "x.toml", "--threshold", "1"], "--threshold given together with --config"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (
            ["--strong-model", "a", "--weak-model", "b", "--base-url", "http://h", "--router", "nope"],
            "no router 'nope'",
        ),
        (
            ["--strong-model", "a", "--weak-model", "b", "--base-url", "http://h", "--threshold", "7"],
            "expected less than or equal to 1",
        ),
    ],
)
def test_wrong_flags_are_one_line_on_stderr(flags, words, capsys):
    ports = [] if "--config" in flags else PORTS
    assert main(["serve", *flags, *ports, "--check"]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_other_names_pass_through_in_the_simple_case():
    settings = simple_settings("a", "b", "http://h/v1", key_env="", dialects=["messages"])
    assert settings.server.passthrough == "default"
    assert {model.dialects for model in settings.models.values()} == {("messages",)}


FILE = """\
[server]
port = {port}
admin_port = {admin}
{server}
[pair]
strong = "big"
weak = "small"
[upstreams.main]
base_url = "http://127.0.0.1:1/v1"
{upstream}
[models.big]
upstream = "main"
[models.small]
upstream = "main"
{more}
"""


def written(folder, port=0, admin=0, server="", upstream="", more=""):
    path = folder / "turnout.toml"
    path.write_text(FILE.format(port=port, admin=admin, server=server, upstream=upstream, more=more))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"upstream": 'key_file = "nowhere"'}, "nowhere"),
        ({"upstream": 'key_env = "NO_SUCH_VARIABLE"'}, "NO_SUCH_VARIABLE"),
        ({"server": 'client_keys_file = "nowhere"'}, "client_keys_file nowhere"),
        ({"server": 'context = "no_such_module:function"'}, "no_such_module"),
        (
            {"more": '[log]\npath = "no/such/folder/d.jsonl"'},
            r"[log] path 'no/such/folder/d.jsonl' cannot be written: No such file",
        ),
        ({"more": '[log]\npath = "."'}, "Is a directory"),
        ({"more": '[log]\npath = "turnout.toml"\nformat = "parquet"'}, "turnout.toml"),
        ({"more": '[routers.mine]\npath = "nowhere"'}, "nowhere"),
        ({"server": 'host = "192.0.2.1"'}, "cannot listen on 192.0.2.1"),
    ],
)
def test_check_and_start_find_the_same(tmp_path, monkeypatch, capsys, change, words):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, **change)
    errors = []
    for flags in (["--check"], []):
        assert main(["serve", "--config", str(path), *flags]) == 2
        errors.append(capsys.readouterr().err)
    assert words in errors[0]
    assert errors[0] == errors[1]


@pytest.mark.parametrize("which", ["port", "admin"])
def test_check_and_start_find_a_port_that_is_taken(tmp_path, capsys, which):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        path = written(tmp_path, **{which: taken.getsockname()[1]})
        for flags in (["--check"], []):
            assert main(["serve", "--config", str(path), *flags]) == 2
            assert f"cannot listen on 127.0.0.1:{taken.getsockname()[1]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "more"),
    [("pyarrow", '[log]\npath = "log"\nformat = "parquet"'), ("opentelemetry", "[telemetry]\notel = true")],
)
def test_check_finds_an_extra_that_is_missing(tmp_path, monkeypatch, capsys, module, more):
    monkeypatch.chdir(tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == module else find(name, *rest))
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["serve", "--config", str(written(tmp_path, more=more)), "--check"]) == 2
    assert "pip install 'turnout[" in capsys.readouterr().err


@pytest.mark.parametrize("log_format", ["jsonl", "parquet"])
def test_check_leaves_no_file_behind(tmp_path, monkeypatch, capsys, log_format):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, more=f'[log]\npath = "log"\nformat = "{log_format}"')
    assert main(["serve", "--config", str(path), "--check"]) == 0
    assert [one.name for one in tmp_path.rglob("*") if one.is_file()] == ["turnout.toml"]
