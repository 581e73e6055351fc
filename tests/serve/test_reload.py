"""Reloads: one at a time, the newest wins, what did not change stays, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import re
import shutil
import threading
import weakref
from pathlib import Path

import httpx
import pytest
from scripted_upstream import completion, wait_until

from turnout import ConfigError
from turnout.serve.http.listener import listening
from turnout.serve.process import serve
from turnout.serve.settings.file import settings_of
from turnout.serve.state import SERVER_KEYS_UNTIL_RESTART, TABLES_UNTIL_RESTART, State
from turnout.token_prices import TokenPrices

EXAMPLE = Path(__file__).parents[2] / "docs" / "turnout.toml"

WEAK = {"model": "router-mf-1.0", "messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
def copied(tables, artifact, tmp_path):
    """The tables with an artifact that may be changed."""
    shutil.copytree(artifact, tmp_path / "mine")
    return {**tables, "routers": {"mf": {"path": str(tmp_path / "mine")}}}


def reloaded(state):
    asyncio.run(state.reload())
    return state.snapshot.routers["mf"]


def test_an_unchanged_artifact_is_shared_and_its_threshold_is_not(copied):
    tables = dict(copied)
    state = State(settings_of(tables), lambda: settings_of(tables))
    before = state.snapshot.routers["mf"]
    tables["routers"] = {"mf": {**copied["routers"]["mf"], "threshold": 0.125}}
    after = reloaded(state)
    assert after.router is before.router
    assert after.threshold == 0.125 != before.threshold


def test_files_that_were_copied_anew_are_known_by_their_hash(copied, artifact, tmp_path):
    state = State(settings_of(copied))
    before = state.snapshot.routers["mf"]
    shutil.rmtree(tmp_path / "mine")
    shutil.copytree(artifact, tmp_path / "mine", copy_function=shutil.copyfile)
    assert reloaded(state).router is before.router


def test_an_artifact_that_was_damaged_is_found_and_the_old_one_stays(copied, tmp_path):
    state = State(settings_of(copied))
    before = state.snapshot.routers["mf"]
    file = max((tmp_path / "mine").iterdir(), key=lambda one: one.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(Exception, match="mine"):
        reloaded(state)
    assert state.snapshot.routers["mf"] is before


def test_other_options_load_it_again(copied):
    tables = dict(copied)
    state = State(settings_of(tables), lambda: settings_of(tables))
    before = state.snapshot.routers["mf"]
    tables["routers"] = {"mf": {**copied["routers"]["mf"], "threads": 1}}
    assert reloaded(state).router is not before.router


def test_a_new_file_in_the_folder_loads_it_again(copied, tmp_path):
    state = State(settings_of(copied))
    before = state.snapshot.routers["mf"]
    (tmp_path / "mine" / "battles.log").touch()
    assert reloaded(state).router is not before.router


def test_what_needs_a_restart_is_warned_about_and_documented(copied, caplog):
    tables = dict(copied)
    state = State(settings_of(tables), lambda: settings_of(tables))
    tables |= {"ext_proc": {"deadline_ms": 5.0}, "server": {"access_log": True}}
    reloaded(state)
    assert "changes of [server] access_log, [ext_proc] need a restart" in caplog.text
    documented = EXAMPLE.read_text().split("A restart is needed for ")[1].split(".\n")[0]
    keys = set(re.findall(r"[a-z_]+", documented.split("of [server]: ")[1]))
    assert keys == set(SERVER_KEYS_UNTIL_RESTART)
    assert re.findall(r"\[([a-z_]+)\]", documented)[:-1] == list(TABLES_UNTIL_RESTART)


def test_reloads_that_come_during_one_share_the_next(tables):
    reads, running, most = [], 0, 0
    go = threading.Event()

    def read():
        nonlocal running, most
        running += 1
        most = max(most, running)
        reads.append(None)
        go.wait(20)
        running -= 1
        return settings_of(tables)

    async def many():
        tasks = [asyncio.create_task(state.reload()) for _ in range(100)]
        await asyncio.sleep(0.05)
        go.set()
        await asyncio.gather(*tasks)

    state = State(settings_of(tables), read)
    asyncio.run(many())
    assert (len(reads), most) == (2, 1)
    assert state.metrics.registry.get_sample_value("turnout_reloads_total", {"outcome": "done"}) == 2


def test_callers_that_share_a_reload_share_its_failure(tables):
    def read():
        raise ConfigError("nothing good")

    async def many():
        return await asyncio.gather(*(state.reload() for _ in range(5)), return_exceptions=True)

    state = State(settings_of(tables), read)
    assert [str(one) for one in asyncio.run(many())] == ["nothing good"] * 5


def test_the_snapshot_before_is_freed_without_the_collector(server, tables):
    server.post(WEAK)
    gc.collect()
    gc.disable()
    try:
        server.tables = {**tables, "routers": {"mf": {**tables["routers"]["mf"], "threads": 1}}}
        before = weakref.ref(server.state.snapshot.routers["mf"].router)
        assert httpx.post(f"{server.admin_url}/admin/reload", timeout=30).status_code == 200
        # The client has its answer before the server is done with the request.
        wait_until(lambda: before() is None)
    finally:
        gc.enable()


def test_requests_during_many_reloads_all_succeed(server, upstream, tables, caplog):
    async def slow(exchange):
        await asyncio.sleep(0.02)
        await exchange.whole(200, completion("m", "x"))

    upstream.default = slow
    failures, ends = [], threading.Event()

    def ask():
        while not ends.is_set():
            answer = server.post(WEAK)
            if answer.status_code != 200:
                failures.append(answer.text)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        server.tables = {**tables, "upstreams": {"main": {**tables["upstreams"]["main"], "retries": number % 3}}}
        assert httpx.post(f"{server.admin_url}/admin/reload", timeout=30).status_code == 200
    ends.set()
    for thread in threads:
        thread.join(20)
    assert not failures
    server.__exit__()
    gc.collect()
    assert "Unclosed" not in caplog.text


def test_prices_of_a_receipt_are_those_of_its_decision(start, upstream, tables):
    reached, go_on = threading.Event(), threading.Event()

    async def script(exchange):
        reached.set()
        await asyncio.to_thread(go_on.wait, 30)
        await exchange.whole(200, completion("small", "Hello!"))

    upstream.default = script
    tables["models"]["small"].update(input_price=1.0, output_price=1.0)
    server = start()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(server.post(WEAK)))
    asking.start()
    assert reached.wait(30)
    tables["models"]["small"].update(input_price=1000.0, output_price=1000.0)
    server.tables["models"] = tables["models"]
    assert httpx.post(f"{server.admin_url}/admin/reload", timeout=30).status_code == 200
    assert server.state.snapshot.settings.prices_of("small") == TokenPrices(1000.0, 1000.0)
    go_on.set()
    asking.join(30)
    assert answers[0].status_code == 200
    (decided,) = server.state.recent.since(0, 1)
    wait_until(lambda: decided.receipt["served"] is not None)
    assert decided.receipt["cost"] == 2e-6


def test_answers_that_wait_for_outcomes_keep_no_model_of_before(start, tmp_path):
    server = start(outcomes={"path": str(tmp_path / "o.sqlite")}, changes={"watch": ["outcomes"]})
    assert server.post(WEAK).status_code == 200
    wait_until(lambda: len(server.state.changes._answers) == 1)
    before = weakref.ref(server.state.snapshot.models["small"])
    server.tables["upstreams"]["main"]["retries"] = 0
    assert httpx.post(f"{server.admin_url}/admin/reload").status_code == 200

    def is_gone():
        gc.collect()
        return before() is None

    wait_until(is_gone)


@pytest.fixture
def ending(tables, monkeypatch):
    """Runs a server to its end while a reload runs for some seconds; gives what came of the reload, and how long the end took."""

    def run(reload_s, *, signals=1, shutdown_s=20.0):
        tables["server"] = {"shutdown_s": shutdown_s}
        given, found, closed = [], [], []
        monkeypatch.setattr("turnout.serve.process.on_signals", lambda *both, is_worker: given.extend(both))
        state = State(settings_of(tables))

        async def reload():
            try:
                await asyncio.sleep(reload_s)
                found.append("too late" if closed else "done")
            except asyncio.CancelledError:
                found.append("canceled")
                raise

        async def close():
            closed.append(True)
            await State.close(state)

        async def whole():
            loop = asyncio.get_running_loop()
            serving = asyncio.create_task(serve(state, [listening("127.0.0.1", 0)]))
            while not state.is_ready:
                await asyncio.sleep(0.01)
            end, begin = given
            begin()
            await asyncio.sleep(0.05)
            began = loop.time()
            for _ in range(signals):
                end()
                await asyncio.sleep(0.4)
            await serving
            return loop.time() - began

        monkeypatch.setattr(state, "reload", reload)
        monkeypatch.setattr(state, "close", close)
        return asyncio.run(whole()), found

    return run


def test_a_reload_ends_before_the_server_is_closed(ending):
    seconds, found = ending(1.0)
    assert found == ["done"]
    assert 0.9 < seconds < 10


def test_a_reload_that_takes_too_long_or_a_second_signal_is_not_waited_for(ending):
    for seconds, found in (ending(60.0, shutdown_s=1.0), ending(60.0, signals=2)):
        assert found == ["canceled"]
        assert seconds < 10
