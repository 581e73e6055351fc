"""What the integrations' tests share: routers over the tiny artifact, and an OpenAI-compatible upstream on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import turnout

STRONG, WEAK = "large-model", "small-model"


class Upstream:
    """Answers every completion, chat completion and response with the name of the model that was asked for, and remembers the bodies."""

    def __init__(self) -> None:
        bodies: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                bodies.append(body)
                message = {"role": "assistant", "content": f"I am {body['model']}"}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
                answer = {
                    "id": "chatcmpl-1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": body["model"],
                    "choices": [choice],
                    "usage": usage,
                }
                text = {"type": "output_text", "text": message["content"], "annotations": []}
                item = {"id": "msg-1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
                if self.path.endswith("/responses"):
                    counts = {"input_tokens": 1, "output_tokens": 3, "total_tokens": 4}
                    answer = {
                        "id": "resp-1", "object": "response", "created_at": 0, "status": "completed", "model": body["model"],
                        "output": [item], "usage": counts, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                    }  # fmt: skip
                elif "messages" not in body:
                    choice = {"index": 0, "text": message["content"], "finish_reason": "stop", "logprobs": None}
                    answer = {**answer, "object": "text_completion", "choices": [choice]}
                payload = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_: Any) -> None:
                pass

        self.bodies = bodies
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The upstream."""
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="session")
def pair(artifact: Path, prompts: list[str]) -> turnout.Router:
    """A router between ``large-model`` and ``small-model`` that sends some of ``prompts`` to each."""
    rates = sorted(turnout.load(artifact).win_rates(prompts).tolist())
    return turnout.load(artifact, strong=STRONG, weak=WEAK, threshold=rates[len(rates) // 2])


@pytest.fixture(scope="session")
def strong_prompt(pair: turnout.Router, prompts: list[str]) -> str:
    """A prompt that goes to the strong model."""
    return next(prompt for prompt in prompts if prompt.strip() and pair.route(prompt).is_strong)


@pytest.fixture(scope="session")
def weak_prompt(pair: turnout.Router, prompts: list[str]) -> str:
    """A prompt that goes to the weak model."""
    return next(prompt for prompt in prompts if prompt.strip() and not pair.route(prompt).is_strong)
