"""The server on loopback, in a thread of this process, in front of a scripted upstream."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

import turnout
from turnout.cascade import Form, Judge, Policy
from turnout.serve.app import admin_app, client_app
from turnout.serve.http.connection import Limits
from turnout.serve.http.listener import listener, listening, url_of
from turnout.serve.settings.file import settings_of
from turnout.serve.state import State

_spec = importlib.util.spec_from_file_location("scripted_upstream", Path(__file__).parent / "upstream.py")
assert _spec is not None
assert _spec.loader is not None
scripted = importlib.util.module_from_spec(_spec)
sys.modules["scripted_upstream"] = scripted
_spec.loader.exec_module(scripted)


class RunningServer:
    """A server; ``client`` is OpenAI's."""

    def __init__(self, tables: dict[str, Any], limits: Limits) -> None:
        self.tables = tables
        self.state = State(settings_of(tables), lambda: settings_of(self.tables))
        self.closed: list[str] = []
        self._listeners = [listener(app(self.state), limits, 5, self.closed.append) for app in (client_app, admin_app)]
        self._sockets = [listening("127.0.0.1", 0) for _ in self._listeners]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self.state.is_ready = True
        await asyncio.gather(*(one.serve([at]) for one, at in zip(self._listeners, self._sockets, strict=True)))
        await self.state.close()

    def __enter__(self) -> RunningServer:
        self._thread.start()
        until = time.monotonic() + 30
        while not all(one.started for one in self._listeners):
            assert time.monotonic() < until
            time.sleep(0.005)
        self.url, self.admin_url = map(url_of, self._sockets)
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._listeners:
            one.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()

    def openai(self, **options: Any) -> openai.OpenAI:
        """OpenAI's own client, without retries of its own."""
        return openai.OpenAI(base_url=f"{self.url}/v1", **{"api_key": "unused", "max_retries": 0, **options})

    def post(self, body: Any, path: str = "/v1/chat/completions", **options: Any) -> httpx.Response:
        """A request by hand: JSON, or bytes as they are."""
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return httpx.post(self.url + path, timeout=30, **content, **options)

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric; 0 where it was never counted."""
        return self.state.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def upstream() -> Iterator[Any]:
    """A healthy upstream, to be scripted."""
    with scripted.ScriptedUpstream() as found:
        yield found


@pytest.fixture
def tables(upstream: Any, artifact: Path) -> dict[str, Any]:
    """A configuration: `big` and `small` behind one upstream, the tiny artifact as `mf`, a seeded `random`."""
    return {
        "pair": {"strong": "big", "weak": "small"},
        "upstreams": {"main": {"base_url": upstream.base_url, "backoff_s": 0.01}},
        "models": {"big": {"upstream": "main"}, "small": {"upstream": "main"}},
        "routers": {"mf": {"path": str(artifact)}, "random": {"seed": 1}},
    }


@pytest.fixture
def start(tables: dict[str, Any]) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers with tables added to :func:`tables`, and stops them."""
    running: list[RunningServer] = []

    def begin(limits: Limits | None = None, **added: dict[str, Any]) -> RunningServer:
        merged = {**tables, **{name: {**tables.get(name, {}), **table} for name, table in added.items()}}
        running.append(RunningServer(merged, limits or Limits()).__enter__())
        return running[-1]

    yield begin
    for server in running:
        server.__exit__()


@pytest.fixture
def server(start: Callable[..., RunningServer]) -> RunningServer:
    """The server with nothing added."""
    return start()


class Alternating:
    """Strong, weak, strong, weak, or the other way round: a decision that is made once more shows.

    Args:
        first: Win rate of the first decision, 1 or 0.
    """

    is_microseconds = True

    def __init__(self, first: float = 1.0) -> None:
        self._next = first

    def win_rate(self, prompt: str) -> float:
        found, self._next = self._next, 1.0 - self._next
        return found


@pytest.fixture
def alternating(
    start: Callable[..., RunningServer], upstream: Any, tables: dict[str, Any]
) -> Callable[..., RunningServer]:
    """Starts servers whose router alternates, between models of every dialect."""
    from tests.serve.dialects import SPOKEN, speak

    turnout.register_router("alternating", Alternating)
    upstream.default = speak
    for model in tables["models"].values():
        model["dialects"] = list(SPOKEN)
    return lambda first=1.0, **added: start(routers={"alternating": {"first": first}}, **added)


@pytest.fixture
def two_upstreams(tables: dict[str, Any]) -> Iterator[Any]:
    """Gives `small` an upstream of its own, which is returned."""
    with scripted.ScriptedUpstream() as found:
        tables["upstreams"]["other"] = {"base_url": found.base_url, "backoff_s": 0.01}
        tables["models"]["small"] = {"upstream": "other"}
        yield found


@pytest.fixture
def cascading(start: Any, upstream: Any, tables: dict[str, Any], tmp_path: Path) -> Callable[..., RunningServer]:
    """Starts servers whose judge has these forms."""
    from tests.serve.dialects import SPOKEN, speak

    upstream.default = speak
    for name, price in (("big", 10.0), ("small", 1.0)):
        tables["models"][name] |= {"dialects": list(SPOKEN), "input_price": price, "output_price": price}

    def begin(
        *forms: Form, low: float = 0.0, high: float = 1.1, server: dict[str, Any] | None = None, **options: Any
    ) -> RunningServer:
        Judge(forms, Policy(0.1, 1.0, 2.0, low, high)).save(tmp_path / "judge.json")
        router = {**tables["routers"]["mf"], "mode": "cascade", "judge": str(tmp_path / "judge.json"), **options}
        return start(routers={"mf": router}, server=server or {})

    return begin
