"""A loopback endpoint that answers like a chat model, fails as it is told to, and counts what it is asked."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("openai")
pytest.importorskip("pyarrow")
pytest.importorskip("rich")

from turnout.augment import Ledger
from turnout.cli import main

PROMPTS = ["big wins here", "small wins here", "first wins here", "nobody is better"]


class FakeEndpoint:
    """``big`` and ``small`` answer with their name and the prompt; ``judge`` prefers as the prompt says.

    ``big wins`` and ``small wins`` in a prompt name the better answer; ``first wins`` is a judge that looks at places only, ``odd``
    one that gives no verdict. Each request costs 10 tokens there and 5 back.

    Attributes:
        failures: Status codes, ``"drop"`` (the connection is closed), ``"drip"`` (a byte a tenth of a second, for ever), a URL (a redirect to it) or a body, for the next requests.
        asked: Number of requests by model.
        bodies: Request bodies that were answered.
        keys: ``Authorization`` headers.
        gate: Answers wait for it.
    """

    def __init__(self) -> None:
        self.failures: list[int | str] = []
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.stopped = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with fake._lock:
                    fake._at_once += 1
                    fake.most_at_once = max(fake.most_at_once, fake._at_once)
                    fake.asked[body["model"]] += 1
                    fake.keys.append(self.headers.get("Authorization"))
                    failure = fake.failures.pop(0) if fake.failures else None
                fake.gate.wait(60)
                status, answer = fake.answer(body, failure)
                with fake._lock:
                    fake._at_once -= 1
                if failure == "drip":
                    self.send_response(200)
                    self.send_header("Content-Length", "100000")
                    self.end_headers()
                    with contextlib.suppress(OSError):
                        while not fake.stopped.wait(0.1):
                            self.wfile.write(b" ")
                    status = 0
                if status == 0:
                    self.close_connection = True
                    return
                payload = answer.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(payload)))
                if status == 307:
                    self.send_header("Location", str(failure))
                if status == 429:
                    self.send_header("Retry-After", "0")
                # Whoever asked may have gone.
                with contextlib.suppress(OSError):
                    self.end_headers()
                    self.wfile.write(payload)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, body: dict[str, Any], failure: int | str | None) -> tuple[int, str]:
        if failure in ("drop", "drip"):
            return 0, ""
        if isinstance(failure, str) and failure.startswith("http"):
            return 307, ""
        if isinstance(failure, int):
            return failure, json.dumps({"error": {"message": "not now"}})
        if failure is not None:
            return 200, failure
        self.bodies.append(body)
        text = body["messages"][0]["content"]
        reply = f"{body['model']} says: {text}"
        if body["model"] == "judge":
            better = re.search(r"(big|small|first|odd) wins", text)
            first = text.index("big says") < text.index("small says")
            places = {"big": "first" if first else "second", "small": "second" if first else "first", "first": "first"}
            named = better.group(1) if better else "tie"
            reply = "no idea" if named == "odd" else f"Well.\nverdict: {places.get(named, 'tie')}"
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        return 200, json.dumps({"choices": [{"message": {"content": reply}}], "usage": usage})


@contextlib.contextmanager
def serving() -> Iterator[FakeEndpoint]:
    fake = FakeEndpoint()
    thread = threading.Thread(target=fake.server.serve_forever, daemon=True)
    thread.start()
    yield fake
    fake.stopped.set()
    fake.server.shutdown()
    fake.server.server_close()
    thread.join()


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with serving() as fake:
        yield fake


@pytest.fixture
def other_endpoint() -> Iterator[FakeEndpoint]:
    """Another origin."""
    with serving() as fake:
        yield fake


@pytest.fixture
def judge(endpoint, tmp_path):
    """Runs the command on prompts."""
    out = tmp_path / "battles.jsonl"

    def run(*options, prompts=PROMPTS):
        file = tmp_path / "prompts.jsonl"
        file.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
        models = ["--strong", "big", "--weak", "small", "--judge", "judge", "--base-url", endpoint.url]
        return main(["augment", "judge", "--prompts", str(file), *models, "--out", str(out), *options])

    def spent() -> float:
        ledger = Ledger(out.with_name(out.name + ".ledger"), read_only=True)
        try:
            return ledger.spent()
        finally:
            ledger.close()

    run.out, run.spent = out, spent
    return run
