"""Sessions in Redis, which two servers share, and which may go at any time."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scripted_upstream import wait_until
from tests.serve.dialects import SPOKEN
from tests.serve.test_sessions import loop

from turnout import ConfigError
from turnout.serve.settings.file import settings_of
from turnout.serve.state import State

RESPONSES = SPOKEN["responses"]


class RedisServer:
    """Debian's redis-server with a password, in a folder of its own; nothing is written to disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        self.child = subprocess.Popen(
            ["redis-server", *options, "--requirepass", "password-of-redis"], stdout=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: self.cli("PING") == "PONG" or self.child.poll() is not None)
            assert self.child.poll() is None, "redis-server has ended"
        except BaseException:
            self.child.kill()
            raise

    def kill(self, sign: signal.Signals = signal.SIGKILL) -> None:
        self.child.send_signal(sign)
        if sign == signal.SIGKILL:
            self.child.wait(20)

    def cli(self, *arguments: str) -> str:
        command = ["redis-cli", "-p", str(self.port), "--no-auth-warning", "-a", "password-of-redis", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.strip()


@pytest.fixture
def redis(tmp_path, monkeypatch):
    """A Redis that the test may kill; what the tests of CI must not skip."""
    if shutil.which("redis-server") is None and os.environ.get("TURNOUT_REDIS") != "required":
        pytest.skip("no redis-server here: on Debian apt-get install redis-server")
    monkeypatch.setenv("REDIS_PASSWORD", "password-of-redis")
    found = RedisServer(tmp_path)
    yield found
    found.kill()


@pytest.fixture
def begin(alternating, redis):
    """Starts servers whose routers alternate, and which share sessions. A loaded machine must not count as a Redis that is gone."""
    store = {
        "store": f"redis://127.0.0.1:{redis.port}/0",
        "store_password_env": "REDIS_PASSWORD",
        "store_timeout_s": 2.0,
    }
    return lambda first=1.0, **settings: alternating(first, sessions={**store, **settings})


def step(server, count, task="Fix the test."):
    """The model that answers a step of a loop of tools."""
    answer = server.post({"model": "router-alternating-0.5", "messages": loop(SPOKEN["chat"], task, count)})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-turnout-model"]


def failed(server):
    """Calls of the store that failed, by reason."""
    metric = server.state.metrics.session_store_errors
    return {
        sample.labels["reason"]: sample.value
        for family in metric.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def test_two_servers_share_turns(begin, redis):
    one, two = begin(1.0), begin(0.0)
    assert [step(one, 0), step(two, 1), step(one, 2), step(two, 3)] == ["big"] * 4
    assert two.state.recent.count == 0
    assert failed(one) == failed(two) == {}
    (key,) = redis.cli("KEYS", "*").splitlines()
    assert key.startswith("turnout:session:")
    assert redis.cli("GET", key) == "big"
    assert 86_000 < int(redis.cli("TTL", key)) <= 86_400


def test_two_servers_share_who_made_a_response(begin, tables, two_upstreams):
    from tests.serve.dialects import speak

    two_upstreams.default = speak
    tables["models"]["small"] = {"upstream": "other", "dialects": ["responses"]}
    one, two = begin(0.0), begin(1.0)
    assert one.post(RESPONSES.body("router-alternating-0.5"), RESPONSES.path).headers["x-turnout-model"] == "small"
    body = RESPONSES.body("router-alternating-0.5", previous_response_id="resp_1")
    answer = two.post(body, RESPONSES.path)
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-rule"]) == ("small", "response")


def test_killing_the_store_under_load_fails_no_request(begin, redis, caplog):
    server = begin()
    ends, asked = threading.Event(), []

    def work(number):
        models = set()
        count = 0
        while not ends.is_set():
            models.add(step(server, count % 20, f"Task {number}."))
            count += 1
            asked.append(number)
        return models

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(work, number) for number in range(4)]
        try:
            wait_until(lambda: len(asked) > 50, 60)
            redis.kill()
            mark = len(asked)
            wait_until(lambda: len(asked) > mark + 50, 60)
            redis.start()
            # Tried again after a second, without a restart.
            wait_until(lambda: redis.cli("DBSIZE") == "4", 60)
        finally:
            ends.set()
        # No request failed.
        assert all(one.result(60) for one in found)
    assert failed(server)["connection"] >= 1
    lines = [record.getMessage() for record in caplog.records if "session store" in record.getMessage()]
    assert 1 <= len(lines) < 20
    assert not any("password-of-redis" in line for line in lines)


def test_a_loop_goes_on_where_the_store_is_gone_or_was_emptied(begin, redis):
    server = begin()
    assert step(server, 0) == "big"
    redis.kill()
    assert [step(server, count) for count in (1, 2, 3)] == ["big"] * 3
    redis.start()
    wait_until(lambda: (step(server, 4), redis.cli("DBSIZE"))[1] == "1", 60)
    assert server.state.recent.count == 1


def test_a_store_that_hangs_is_left_alone_after_three_calls(begin, redis):
    server = begin(store_timeout_s=0.05)
    step(server, 0)
    redis.kill(signal.SIGSTOP)
    try:
        # All calls but the first three, and one a second, are left out.
        for count in range(20):
            step(server, count)
        found = failed(server)
        assert found["timeout"] >= 3
        assert found["paused"] >= 3
    finally:
        redis.kill(signal.SIGCONT)


def test_values_that_are_not_ours_are_left_out(begin, redis):
    server = begin()
    step(server, 0)
    (key,) = redis.cli("KEYS", "*").splitlines()
    for value in ("no such model", "x" * 100_000):
        redis.cli("SET", key, value)
        assert step(server, 1) in ("big", "small")
    redis.cli("DEL", key)
    redis.cli("LPUSH", key, "a list")
    assert step(server, 2) in ("big", "small")
    assert failed(server)["refused"] >= 1


def test_a_server_starts_without_its_store(alternating):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        store = f"redis://127.0.0.1:{closed.getsockname()[1]}"
        server = alternating(sessions={"store": store, "store_timeout_s": 10.0})
        assert [step(server, count) for count in range(3)] == ["big"] * 3
        assert failed(server)["connection"] >= 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"store": "redis://:topsecret@host"}, "password"),
        ({"store": "redis://host?socket_timeout=9"}, "query"),
        ({"store": "http://host"}, "not a URL such as redis://"),
        ({"store": "redis://"}, "not a URL such as redis://"),
        ({"store": "redis://host", "store_password_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE is not set"),
    ],
)
def test_a_store_that_cannot_be_used_is_an_error(tables, settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        State(settings_of({**tables, "sessions": settings}))
    assert "topsecret" not in str(error.value)
