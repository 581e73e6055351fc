"""Several processes that serve as one: metrics, decision log, signals."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from scripted_upstream import event
from tests.serve.test_processes import HELLO, Process
from tests.serve.test_processes import wait_until as within
from tests.serve.worker_processes import WorkerProcesses

from turnout import ConfigError
from turnout.serve.receipts.log_writers import Lines
from turnout.serve.settings.file import settings_of
from turnout.serve.settings.tables import LogSettings
from turnout.serve.workers import check_workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def wait_until(holds):
    """Connections to a worker that is replaced wait for the next one, which takes seconds to start."""
    within(holds, 120)


#: Requests of several connections at once.
AT_ONCE = 8


class Served(WorkerProcesses, Process):
    """Two workers; each request has a connection of its own."""

    def model(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.values["port"], timeout=120)
        connection.request("POST", "/v1/chat/completions", json.dumps({"model": "auto", "messages": HELLO}))
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.headers["x-turnout-model"]

    def models(self, count: int) -> Counter[str]:
        """The models that answer so many requests."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return Counter(pool.map(lambda _: self.model(), range(count)))

    def metrics(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.values['admin']}/metrics", timeout=30).text

    def metric(self, name: str) -> float:
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", self.metrics(), re.MULTILINE))

    def group(self) -> Path:
        """The folder that the workers share."""
        environ = Path(f"/proc/{min(self.pids())}/environ").read_bytes().split(b"\0")
        (found,) = [one.partition(b"=")[2] for one in environ if one.startswith(b"PROMETHEUS_MULTIPROC_DIR=")]
        return Path(found.decode())


@pytest.fixture
def served(tmp_path, artifact, upstream):
    more = f'[sessions]\nstay = "off"\n[log]\npath = "{tmp_path}/log.jsonl"'
    own = Path(shutil.copytree(artifact, tmp_path / "artifact"))
    found = Served(tmp_path / "turnout.toml", own, upstream.base_url, upstream.base_url, workers=2, more=more)
    yield found
    if found.child.poll() is None:
        found.child.kill()
    found.child.communicate()


def test_two_workers_are_one_server(served, tmp_path):
    count = 0
    while len(served.deciding()) < 2:
        assert served.models(10) == {"small": 10}
        count += 10
        assert count < 1000
    assert served.metric("turnout_decisions_total") == count
    assert served.metric("turnout_decision_seconds_count") == count
    assert "# HELP turnout_decisions_total Decisions by chosen model." in served.metrics()
    wait_until(lambda: served.metric("turnout_in_flight") == 0)
    # A reload that one worker answers is one of all.
    served.write(threshold=0.0)
    assert httpx.post(f"http://127.0.0.1:{served.values['admin']}/admin/reload", timeout=30).status_code == 200
    wait_until(lambda: served.metric("turnout_reloads_total") == 2)
    assert served.models(20) == {"big": 20}
    served.write(threshold=1.0)
    served.child.send_signal(signal.SIGHUP)
    wait_until(lambda: served.metric("turnout_reloads_total") == 4)
    assert served.models(20) == {"small": 20}
    # One that is killed is replaced; counts stay.
    killed, other = served.pids()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(served.pids()) == 2 and killed not in served.pids())
    wait_until(lambda: served.deciding() == {other})
    assert served.models(20) == {"small": 20}
    assert served.metric("turnout_decisions_total") == count + 60
    assert {path.name.rpartition("_")[2] for path in served.group().glob("*.db")} == {
        "0.db",
        *(f"{pid}.db" for pid in served.pids()),
    }
    served.child.terminate()
    _, error = served.child.communicate(timeout=60)
    assert served.child.returncode == 0, error
    receipts = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    # What the killed worker had not written yet is lost.
    assert count <= len({receipt["request_id"] for receipt in receipts}) == len(receipts) <= count + 60


def test_a_worker_that_is_replaced_starts_with_what_was_opened_last(served):
    correct = served.config.read_text()
    served.config.write_text(correct.replace("[upstreams.one]", '[upstreams.one]\nkey_env = "NOT_SET"'))
    served.child.send_signal(signal.SIGHUP)
    wait_until(lambda: served.metric("turnout_reloads_total") == 2)
    killed, other = served.pids()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(served.pids()) == 2 and killed not in served.pids())
    (new,) = served.pids() - {other}
    wait_until(lambda: served.models(4) and new in served.deciding())


def test_a_worker_that_cannot_be_started_leaves_its_connections_to_others(served):
    # One that has not opened the artifact yet could not start either.
    wait_until(lambda: served.models(4) and len(served.deciding()) == 2)
    killed, other = served.pids()
    artifact = served.values["artifact"]
    artifact.rename(artifact.with_suffix(".gone"))
    seen = {killed, other}
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: seen.update(served.pids()) or len(seen) == 4)  # Two more that ended.
    assert served.models(20) == {"small": 20}
    artifact.with_suffix(".gone").rename(artifact)
    wait_until(lambda: served.models(4) and len(served.deciding()) == 2)


