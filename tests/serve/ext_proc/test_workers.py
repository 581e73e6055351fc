"""``turnout ext-proc --workers``: processes that serve gateways on one address."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import httpx
import pytest
from scripted_upstream import wait_until
from tests.serve.ext_proc.gateway import PAIR, body, chat, head, headers_of
from tests.serve.ext_proc.messages import METHOD, ProcessingResponse
from tests.serve.test_processes import free_port
from tests.serve.worker_processes import WorkerProcesses

from turnout.cli import main

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

TOML = (
    """\
[server]
admin_port = {admin}
[ext_proc]
port = {port}
deadline_ms = 60000.0
[sessions]
stay = "{stay}"
"""
    + PAIR
)


class Served(WorkerProcesses):
    """Two workers; each request has a connection of its own."""

    def __init__(self, config: Path, artifact: Path) -> None:
        self.port, self.admin = free_port(), free_port()
        config.write_text(TOML.format(port=self.port, admin=self.admin, artifact=artifact, stay="off"))
        command = [sys.executable, "-m", "turnout", "ext-proc", "--config", str(config), "--workers", "2"]
        self.child = subprocess.Popen(command, stderr=subprocess.PIPE)

    def model(self) -> str:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options) as channel:
            call = channel.stream_stream("/" + "/".join(METHOD))
            sent = [one.SerializeToString() for one in (head(), body(chat()))]
            # A connection to a worker that is replaced waits for the next one.
            _, answer = call(iter(sent), timeout=60, wait_for_ready=True)
        return headers_of(ProcessingResponse.FromString(answer))["x-turnout-model"]

    def metrics(self) -> str:
        try:
            return httpx.get(f"http://127.0.0.1:{self.admin}/metrics", timeout=30).text
        except httpx.HTTPError:
            return ""

    def decided(self) -> float:
        return sum(
            map(float, re.findall(r'turnout_ext_proc_requests_total\{outcome="decided"\} (\S+)', self.metrics()))
        )


@pytest.fixture
def served(tmp_path, artifact):
    found = Served(tmp_path / "turnout.toml", artifact)
    yield found
    if found.child.poll() is None:
        found.child.kill()
    found.child.communicate()


def test_two_workers_share_an_address_and_one_that_is_killed_is_replaced(served):
    asked = 0

    def ask_until(pids):
        nonlocal asked
        while served.deciding() != pids():
            assert served.model() == "big"
            asked += 1
            assert asked < 1000

    wait_until(lambda: served.child.poll() is not None or len(served.pids()) == 2, 120)
    assert served.child.poll() is None, served.child.communicate()
    first = served.pids()
    ask_until(lambda: first)
    killed, other = first
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: served.deciding() == {other} and len(served.pids() - {killed}) == 2, 120)
    ask_until(served.pids)
    assert served.decided() == asked
    served.child.terminate()
    _, error = served.child.communicate(timeout=60)
    assert served.child.returncode == 0, error


def test_workers_must_share_what_all_must_know(tmp_path, artifact, capsys):
    config = tmp_path / "turnout.toml"
    config.write_text(TOML.format(port=0, admin=0, artifact=artifact, stay="turn"))
    for more in (["--check"], []):
        assert main(["ext-proc", "--config", str(config), "--workers", "2", *more]) == 2
        assert "2 workers would each keep sessions of their own" in capsys.readouterr().err
    assert main(["ext-proc", "--config", str(config), "--workers", "0"]) == 2
    assert "--workers is 0" in capsys.readouterr().err
