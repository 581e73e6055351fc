"""Turns and conversations that stay with the model that began them."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from scripted_upstream import refuse
from tests.serve.dialects import SPOKEN, speak

from turnout.serve.http.client_keys import key_hash
from turnout.serve.sessions.sessions import Session


@pytest.fixture
def begin(alternating):
    """Starts a server whose router alternates, with settings of `[sessions]`."""
    return lambda **settings: alternating(sessions=settings)


def ask(server, *texts, **headers):
    """The model that answers a chat of user and assistant."""
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
    return server.post({"model": "router-alternating-0.5", "messages": messages}, headers=headers).headers[
        "x-turnout-model"
    ]


def test_each_turn_of_the_user_is_decided_by_default(begin):
    server = begin()
    assert [ask(server, "a"), ask(server, "a", "b", "c"), ask(server, "a", "b", "yes")] == ["big", "small", "big"]


def test_a_conversation_stays_with_its_model_and_others_do_not(begin):
    server = begin(stay="conversation")
    assert [ask(server, "a"), ask(server, "a", "b", "c"), ask(server, "other")] == ["big", "big", "small"]
    assert server.metric("turnout_undecided_total", rule="conversation") == 1
    assert server.state.recent.count == 2


def test_a_header_names_the_session(begin):
    server = begin(stay="conversation", headers=["X-Session-Id", "X-Other"])
    for name in ("x-session-id", "x-other"):
        one = [ask(server, "a", **{name: "1"}), ask(server, "b", **{name: "1"})]
        two = [ask(server, "a", **{name: "2"}), ask(server, "b", **{name: "2"})]
        assert (one, two) == (["big"] * 2, ["small"] * 2)


def test_nothing_stays_where_sessions_are_off(begin):
    server = begin(stay="off")
    assert [steps(server, SPOKEN["chat"], count) for count in (0, 1, 2)] == ["big", "small", "big"]


def test_the_least_recently_used_sessions_are_forgotten(begin):
    server = begin(stay="conversation", most=2)
    found = [ask(server, one, "yes", "go on") for one in ("a", "b", "a", "c", "a", "b")]
    assert found == ["big", "small", "big", "big", "big", "small"]


def test_the_first_request_of_a_conversation_is_decided_although_another_client_said_hello(begin):
    server = begin(stay="conversation")
    assert [ask(server, "Hello") for _ in range(3)] == ["big", "small", "big"]
    assert ask(server, "Hello", "Hi!", "Sort a list.") == "big"
    assert server.metric("turnout_undecided_total", rule="conversation") == 1


@pytest.mark.parametrize("stay", ["turn", "conversation"])
def test_clients_with_keys_have_sessions_of_their_own(alternating, tmp_path, stay):
    keys = {name: f"key-of-{name}-1234567890" for name in ("alice", "bob")}
    (tmp_path / "keys").write_text("".join(f"{name}:{key_hash(key)}\n" for name, key in keys.items()))
    server = alternating(sessions={"stay": stay}, server={"client_keys_file": str(tmp_path / "keys")})

    def step(name, count, **headers):
        headers = {"authorization": f"Bearer {keys[name]}", **headers}
        body = {"model": "router-alternating-0.5", "messages": loop(SPOKEN["chat"], "Fix the test.", count)}
        return server.post(body, headers=headers).headers["x-turnout-model"]

    for headers in ({"x-session-id": "1"}, {}):
        assert [step("alice", 0, **headers), step("bob", 0, **headers)] == ["big", "small"]
        assert [step(name, 1, **headers) for name in ("alice", "bob", "alice")] == ["big", "small", "big"]


def loop(spoken, task, count):
    """A conversation in which the assistant has called a tool some times."""
    items = [{"role": "user", "content": task}]
    for number in range(count):
        name = f"call_{number}"
        if spoken.name == "chat":
            call = {"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}}
            items.append({"role": "assistant", "content": None, "tool_calls": [call]})
            items.append({"role": "tool", "tool_call_id": name, "content": "Prove that e is irrational."})
        elif spoken.name == "messages":
            items.append({"role": "assistant", "content": [{"type": "tool_use", "id": name, "name": "f", "input": {}}]})
            result = {"type": "tool_result", "tool_use_id": name, "content": "Prove that e is irrational."}
            reminder = {"type": "text", "text": "<system-reminder>Keep your todo list.</system-reminder>"}
            items.append({"role": "user", "content": [result, reminder]})
        else:
            items.append({"type": "function_call", "call_id": name, "name": "f", "arguments": "{}"})
            items.append({"type": "function_call_output", "call_id": name, "output": "Prove that e is irrational."})
    return items


def steps(server, spoken, count, task="Fix the test.", then=(), **fields):
    """The model that answers a loop after some steps."""
    body = spoken.body("router-alternating-0.5", **fields)
    body[spoken.conversation] = [*loop(spoken, task, count), *then]
    answer = server.post(body, spoken.path)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-turnout-model"]


@pytest.mark.parametrize("name", list(SPOKEN))
def test_a_loop_of_tools_stays_with_its_model_and_is_one_decision(begin, name):
    server, spoken = begin(), SPOKEN[name]
    assert {steps(server, spoken, count) for count in range(20)} == {"big"}
    assert server.state.recent.count == 1
    assert server.metric("turnout_undecided_total", rule="turn") == 19
    more = [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "Now the docs."}]
    assert steps(server, spoken, 20, then=more) == "small"
    assert server.state.recent.count == 2


@pytest.mark.parametrize("name", list(SPOKEN))
def test_a_loop_goes_on_with_the_model_that_stood_in(begin, upstream, name):
    server, spoken = begin(), SPOKEN[name]
    upstream.by_model["big"] = refuse(500)
    assert [steps(server, spoken, 0), steps(server, spoken, 1)] == ["small", "small"]
    upstream.by_model.clear()
    assert steps(server, spoken, 2) == "small"
    assert server.state.recent.count == 1


def test_a_loop_leaves_its_model_for_what_that_cannot_serve(begin, upstream, tables):
    tables["models"]["big"]["capabilities"] = ["tools"]
    server, spoken = begin(), SPOKEN["messages"]
    assert steps(server, spoken, 1) == "big"
    image = {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "image", "source": {}}]}
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": {}}]}
    assert steps(server, spoken, 1, then=[use, {"role": "user", "content": [image]}]) == "small"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("messages", lambda one: {"metadata": {"user_id": one}}),
        ("chat", lambda one: {"prompt_cache_key": one}),
        ("responses", lambda one: {"prompt_cache_key": one}),
    ],
)
def test_sessions_of_two_users_with_the_same_words_are_two(begin, name, fields):
    server, spoken = begin(), SPOKEN[name]
    first = [steps(server, spoken, 0, **fields(one)) for one in "ab"]
    assert first == ["big", "small"]
    assert [steps(server, spoken, 1, **fields(one)) for one in "abab"] == ["big", "small"] * 2


def test_two_agents_of_one_session_are_two_turns(begin):
    server, spoken = begin(), SPOKEN["messages"]
    fields = {"metadata": {"user_id": "u_session_1"}}
    assert [steps(server, spoken, 0, task, **fields) for task in ("Fix it.", "Search.")] == ["big", "small"]
    assert [steps(server, spoken, 3, task, **fields) for task in ("Search.", "Fix it.")] == ["small", "big"]


def test_a_loop_that_is_not_known_is_decided_by_its_task(begin):
    server = begin()
    assert steps(server, SPOKEN["messages"], 3) == "big"
    assert server.state.recent.count == 1
    assert steps(server, SPOKEN["messages"], 4) == "big"


def test_messages_that_are_not_judged_need_not_be_readable(begin):
    odd = {"role": "user", "content": [{"type": "hologram"}]}
    for stay in ("turn", "conversation"):
        body = {"model": "router-alternating-0.5", "messages": [odd, {"role": "user", "content": "Sort a list."}]}
        assert begin(stay=stay).post(body).status_code == 200


@pytest.mark.parametrize("name", list(SPOKEN))
def test_helper_calls_of_an_agent_go_to_the_weak_model(begin, start, name):
    spoken = SPOKEN[name]
    limit = {"chat": "max_completion_tokens", "messages": "max_tokens", "responses": "max_output_tokens"}[name]
    begin()
    server = start(routers={"alternating": {}}, agents={"helper_max_tokens": 64})
    title = server.post({**spoken.body("router-alternating-0.5"), limit: 64}, spoken.path)
    assert (title.headers["x-turnout-model"], title.headers["x-turnout-rule"]) == ("small", "helper")
    for fields in ({limit: 65}, {limit: 64, "tools": [{"name": "f"}]}):
        assert (
            "x-turnout-rule"
            not in server.post({**spoken.body("router-alternating-0.5"), **fields}, spoken.path).headers
        )
    assert server.state.recent.count == 2


def test_receipts_are_of_decisions_alone(begin, start, tmp_path):
    begin()
    server = start(routers={"alternating": {}}, log={"path": str(tmp_path / "log.jsonl")})
    for count in range(3):
        steps(server, SPOKEN["messages"], count)
    server.__exit__()
    assert [json.loads(line)["served"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == ["big"]


def test_counting_tokens_moves_no_turn(begin, upstream):
    server = begin()
    spoken = SPOKEN["messages"]

    async def counted_by_the_strong_model_alone(exchange):
        if exchange.target.endswith("/count_tokens") and exchange.json["model"] == "small":
            await refuse(404)(exchange)
        else:
            await speak(exchange)

    upstream.default = counted_by_the_strong_model_alone
    assert steps(server, spoken, 0, "first") == "big"
    assert steps(server, spoken, 0, "second") == "small"
    body = spoken.body("router-alternating-0.5", messages=loop(spoken, "second", 1))
    assert server.post(body, "/v1/messages/count_tokens").status_code == 200
    assert steps(server, spoken, 1, "second") == "small"


def test_turns_after_a_first_message_that_cannot_be_read_are_decided(begin):
    server = begin()

    def ask_after(*texts):
        odd = [{"role": "user", "content": [{"type": "unheard-of"}]}, {"role": "assistant", "content": "?"}]
        said = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
        body = {"model": "router-alternating-0.5", "messages": [*odd, *said], "prompt_cache_key": "k"}
        answer = server.post(body)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-turnout-model"]

    sort, prove = "Sort a list in Rust.", "Prove that the sort is stable."
    assert [ask_after(sort), ask_after(sort, "Done.", prove)] == ["big", "small"]


def test_a_store_in_memory_is_written_without_a_task(begin):
    server = begin()
    plan = SimpleNamespace(rule="", pinned_for=frozenset(), session=Session("key", "id", True, "turn"))
    written = server.state.served(plan, server.state.snapshot.models["small"], ["answer"], "")
    with pytest.raises(StopIteration):
        written.send(None)  # Done without a turn of an event loop.
    assert len(server.state.sessions._store) == 2
    assert len(server.state.made._store) == 1


@pytest.mark.parametrize(
    ("session", "agent"), [("x-claude-code-session-id", "x-claude-code-agent-id"), ("session-id", "thread-id")]
)
def test_a_turn_goes_on_after_a_summary_whatever_other_agents_of_its_session_did(begin, session, agent):
    server = begin()
    summary = "This session is being continued from a previous conversation that ran out of context."
    assert ask(server, "Fix the test.", **{session: "s"}) == "big"
    assert ask(server, "Search the docs.", **{session: "s", agent: "a"}) == "small"
    assert ask(server, summary, **{session: "s"}) == "big"
    assert ask(server, summary, **{session: "s", agent: "a"}) == "small"
    assert server.metric("turnout_undecided_total", rule="turn") == 2
