"""Requests and answers of each dialect, short as can be, with which LiteLLM is warmed up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson

from turnout.serve.dialects import CHAT, MESSAGES, RESPONSES

_HELLO = [{"role": "user", "content": "Hello!"}]
#: Requests by dialect.
WARM_UP: Mapping[str, Mapping[str, Any]] = {
    CHAT.name: {"model": "m", "messages": _HELLO},
    MESSAGES.name: {"model": "m", "messages": _HELLO, "max_tokens": 1},
    RESPONSES.name: {"model": "m", "input": "Hello!"},
}
_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
_CHAT = {"id": "c", "created": 1, "model": "m"}
_MESSAGE: dict[str, Any] = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
_CONTENT = {"role": "assistant", "content": "Hi!"}
_TEXT = {"type": "text", "text": "Hi!"}


def _chat_events() -> list[bytes]:
    choices = (
        [{"index": 0, "delta": _CONTENT, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    )
    events = [{**_CHAT, "object": "chat.completion.chunk", "choices": one} for one in choices]
    return [
        *(b"data: " + orjson.dumps(one) + b"\n\n" for one in [*events, {**events[0], "choices": [], "usage": _USAGE}]),
        b"data: [DONE]\n\n",
    ]


def _message_events() -> list[bytes]:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**_MESSAGE, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi!"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]
    return [b"event: %s\ndata: %s\n\n" % (one["type"].encode(), orjson.dumps(one)) for one in events]


def _whole(found: Mapping[str, Any]) -> tuple[str, AsyncIterator[bytes]]:
    return "application/json", _parts([orjson.dumps(found)])


async def _parts(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


#: Answers by the upstream's dialect and whether they are streams: the content type, and the body anew for each call.
SAMPLES: Mapping[tuple[str, bool], Callable[[], tuple[str, AsyncIterator[bytes]]]] = {
    (CHAT.name, False): lambda: _whole(
        {
            **_CHAT,
            "object": "chat.completion",
            "choices": [{"index": 0, "message": _CONTENT, "finish_reason": "stop"}],
            "usage": _USAGE,
        }
    ),
    (CHAT.name, True): lambda: ("text/event-stream", _parts(_chat_events())),
    (MESSAGES.name, False): lambda: _whole(
        {**_MESSAGE, "content": [_TEXT], "stop_reason": "end_turn", "stop_sequence": None}
    ),
    (MESSAGES.name, True): lambda: ("text/event-stream", _parts(_message_events())),
}
