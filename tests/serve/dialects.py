"""Requests, answers and events of each dialect, as clients and upstreams write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
from scripted_upstream import Exchange, completion, event

HELLO = [{"role": "user", "content": "Hello!"}]


def named(kind: str, **fields: Any) -> bytes:
    """An event with a name, as Messages and Responses have them."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def message(model: str, text: str) -> bytes:
    """Anthropic's message."""
    usage = {"input_tokens": 3, "output_tokens": 2}
    content = [{"type": "text", "text": text}]
    found = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content}
    return json.dumps({**found, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}).encode()


def message_stream(model: str, words: tuple[str, ...]) -> list[bytes]:
    """Its events: the head, the content, the end."""
    head = {**json.loads(message(model, "")), "content": [], "stop_reason": None}
    block = {"type": "text", "text": ""}
    return [
        named("message_start", message=head),
        named("ping"),
        named("content_block_start", index=0, content_block=block),
        *(named("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in words),
        named("content_block_stop", index=0),
        named("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 2}),
        named("message_stop"),
    ]


def response(model: str, text: str, **fields: Any) -> bytes:
    """OpenAI's response."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    item = {"id": "item_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    found = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": model,
        "error": None,
    }
    more = {"output": [item], "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return json.dumps({**found, **more, **fields}).encode()


def response_stream(model: str, words: tuple[str, ...]) -> list[bytes]:
    """Its events: the head, the content, the end."""
    begun = json.loads(response(model, "", status="in_progress", output=[]))
    item = {**json.loads(response(model, ""))["output"][0], "content": [], "status": "in_progress"}
    part = {"item_id": "item_1", "output_index": 0, "content_index": 0}
    events: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": item}),
        ("response.content_part.added", {**part, "part": {"type": "output_text", "text": "", "annotations": []}}),
        *(("response.output_text.delta", {**part, "delta": word, "logprobs": []}) for word in words),
        ("response.completed", {"response": json.loads(response(model, "".join(words)))}),
    ]
    return [named(kind, sequence_number=number, **fields) for number, (kind, fields) in enumerate(events)]


@dataclass(frozen=True)
class Spoken:
    """One dialect from both ends."""

    name: str
    path: str
    #: The field of the conversation.
    conversation: str
    whole: Callable[[str, str], bytes]
    stream: Callable[[str, tuple[str, ...]], list[bytes]]
    #: Number of events before the model begins to answer.
    before: int
    #: Place of the first word's event.
    first: int
    #: Reason where an answer has no content.
    without_content: str
    client: Any
    async_client: Any
    #: What the client raises, and for an event of an error in a stream.
    error: type[Exception]

    def body(self, model: str = "router-mf-1.0", **fields: Any) -> dict[str, Any]:
        """A request."""
        more = {"max_tokens": 100} if self.name == "messages" else {}
        return {"model": model, self.conversation: HELLO, **more, **fields}

    def create(self, client: Any) -> Any:
        """The method of a client."""
        return {"chat": lambda: client.chat.completions, "messages": lambda: client.messages}.get(
            self.name, lambda: client.responses
        )()

    def text(self, answer: Any) -> str:
        """The text of a parsed answer."""
        if self.name == "chat":
            return str(answer.choices[0].message.content)
        return str(answer.output_text if self.name == "responses" else answer.content[0].text)

    def word(self, chunk: Any) -> str:
        """The text of a parsed event."""
        if self.name == "chat":
            return chunk.choices[0].delta.content or ""
        if self.name == "messages":
            return chunk.delta.text if chunk.type == "content_block_delta" else ""
        return chunk.delta if chunk.type == "response.output_text.delta" else ""


def chat_stream(model: str, words: tuple[str, ...]) -> list[bytes]:
    """Events of a chat completion."""
    return [*(event({"content": word}, model) for word in words), event({}, model, "stop"), b"data: [DONE]\n\n"]


def _openai(url: str, kind: Any = openai.OpenAI, **options: Any) -> Any:
    return kind(base_url=f"{url}/v1", **{"api_key": "unused", "max_retries": 0, **options})


def _anthropic(url: str, kind: Any = anthropic.Anthropic, **options: Any) -> Any:
    return kind(base_url=url, **{"api_key": "unused", "max_retries": 0, **options})


SPOKEN = {
    "chat": Spoken(
        "chat", "/v1/chat/completions", "messages", completion, chat_stream, 0, 0, "no_choices",
        _openai, lambda url, **more: _openai(url, openai.AsyncOpenAI, **more), openai.APIError,
    ),
    "messages": Spoken(
        "messages", "/v1/messages", "messages", message, message_stream, 2, 3, "no_message",
        _anthropic, lambda url, **more: _anthropic(url, anthropic.AsyncAnthropic, **more), anthropic.APIError,
    ),
    "responses": Spoken(
        "responses", "/v1/responses", "input", response, response_stream, 2, 4, "no_output",
        _openai, lambda url, **more: _openai(url, openai.AsyncOpenAI, **more), openai.APIError,
    ),
}  # fmt: skip


async def speak(exchange: Exchange) -> None:
    """A healthy upstream of every dialect: words that name the model, streamed if asked; one stored response for every id."""
    path = exchange.target.partition("?")[0]
    if path.endswith("/responses/compact"):
        item = {"type": "compaction", "id": "cmp_1", "encrypted_content": exchange.json["model"]}
        found = {"id": "resp_c", "object": "response.compaction", "created_at": 1, "output": [item]}
        await exchange.whole(200, json.dumps(found).encode())
        return
    if path.endswith("/responses/input_tokens"):
        await exchange.whole(200, b'{"object": "response.input_tokens", "input_tokens": 7}')
        return
    if "/responses/" in path:
        await exchange.whole(200, b'{"id": "resp_1", "object": "response"}')
        return
    model = exchange.json["model"]
    if path.endswith("/count_tokens"):
        await exchange.whole(200, b'{"input_tokens": 7}')
        return
    spoken = next(one for one in SPOKEN.values() if path.endswith(one.path))
    if not exchange.json.get("stream"):
        await exchange.whole(200, spoken.whole(model, f"I am {model}"), request_id="req_1")
        return
    await exchange.begin_stream(request_id="req_1")
    for one in spoken.stream(model, ("I", " am ", model)):
        await exchange.chunk(one)
    await exchange.chunk(b"")


def streaming(*parts: bytes, ends: str = "clean", **headers: str) -> Callable[[Exchange], Any]:
    """A stream of these chunks, which ends in a way."""

    async def script(exchange: Exchange) -> None:
        await exchange.begin_stream(**headers)
        for part in parts:
            await exchange.chunk(part)
        if ends == "clean":
            await exchange.chunk(b"")
        elif ends == "reset":
            exchange.abort()
        else:
            await exchange.is_gone.wait()

    return script
