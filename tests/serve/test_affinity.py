"""Conversations that stay with their model."""

from __future__ import annotations

import pytest

from turnout.serve.affinity import Affinity
from turnout.serve.settings import AffinitySettings


class Alternating:
    """Strong, weak, strong, weak."""

    is_microseconds = True

    def __init__(self) -> None:
        self.calls = 0

    def win_rate(self, prompt: str) -> float:
        self.calls += 1
        return float(self.calls % 2)


def ask(server, *texts, **headers):
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
    return server.post({"model": "router-alternating-0.5", "messages": messages}, headers=headers).headers[
        "x-turnout-model"
    ]


def alternating(start, **affinity):
    import turnout

    turnout.register_router("alternating", Alternating)
    return start(routers={"alternating": {}}, affinity=affinity)


def test_off_by_default(start):
    server = alternating(start)
    assert [ask(server, "a"), ask(server, "a", "b", "c")] == ["big", "small"]


def test_a_conversation_stays_with_its_model_and_others_do_not(start):
    server = alternating(start, by="conversation")
    assert [ask(server, "a"), ask(server, "a", "b", "c"), ask(server, "other")] == ["big", "big", "big"]
    assert ask(server, "a third") == "small"
    assert server.metric("turnout_affinity_hits_total") == 1


def test_a_header_names_the_session(start):
    server = alternating(start, by="header", header="X-Session-Id")
    assert [ask(server, "a", **{"x-session-id": "1"}), ask(server, "b", **{"x-session-id": "1"})] == ["big", "big"]
    assert [ask(server, "a"), ask(server, "a")] == ["big", "small"]


def test_the_first_message_of_the_user_is_found_by_every_name_of_the_role():
    affinity = Affinity(AffinitySettings(by="conversation"))
    first = affinity.session_of(None, [{"role": "User", "content": "a"}], "m")
    assert first is not None
    assert affinity.session_of(None, [{"role": "User", "content": "a"}, {"role": "User", "content": "b"}], "m") == first


def test_sessions_are_bounded_in_number_and_time():
    now = [0.0]
    affinity = Affinity(AffinitySettings(by="header", sessions=2, ttl_s=10.0), lambda: now[0])
    for session in (b"1", b"2", b"3"):
        affinity.remember(session, True)
    assert [affinity.recall(session) for session in (b"1", b"2", b"3")] == [None, True, True]
    now[0] = 11.0
    assert affinity.recall(b"3") is None


@pytest.mark.parametrize(
    "first",
    [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"role": "human", "content": "a"},
        {"type": "human", "content": "a"},
        {"role": "User", "content": [{"type": "text", "text": "a"}]},
    ],
)
def test_the_users_first_words_tell_a_conversation_whatever_their_role_is_called(first):
    affinity = Affinity(AffinitySettings(by="conversation"))
    result = {"role": "user", "content": [{"type": "tool_result", "content": "12"}]}
    rest = [{"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    session = affinity.session_of(None, [first], "router-mf-0.5")
    assert session is not None
    assert affinity.session_of(None, [first, *rest], "router-mf-0.5") == session
    assert affinity.session_of(None, [{**first, "content": "other"}, *rest], "router-mf-0.5") != session
    # A result of a tool is not the user's: what comes after it still counts.
    of = {text: affinity.session_of(None, [result, {**first, "content": text}], "router-mf-0.5") for text in "ab"}
    assert of["a"] != of["b"]