def test_sigterm_finishes_the_streams_of_all_workers_and_takes_no_new_connection(served, upstream):
    go = threading.Event()

    async def waiting(exchange):
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "begun"}))
        while not go.is_set():
            await asyncio.sleep(0.01)
        await exchange.chunk(event({"content": "ended"}) + b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    upstream.default = waiting
    clients = [openai.OpenAI(base_url=served.url + "/v1", api_key="unused", max_retries=0) for _ in range(6)]
    streams = [iter(one.chat.completions.create(model="auto", messages=HELLO, stream=True)) for one in clients]
    assert {next(stream).choices[0].delta.content for stream in streams} == {"begun"}
    served.child.terminate()

    def refuses():
        try:
            httpx.get(served.url + "/health", timeout=5)
        except httpx.TransportError as error:
            # Anything else is a connection that was accepted and left.
            return isinstance(error, httpx.ConnectError)
        return False

    wait_until(refuses)
    assert served.child.poll() is None
    go.set()
    assert {next(stream).choices[0].delta.content for stream in streams} == {"ended"}
    assert served.child.wait(30) == 0


def test_workers_end_with_the_process_that_started_them(served):
    pids = served.pids()
    served.child.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_what_is_wrong_is_said_once(tmp_path, artifact, upstream):
    flags = ["--strong-model", "a", "--weak-model", "b", "--base-url", upstream.base_url, "--router", str(artifact)]
    command = [sys.executable, "-m", "turnout", "serve", *flags, "--workers", "2", "--port", "0", "--admin-port", "0"]
    found = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert found.returncode == 2
    assert found.stderr.decode().count("2 workers would each keep sessions of their own") == 1


def test_workers_must_share_what_all_must_know(tables):
    settings = settings_of(tables)
    check_workers(settings, 1)
    with pytest.raises(ConfigError, match=r"expected \[sessions\] store"):
        check_workers(settings, 2)
    check_workers(settings_of({**tables, "sessions": {"store": "redis://localhost"}}), 2)
    watched = {**tables, "sessions": {"store": "redis://localhost"}, "changes": {"watch": ["latency", "outcomes"]}}
    with pytest.raises(ConfigError, match="most outcomes could not be watched"):
        check_workers(settings_of(watched), 2)
    off = {**tables, "sessions": {"stay": "off"}}
    check_workers(settings_of(off), 2)
    two = {"main": tables["upstreams"]["main"], "other": tables["upstreams"]["main"]}
    models = {name: {"upstream": one, "dialects": ["responses"]} for name, one in (("big", "main"), ("small", "other"))}
    with pytest.raises(ConfigError, match="which upstream made a stored response"):
        check_workers(settings_of({**off, "upstreams": two, "models": models}), 2)


def test_logs_of_workers_neither_interleave_nor_lose_a_line(tmp_path):
    settings = LogSettings(path=str(tmp_path / "log.jsonl"), max_bytes=10_000, keep=1000)
    writers = [Lines(settings, tmp_path) for _ in range(3)]

    def write(number):
        for first in range(0, 300, 3):
            rows = [{"request_id": f"{number}-{first + step}", "prompt": "x" * (first % 700)} for step in range(3)]
            writers[number].write(rows)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    for writer in writers:
        writer.close()
    files = [path for path in tmp_path.glob("log.jsonl*") if path.suffix != ".lock"]
    found = [json.loads(line)["request_id"] for path in files for line in path.read_text().splitlines()]
    assert sorted(found) == sorted(f"{number}-{row}" for number in range(3) for row in range(300))
    assert len(files) > 10
    assert all(path.stat().st_size <= 10_000 for path in files)


def test_a_line_that_a_killed_worker_began_spoils_no_other(tmp_path):
    writer = Lines(LogSettings(path=str(tmp_path / "log.jsonl")), tmp_path)
    writer.write([{"a": 1}])
    with (tmp_path / "log.jsonl").open("a") as killed:
        killed.write('{"a": ')
    writer.write([{"a": 2}])
    writer.close()
    assert (tmp_path / "log.jsonl").read_text().splitlines() == ['{"a": 1}', '{"a": ', '{"a": 2}']


@pytest.mark.parametrize("place", ["budget", "quota", "effort"])
def test_workers_that_would_share_a_limit_are_refused(tables, place, tmp_path):
    price = {"success": 0.5, "input_price": 1.0, "output_price": 1.0}
    models = {name: {"upstream": "main", **price} for name in ("big", "small")}
    pool = {"objective": {"target": 0.5}, "routers": ["mf"]}
    if place == "budget":
        pool = {"budget": {"cost": 5.0, "path": str(tmp_path / "budget.json")}, "routers": ["mf"]}
    elif place == "quota":
        models["small"]["quota"] = 60
    else:
        models["small"]["efforts"] = {"high": {"quota": 60}}
    # A shared store of sessions makes no difference.
    settings = settings_of({**tables, "models": models, "pool": pool, "sessions": {"store": "redis://localhost"}})
    check_workers(settings, 1)
    words = r"each spend the whole \[pool.budget\]" if place == "budget" else r"the whole quota of \[models.small\]"
    with pytest.raises(ConfigError, match=words):
        check_workers(settings, 2)
