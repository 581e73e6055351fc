"""``translate = "litellm"``: the SDK of one dialect against an upstream of another one."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anthropic
import openai
import pytest

_serve = Path(__file__).parents[1] / "serve"
_spec = importlib.util.spec_from_file_location("serve_conftest", _serve / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
serving = importlib.util.module_from_spec(_spec)
sys.modules["serve_conftest"] = serving
_spec.loader.exec_module(serving)

from tests.serve import dialects  # noqa: E402

from turnout.serve.describe import lines  # noqa: E402
from turnout.serve.dialects import CHAT, MESSAGES  # noqa: E402
from turnout.serve.upstreams.answer import Answer  # noqa: E402
from turnout.serve.upstreams.litellm_call import LiteLLMCall, load  # noqa: E402
from turnout.serve.upstreams.translation import TranslatedBody  # noqa: E402

scripted = serving.scripted
KEY = "sk-upstream-key-0123456789"
HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture(scope="module")
def running(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """A server and its upstream: `chatty` speaks Chat Completions, `claude` Messages; both are translated. `native` is not."""
    model = {"upstream": "main", "translate": "litellm", "input_price": 1.0, "output_price": 2.0}
    with scripted.ScriptedUpstream() as upstream, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSLATED_KEY", KEY)
        settings = {"base_url": upstream.base_url, "key_env": "TRANSLATED_KEY", "backoff_s": 0.01}
        limits = {"breaker_failures": 1000, "first_byte_timeout_s": 30.0, "idle_timeout_s": 0.5, "retries": 0}
        tables = {
            "pair": {"strong": "claude", "weak": "chatty"},
            "upstreams": {"main": {**settings, **limits}},
            "models": {
                "chatty": {**model, "dialects": ["chat"]},
                "claude": {**model, "dialects": ["messages"]},
                "native": {"upstream": "main", "dialects": ["chat"]},
            },
            "routers": {"mf": {"path": str(artifact)}},
            "changes": {"watch": ["latency", "logprobs", "model"]},
            "log": {"path": str(tmp_path_factory.mktemp("log") / "log.jsonl")},
        }
        with serving.RunningServer(tables, serving.Limits()) as server:
            yield server, upstream


@pytest.fixture
def server(running: tuple[Any, Any]) -> Any:
    return running[0]


@pytest.fixture
def upstream(running: tuple[Any, Any]) -> Any:
    """Healthy, and without requests."""
    found = running[1]
    found.requests.clear()
    found.default = dialects.speak
    return found


def claude(server: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key="unused", max_retries=0)


def ask_messages(server: Any, model: str, is_stream: bool) -> tuple[str, Any]:
    call: dict[str, Any] = {"model": model, "messages": HELLO, "max_tokens": 20}
    if not is_stream:
        found = claude(server).messages.create(**call)
        return found.content[0].text, found.usage
    with claude(server).messages.stream(**call) as stream:
        text = "".join(stream.text_stream)
        return text, stream.get_final_message().usage


def ask_chat(server: Any, model: str, is_stream: bool) -> tuple[str, Any]:
    call: dict[str, Any] = {"model": model, "messages": HELLO}
    if not is_stream:
        found = server.openai().chat.completions.create(**call)
        return found.choices[0].message.content, found.usage
    chunks = list(server.openai().chat.completions.create(**call, stream=True))
    return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices), None


def ask_responses(server: Any, model: str, is_stream: bool) -> tuple[str, Any]:
    call: dict[str, Any] = {"model": model, "input": "Hello!"}
    if not is_stream:
        found = server.openai().responses.create(**call)
        return found.output_text, found.usage
    with server.openai().responses.stream(**call) as stream:
        found = list(stream)[-1]
    return found.response.output_text, found.response.usage


WAYS = [(ask_messages, "chatty"), (ask_responses, "chatty"), (ask_responses, "claude"), (ask_chat, "claude")]


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("ask", "model"), WAYS)
def test_each_sdk_reads_an_answer_of_another_dialect(
    server: Any, upstream: Any, ask: Any, model: str, is_stream: bool
) -> None:
    text, _ = ask(server, model, is_stream)
    assert text == f"I am {model}"
    (sent,) = upstream.requests
    path, header = {"chatty": ("/chat/completions", "authorization"), "claude": ("/messages", "x-api-key")}[model]
    assert sent.target == f"/v1{path}"
    assert sent.headers[header].endswith(KEY.lower())
    assert sent.json["messages"][0]["role"] == "user"
    assert sent.json["model"] == model


#: What Claude Code sends, shortened.
CLAUDE_CODE = {
    "model": "chatty", "max_tokens": 2000, "metadata": {"user_id": "user_1"}, "thinking": {"type": "enabled", "budget_tokens": 1024},
    "system": [{"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}}],
    "tools": [{"name": "Read", "description": "Reads.", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Read a.py", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a.py"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "print(1)"}]},
    ],
}  # fmt: skip
#: What Codex sends, shortened.
CODEX = {
    "model": "chatty", "instructions": "You are an agent.", "store": False, "parallel_tool_calls": False, "tool_choice": "auto",
    "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "medium", "summary": "auto"}, "prompt_cache_key": "session-1",
    "tools": [{"type": "function", "name": "shell", "strict": False, "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}}],
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "List the files."}]},
        {"type": "function_call", "call_id": "call_1", "name": "shell", "arguments": '{"command": "ls"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "a.py"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("path", "body"), [("/v1/messages", CLAUDE_CODE), ("/v1/responses", CODEX)])
def test_turns_of_agents_are_translated(server: Any, upstream: Any, path: str, body: dict[str, Any]) -> None:
    answer = server.post(body, path)
    assert answer.status_code == 200, answer.text
    roles = [one["role"] for one in upstream.requests[-1].json["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    assert upstream.requests[-1].json["tools"][0]["function"]["name"] in ("Read", "shell")


def tool_call(is_stream: bool) -> Any:
    """Calls a tool in Chat Completions."""
    call = {"id": "call_1", "type": "function", "function": {"name": "Read", "arguments": '{"path": "a.py"}'}}

    async def script(exchange: Any) -> None:
        if is_stream:
            parts = [
                scripted.event({"role": "assistant", "tool_calls": [{"index": 0, **call}]}),
                scripted.event({}, finish="tool_calls"),
                b"data: [DONE]\n\n",
            ]
            await dialects.streaming(*parts)(exchange)
            return
        found = json.loads(scripted.completion("chatty", ""))
        found["choices"][0].update(
            message={"role": "assistant", "content": None, "tool_calls": [call]}, finish_reason="tool_calls"
        )
        await exchange.whole(200, json.dumps(found).encode())

    return script


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_call_of_a_tool_is_translated(server: Any, upstream: Any, is_stream: bool) -> None:
    upstream.default = tool_call(is_stream)
    if is_stream:
        with claude(server).messages.stream(**CLAUDE_CODE) as stream:
            found = stream.get_final_message()
    else:
        found = claude(server).messages.create(**CLAUDE_CODE)
    (block,) = (one for one in found.content if one.type == "tool_use")
    assert (block.name, block.input, found.stop_reason) == ("Read", {"path": "a.py"}, "tool_use")


def test_an_upstreams_error_comes_in_the_clients_shape(server: Any, upstream: Any) -> None:
    upstream.default = scripted.refuse(422)
    with pytest.raises(anthropic.UnprocessableEntityError, match="scripted 422") as refused:
        ask_messages(server, "chatty", False)
    assert refused.value.body["type"] == "error"  # type: ignore[index]
    upstream.default = scripted.refuse(401)
    with pytest.raises(anthropic.InternalServerError, match="the server's key was refused"):
        ask_messages(server, "chatty", False)


# A stream of Chat Completions needs no last event.
@pytest.mark.parametrize(
    ("ask", "model", "ends"),
    [(*way, ends) for way in WAYS for ends in ("clean", "reset", "stall") if (way[1], ends) != ("chatty", "clean")],
)
def test_a_stream_that_is_cut_is_an_error(server: Any, upstream: Any, ask: Any, model: str, ends: str) -> None:
    parts = {"chatty": dialects.chat_stream, "claude": dialects.message_stream}[model](model, ("I", " am"))
    begun = parts[:1] if model == "chatty" else parts[:4]
    upstream.default = dialects.streaming(*begun, ends=ends)
    with pytest.raises((anthropic.APIError, openai.APIError), match="interrupted"):
        ask(server, model, True)


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_upstreams_key_is_removed_from_translated_answers(server: Any, upstream: Any, is_stream: bool) -> None:
    async def leak(exchange: Any) -> None:
        if is_stream:
            await dialects.streaming(*dialects.chat_stream("chatty", (f"key {KEY}",)))(exchange)
        else:
            await exchange.whole(200, scripted.completion("chatty", f"key {KEY}"))

    upstream.default = leak
    text, _ = ask_messages(server, "chatty", is_stream)
    assert text.startswith("key ")
    assert KEY not in text


REFUSED = [
    ("/v1/messages", {"api_base": "http://127.0.0.1:9/v1"}, "api_base"),
    ("/v1/messages", {"mock_response": "mocked"}, "mock_response"),
    ("/v1/messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search"),
    ("/v1/messages", {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:9/"}}]}]}, "by address"),
    ("/v1/responses", {"previous_response_id": "resp_1"}, "previous_response_id"),
    ("/v1/responses", {"background": True}, "background"),
    ("/v1/responses", {"extra_headers": {"authorization": "x"}}, "extra_headers"),
    ("/v1/responses", {"tools": [{"type": "mcp", "server_label": "a", "server_url": "litellm_proxy"}]}, "mcp"),
    ("/v1/responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://127.0.0.1:9/"}]}]}, "by address"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "fields", "named"), REFUSED)
def test_what_cannot_be_translated_is_refused_and_named(
    server: Any, upstream: Any, path: str, fields: dict[str, Any], named: str
) -> None:
    body = {"/v1/messages": CLAUDE_CODE, "/v1/responses": CODEX}[path]
    answer = server.post({**body, **fields}, path)
    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]
    assert not upstream.requests


def test_another_model_serves_what_cannot_be_translated(server: Any, upstream: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}
    body = {
        "model": "router-mf-0.0",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}],
    }
    answer = server.post(body)
    assert answer.status_code == 200, answer.text
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("chatty", "not_translated")
    assert "x-turnout-translation" not in answer.headers
    assert [one.target for one in upstream.requests] == ["/v1/chat/completions"]


def test_counts_of_tokens_are_not_translated(server: Any, upstream: Any) -> None:
    answer = server.post({"model": "chatty", "messages": HELLO}, "/v1/messages/count_tokens")
    assert answer.status_code == 400
    assert "speaks chat" in answer.json()["error"]["message"]
    assert not upstream.requests


def test_without_translate_a_dialect_is_refused(server: Any, upstream: Any) -> None:
    answer = server.post({"model": "native", "messages": HELLO, "max_tokens": 5}, "/v1/messages")
    assert answer.status_code == 400
    assert "no model for the messages dialect" in answer.json()["error"]["message"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_receipt_names_the_translation_tokens_and_cost(server: Any, upstream: Any, is_stream: bool) -> None:
    before = server.state.recent.count
    body = {"model": "router-mf-1.0", "messages": HELLO, "max_tokens": 5, "stream": is_stream}
    if is_stream:
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        end = (
            b"data: "
            + json.dumps({**json.loads(scripted.event({})[6:]), "choices": [], "usage": usage}).encode()
            + b"\n\n"
        )
        words = dialects.chat_stream("chatty", ("Hi",))
        upstream.default = dialects.streaming(*words[:-1], end, words[-1])
    answer = server.post(body, "/v1/messages")
    assert answer.headers["x-turnout-translation"] == "litellm"
    scripted.wait_until(lambda: server.state.recent.count > before)
    receipt = server.state.recent.since(0, 1)[-1].receipt
    scripted.wait_until(lambda: receipt["latency_ms"] is not None)
    told = {name: receipt[name] for name in ("served", "translation", "input_tokens", "output_tokens", "cost")}
    assert told == {"served": "chatty", "translation": "litellm", "input_tokens": 1, "output_tokens": 1, "cost": 3e-6}


@pytest.mark.parametrize("is_stream", [False, True])
def test_changes_are_those_of_the_upstream(server: Any, upstream: Any, is_stream: bool) -> None:
    """Its log-probabilities and the name that it reports, though the client's dialect has no log-probabilities."""
    changes, before = server.state.changes, server.state.recent.count
    changes._detectors.clear()
    changes._names.clear()
    token = {"token": "Hi", "logprob": -1.5, "bytes": None, "top_logprobs": []}
    choice = {"index": 0, "logprobs": {"content": [token]}, "finish_reason": None}
    if is_stream:
        word, *rest = dialects.chat_stream("chatty-2024-08-06", ("Hi",))
        found = json.loads(word.removeprefix(b"data: "))
        choice["delta"] = {"role": "assistant", "content": "Hi"}
        upstream.default = dialects.streaming(
            b"data: " + json.dumps({**found, "choices": [choice]}).encode() + b"\n\n", *rest
        )
    else:
        found = json.loads(scripted.completion("chatty-2024-08-06", "Hi"))
        choice |= {"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
        upstream.default = lambda exchange: exchange.whole(200, json.dumps({**found, "choices": [choice]}).encode())
    body = {"model": "router-mf-1.0", "messages": HELLO, "max_tokens": 5, "stream": is_stream}
    assert server.post(body, "/v1/messages").status_code == 200
    scripted.wait_until(lambda: server.state.recent.count > before)
    receipt = server.state.recent.since(0, 1)[-1].receipt
    scripted.wait_until(lambda: receipt["latency_ms"] is not None)
    assert {name: list(known) for name, known in changes._names.items()} == {"chatty": ["chatty-2024-08-06"]}
    assert changes._detectors["chatty", "logprobs"]._values == [-1.5]


def test_the_latency_of_a_translated_stream_has_the_waits_for_its_later_parts(server: Any, upstream: Any) -> None:
    first, *rest = dialects.chat_stream("chatty", ("I", " am"))

    async def slow(exchange: Any) -> None:
        await exchange.begin_stream()
        await exchange.chunk(first)
        await asyncio.sleep(0.3)
        await exchange.chunk(b"".join(rest))
        await exchange.chunk(b"")

    upstream.default = slow
    changes, before = server.state.changes, server.state.recent.count
    changes._detectors.clear()
    body = {"model": "router-mf-1.0", "messages": HELLO, "max_tokens": 5, "stream": True}
    assert server.post(body, "/v1/messages").status_code == 200
    scripted.wait_until(lambda: server.state.recent.count > before)
    receipt = server.state.recent.since(0, 1)[-1].receipt
    scripted.wait_until(lambda: receipt["latency_ms"] is not None)
    (took,) = changes._detectors["chatty", "latency"]._values
    assert 0.25 < took <= receipt["latency_ms"] / 1e3


def test_the_configuration_says_what_is_translated(server: Any) -> None:
    told = "\n".join(lines(server.state.snapshot))
    assert (
        "chatty: chatty at main, speaks chat (others through LiteLLM's translation to chat), serves everything" in told
    )


def test_what_comes_after_a_limited_wait_is_not_lost(upstream: Any) -> None:
    class Slow:
        """Two pieces, the second one late."""

        body = None

        def __init__(self) -> None:
            self.late = asyncio.Event()
            self.pieces = [dialects.chat_stream("m", (" am",))[0], b"".join(dialects.chat_stream("m", ())), b""]

        async def next(self) -> bytes:
            await self.late.wait()
            return self.pieces.pop(0)

    async def read() -> list[bytes]:
        slow, loop = Slow(), asyncio.get_running_loop()
        call = LiteLLMCall(MESSAGES, CHAT, {"model": "m", "messages": HELLO, "max_tokens": 5, "stream": True})
        await call.request(60)
        answer = Answer(200, [], dialects.chat_stream("m", ("I",))[0], loop.time() + 60, slow)  # type: ignore[arg-type]
        body = TranslatedBody(answer, call, SimpleNamespace(name="main"))  # type: ignore[arg-type]
        found = []
        while True:
            try:
                found.append(await body.read(loop.time() + 0.01))
            except TimeoutError:
                slow.late.set()
            if body.is_at_end:
                return found

    load()
    assert b"".join(asyncio.run(read())).count(b"text_delta") == 2
