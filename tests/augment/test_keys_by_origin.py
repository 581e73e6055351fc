"""A key goes to the origin that it is meant for."""

from __future__ import annotations

import pytest

from turnout import InferenceError
from turnout.augment import Endpoint
from turnout.embeddings.client import EmbeddingClient


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-first")
    monkeypatch.setenv("OTHER_KEY", "sk-other")


def test_another_origin_gets_no_key_that_it_has_no_variable_for(judge, endpoint, other_endpoint, capsys):
    assert judge("--weak-url", other_endpoint.url) == 0
    assert set(endpoint.keys) == {"Bearer sk-first"}
    assert set(other_endpoint.keys) == {None}
    assert "no key is sent for weak: " in capsys.readouterr().err


def test_every_model_can_have_a_key_of_its_own(judge, endpoint, other_endpoint, capsys):
    assert judge("--weak-url", other_endpoint.url, "--weak-key-variable", "OTHER_KEY") == 0
    assert set(endpoint.keys) == {"Bearer sk-first"}
    assert set(other_endpoint.keys) == {"Bearer sk-other"}
    assert "no key" not in capsys.readouterr().err


def test_another_path_of_the_same_origin_gets_the_key(judge, endpoint):
    judge("--judge-url", endpoint.url + "/", "--weak-url", endpoint.url.replace("/v1", "/v2"))
    assert set(endpoint.keys) == {"Bearer sk-first"}


def test_no_redirect_is_followed(judge, endpoint, other_endpoint, capsys):
    to = other_endpoint.url + "/chat/completions"
    endpoint.failures = [to] * 8
    assert judge("--concurrency", "1", "--retries", "0") == 1
    assert "status 307" in capsys.readouterr().err
    endpoint.failures = [to]
    with EmbeddingClient(endpoint.url, "m", retries=0) as client, pytest.raises(InferenceError, match="status 307"):
        client(["a prompt"])
    assert not other_endpoint.asked


@pytest.mark.parametrize("option", ["--strong-key-variable", "--key-variable"])
def test_a_named_variable_that_is_not_set_is_told_before_anything_is_asked(option, judge, endpoint, capsys):
    assert judge(option, "NOT_SET_ANYWHERE") == 2
    assert f"{option} NOT_SET_ANYWHERE" in capsys.readouterr().err
    assert not endpoint.asked


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("https://Host/v1", "https://host:443/v2", True),
        ("http://host", "https://host", False),
        ("http://host:80", "http://host:8000", False),
        ("https://host", "https://host.evil", False),
        ("https://host", "https://host@evil", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(left, right, same):
    assert (Endpoint("m", left).origin == Endpoint("m", right).origin) == same
