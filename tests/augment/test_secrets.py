"""Keys and passwords go into one header and nowhere else."""

from __future__ import annotations

import base64

import pytest

from turnout import ConfigError
from turnout.augment import Endpoint

KEY = "sk-SECRET123"
#: What an endpoint says that repeats the header it was sent.
ECHO = '{"choices": [], "padding": "' + "x" * 154 + f' Bearer {KEY} and again {KEY}"}}'


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")


def test_white_space_around_a_key_is_not_part_of_it(judge, endpoint, capsys):
    assert judge() == 0
    assert set(endpoint.keys) == {f"Bearer {KEY}"}
    assert KEY not in capsys.readouterr().err


def test_a_key_that_no_header_can_hold_is_told_without_it_before_anything_is_asked(
    judge, endpoint, capsys, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-SECRET\n123")
    assert judge() == 2
    told = capsys.readouterr().err
    assert "OPENAI_API_KEY" in told
    assert "SECRET" not in told
    assert not endpoint.asked


def test_a_key_that_the_endpoint_repeats_is_not_shown_and_not_in_part(judge, endpoint, capsys):
    endpoint.failures = [ECHO]
    assert judge("--concurrency", "1") == 1
    told = capsys.readouterr().err
    assert "not OpenAI's format" in told
    assert "Bearer ***" in told
    assert KEY[:4] not in told


def test_a_key_that_the_endpoint_repeats_in_an_answer_is_not_kept(judge, endpoint):
    endpoint.failures = ['{"choices": [{"message": {"content": "big says, small says: Bearer ' + KEY + '"}}]}']
    judge("--concurrency", "1")
    kept = judge.out.with_name("battles.jsonl.ledger").read_bytes()
    assert b"Bearer ***" in kept
    assert KEY.encode() not in kept


def test_a_placeholder_of_a_key_is_a_word_in_answers(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    assert Endpoint("m", "http://host").redact_answer("SET IS EMPTY") == "SET IS EMPTY"


def test_user_and_password_of_a_url_are_sent_and_not_shown(judge, endpoint, capsys):
    endpoint.failures = [401]
    url = endpoint.url.replace("://", "://me:hunter2@")
    assert judge("--base-url", url, "--concurrency", "1") == 1
    assert set(endpoint.keys) == {"Basic " + base64.b64encode(b"me:hunter2").decode()}
    assert "hunter2" not in capsys.readouterr().err
    assert "hunter2" not in repr(Endpoint("m", url))


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9/v1",
        "localhost/v1",
        "me:hunter2@host/v1",
        "ftp://me:hunter2@host/v1",
        "https://me:hunter2@/v1",
        "https:///v1",
        "https://host:99999/v1",
        "https://host/v1?key=hunter2",
        "https://host/v1\n",
        "",
    ],
)
def test_an_address_that_cannot_be_asked_is_told_before_anything_is_asked(url, judge, endpoint, capsys):
    with pytest.raises(ConfigError, match="expected a URL with scheme and host"):
        Endpoint("m", url)
    assert judge("--weak-url", url or " ") == 2
    told = capsys.readouterr().err
    assert "expected a URL with scheme and host" in told
    assert "hunter2" not in told
    assert not endpoint.asked
    assert not judge.out.with_name("battles.jsonl.ledger").exists()
