"""The processes of the server benchmarks: the upstream, and a server in front of it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    """The instant upstream; gives its port."""
    command = [sys.executable, str(HERE / "instant_upstream.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.kill()


@contextlib.contextmanager
def server(command: list[str], port: int, ready: str, **environment: str) -> Iterator[int]:
    """A server that listens on a port; gives its process id when the path ``ready`` is answered."""
    environ = {**os.environ, "PYTHONPATH": str(HERE.parent / "python"), **environment}
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            until = time.monotonic() + 120
            while not _answers(f"http://127.0.0.1:{port}{ready}"):
                assert child.poll() is None, f"exit code {child.returncode}: {' '.join(command)}"
                assert time.monotonic() < until, "the server does not come up"
                time.sleep(0.1)
            yield child.pid
        finally:
            child.kill()


def turnout(upstream_port: int, *flags: str) -> contextlib.AbstractContextManager[int]:
    """``turnout serve`` on :data:`PORT`."""
    command = [
        sys.executable, "-m", "turnout", "serve", "--strong-model", "a", "--weak-model", "b", "--port", str(PORT), "--admin-port", "0",
        "--base-url", f"http://127.0.0.1:{upstream_port}/v1", *flags,
    ]  # fmt: skip
    return server(command, PORT, "/ready")


def forward_only(port: int, upstream_port: int) -> contextlib.AbstractContextManager[int]:
    """The server that only forwards, on a port."""
    command = [sys.executable, str(HERE / "forward_only.py"), str(port), str(upstream_port)]
    return server(command, port, "/ready")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


PORT = free_port()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
