"""Aliases: other names for routers and models, and patterns of them."""

from __future__ import annotations

import httpx
import pytest

from turnout.serve.decisions.planning import spec_of
from turnout.serve.routers.model_names import ModelNames
from turnout.serve.settings.aliases import AliasSettings

HELLO = [{"role": "user", "content": "Hello!"}]
ALIASES = {
    "claude-haiku-*": "small",
    "claude-*": "router-mf-0.0",
    "gpt-*-mini": {"router": "mf", "threshold": 1.0},
    "plain": "big",
    "twice": "cheap",
    "cheap": {"router": "mf", "threshold": 1.0},
}


@pytest.mark.parametrize(
    ("name", "model", "is_routed"),
    [
        ("claude-haiku-4-5-20251001", "small", False),
        ("claude-opus-4-5[1m]", "big", True),
        ("claude-", "big", True),
        ("gpt-5-mini", "small", True),
        ("plain", "big", False),
        ("twice", "small", True),
        ("small", "small", False),
        ("router-mf-1.0", "small", True),
    ],
)
def test_names_and_patterns_lead_to_a_router_or_a_model(start, upstream, name, model, is_routed):
    server = start(aliases=ALIASES)
    answer = server.post({"model": name, "messages": HELLO})
    assert (answer.headers["x-turnout-model"], "x-turnout-router" in answer.headers) == (model, is_routed)
    assert upstream.models == [model]
    assert httpx.get(f"{server.url}/v1/models/{name}").json()["id"] == name


def test_what_matches_no_pattern_is_unknown_and_patterns_are_not_listed(start):
    server = start(aliases=ALIASES)
    for name in ("Claude-x", "xclaude-1", "gpt-5-mini-x", "claude"):
        assert server.post({"model": name, "messages": HELLO}).status_code == 404
    assert httpx.get(f"{server.url}/v1/models/claude").status_code == 404
    listed = [one["id"] for one in httpx.get(f"{server.url}/v1/models").json()["data"]]
    assert listed == ["router-mf", "router-random", "plain", "twice", "cheap", "big", "small"]


def test_exact_names_count_before_a_pattern_for_all(start, upstream):
    server = start(aliases={"*": "router-mf-0.0"})
    for name in ("anything", "small", "router-mf-1.0"):
        server.post({"model": name, "messages": HELLO})
    assert upstream.models == ["big", "small", "small"]


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*", "", True),
        ("**", "x", True),
        ("a*b*c", "abxbc", True),
        ("a*b*c", "acb", False),
        ("a*bc*c", "abc", False),
        ("a.*", "axb", False),
        ("*a*a*a*a*a*a*b", "a" * 100_000, False),
    ],
)
def test_a_star_is_any_text(pattern, name, matches):
    found = ModelNames({pattern: AliasSettings(router="mf")}, []).resolve(name)
    assert (found == pattern) == matches


def test_names_that_clients_write_are_kept_only_if_they_are_short(start):
    snapshot = start().state.snapshot
    short, long = "router-mf-0.25", "router-mf-0.5" + "0" * 1_000_000
    assert [spec_of(name, snapshot)[0].threshold for name in (short, long)] == [0.25, 0.5]
    assert list(snapshot.specs) == [short]
