"""Judges, scripts and readings of the tests of cascades."""

from __future__ import annotations

import json
from typing import Any

from scripted_upstream import completion, wait_until

from turnout.cascade import Form

IDENTITY = ([0.0, 1.0], [0.0, 1.0])
BY_LOGPROB = Form(["mean_logprob"], [-10.0], 0.0, -5.0, *IDENTITY)
KEEP, DISCARD = (Form([], [], 0.0, intercept, *IDENTITY) for intercept in (-5.0, 5.0))


def models(upstream: Any) -> list[str]:
    return [one.json["model"] for one in upstream.requests]


def receipt_of(server: Any) -> dict[str, Any]:
    """That of the first request, when it is complete."""
    receipt: dict[str, Any] = server.state.recent.since(0, 1)[0].receipt
    wait_until(lambda: receipt["served"] is not None)
    return receipt


def with_deep_input() -> bytes:
    """A message that calls a tool with an input of 300 arrays in each other."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "small", "stop_reason": "tool_use"}
    call = {"type": "tool_use", "id": "toolu_1", "name": "Put", "input": {"a": 0}}
    usage = {"input_tokens": 1, "output_tokens": 1}
    found = json.dumps({**message, "content": [call], "usage": usage})
    return found.replace('{"a": 0}', '{"a": ' + "[" * 300 + "]" * 300 + "}").encode()


def with_logprobs(logprob: float) -> Any:
    async def script(exchange: Any) -> None:
        document = json.loads(completion("small", "I am small"))
        if exchange.json.get("logprobs"):
            token = {"token": "I", "logprob": logprob, "top_logprobs": []}
            document["choices"][0]["logprobs"] = {"content": [token]}
        await exchange.whole(200, json.dumps(document).encode())

    return script
