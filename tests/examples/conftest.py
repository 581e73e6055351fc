"""Runs a script of ``examples/`` against an OpenAI-compatible endpoint on loopback that answers with the name of the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import turnout

EXAMPLES = Path(__file__).parents[2] / "examples"


class Chats(BaseHTTPRequestHandler):
    """Answers a chat."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": f"I am {body['model']}"},
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"], "usage": usage}
        payload = json.dumps({**answer, "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """Its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Chats)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def run(tmp_path: Path, endpoint: str) -> Callable[..., str]:
    """Runs a script in ``tmp_path`` and gives what it printed."""

    def run(name: str, *needs: str) -> str:
        for module in needs:
            pytest.importorskip(module, reason=f"examples/{name} needs {module}")
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(turnout.__file__).parents[1]),
            "OPENAI_BASE_URL": endpoint,
            "OPENAI_API_KEY": "unused",
            "RAY_USAGE_STATS_ENABLED": "0",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        done = subprocess.run(
            [sys.executable, EXAMPLES / name],
            cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
