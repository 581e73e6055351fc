"""The server as a process: signals, shutdown, a taken port, an upstream that is killed under load."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from scripted_upstream import ScriptedUpstream, event

HELLO = [{"role": "user", "content": "Hello!"}]
UPSTREAM = Path(__file__).parent / "upstream.py"

TOML = """\
[server]
port = {port}
admin_port = {admin}
[pair]
strong = "big"
weak = "small"
[upstreams.one]
base_url = "{one}"
[upstreams.two]
base_url = "{two}"
[models.big]
upstream = "one"
[models.small]
upstream = "two"
[routers.mf]
path = "{artifact}"
[aliases.auto]
router = "mf"
threshold = {threshold}
{more}
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Process:
    """``turnout serve --config`` in a process of its own."""

    def __init__(
        self,
        config: Path,
        artifact: Path,
        one: str,
        two: str,
        descriptors: int | None = None,
        workers: int = 1,
        more: str = "",
    ) -> None:
        self.config = config
        self.values = {"port": free_port(), "admin": free_port(), "one": one, "two": two, "artifact": artifact}
        self.values["more"] = more
        self.write(threshold=1.0)
        command = [sys.executable, "-m", "turnout", "serve", "--config", str(config), "--workers", str(workers)]
        if descriptors is not None:
            command = ["/bin/sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
        self.child = subprocess.Popen(command, stderr=subprocess.PIPE)
        self.url = f"http://127.0.0.1:{self.values['port']}"
        wait_until(lambda: self.child.poll() is not None or ready(self.url), 60 * (1 + workers))

    def write(self, **values: object) -> None:
        self.config.write_text(TOML.format(**self.values, **values))

    def model(self) -> str:
        body = {"model": "auto", "messages": HELLO}
        return httpx.post(self.url + "/v1/chat/completions", json=body, timeout=30).headers["x-turnout-model"]


def ready(url: str) -> bool:
    try:
        return httpx.get(url + "/ready").status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(holds, seconds=20.0):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def process(tmp_path: Path, artifact: Path, upstream: ScriptedUpstream) -> Iterator[Process]:
    found = Process(tmp_path / "turnout.toml", artifact, upstream.base_url, upstream.base_url)
    yield found
    if found.child.poll() is None:
        found.child.kill()
    found.child.communicate()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP here")
def test_sighup_reads_thresholds_anew_and_a_wrong_file_changes_nothing(process):
    assert process.model() == "small"
    process.write(threshold=0.0)
    process.child.send_signal(signal.SIGHUP)
    wait_until(lambda: process.model() == "big")
    process.config.write_text("[server")
    process.child.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.model() == "big"
    process.child.terminate()
    _, err = process.child.communicate(timeout=30)
    assert b"reload failed; keeping the current configuration: " in err


@pytest.mark.skipif(sys.platform == "win32", reason="no ulimit")
def test_silent_connections_leave_descriptors_for_others_and_for_upstreams(tmp_path, artifact, upstream):
    process = Process(tmp_path / "turnout.toml", artifact, upstream.base_url, upstream.base_url, descriptors=256)
    silent: list[socket.socket] = []
    try:
        silent += [socket.create_connection(("127.0.0.1", process.values["port"]), 20) for _ in range(300)]
        for _ in range(20):
            assert httpx.get(process.url + "/health", timeout=20).status_code == 200
            assert process.model() == "small"
    finally:
        for one in silent:
            one.close()
        process.child.terminate()
        _, error = process.child.communicate(timeout=60)
    assert b"max_connections is 4096, but the process may open 256 files: the limit is 96 connections" in error
    assert b"Too many open files" not in error


def test_sigterm_finishes_open_streams_and_takes_no_new_ones(process, upstream):
    go = threading.Event()

    async def waiting(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "begun"}))
        while not go.is_set():
            await asyncio.sleep(0.01)
        await exchange.chunk(event({"content": "ended"}) + b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    upstream.default = waiting
    client = openai.OpenAI(base_url=process.url + "/v1", api_key="unused", max_retries=0)
    stream = iter(client.chat.completions.create(model="auto", messages=HELLO, stream=True))
    assert next(stream).choices[0].delta.content == "begun"
    process.child.send_signal(signal.SIGTERM)
    wait_until(lambda: not ready(process.url))
    assert process.child.poll() is None
    go.set()
    assert next(stream).choices[0].delta.content == "ended"
    assert process.child.wait(20) == 0


def test_a_port_that_is_taken_is_an_error_and_ends_the_process(tmp_path, artifact, upstream):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        flags = ["--strong-model", "a", "--weak-model", "b", "--base-url", upstream.base_url, "--router", str(artifact)]
        port = ["--port", str(taken.getsockname()[1]), "--admin-port", "0"]
        command = [sys.executable, "-m", "turnout", "serve", *flags, *port]
        found = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert found.returncode == 2
    assert b"turnout: error: cannot listen on 127.0.0.1:" in found.stderr
    assert b"Traceback" not in found.stderr


def test_killing_the_upstream_under_load_loses_no_request_that_had_not_begun(tmp_path, artifact, upstream):
    """Requests that the killed process held, idle connections to it, and new ones: all are answered by the other model."""
    killed = subprocess.Popen([sys.executable, str(UPSTREAM)], stdout=subprocess.PIPE)
    assert killed.stdout is not None
    two = f"http://127.0.0.1:{int(killed.stdout.readline())}/v1"
    process = Process(tmp_path / "turnout.toml", artifact, upstream.base_url, two)
    answers: list[tuple[int, str]] = []
    ends = threading.Event()

    def load() -> None:
        with httpx.Client(timeout=30) as client:
            while not ends.is_set():
                body = {"model": "auto", "messages": HELLO, "stream": len(answers) % 2 == 0}
                answer = client.post(process.url + "/v1/chat/completions", json=body)
                # A stream that had begun when the upstream died may be cut short, and says so.
                complete = any(word in answer.text for word in ("[DONE]", '"message": ', "upstream_lost"))
                answers.append((answer.status_code if complete else 0, answer.headers.get("x-turnout-model", "")))

    threads = [threading.Thread(target=load) for _ in range(8)]
    try:
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answers) > 50)
        os.kill(killed.pid, signal.SIGKILL)
        wait_until(lambda: [model for _, model in answers].count("big") > 50)
        ends.set()
        for thread in threads:
            thread.join(30)
        lost = [answer for answer in answers if answer[0] != 200]
        assert not lost, json.dumps(lost)
        assert {model for _, model in answers} == {"small", "big"}
    finally:
        ends.set()
        killed.kill()
        killed.communicate()
        process.child.kill()
        process.child.communicate()


def test_the_address_and_the_playground_are_printed(process):
    process.child.terminate()
    _, err = process.child.communicate(timeout=30)
    assert f"listening on {process.url}; playground: {process.url}/\n".encode() in err
    assert f"admin on http://127.0.0.1:{process.values['admin']}\n".encode() in err
