"""Large batches leave room for others, and end with their client."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import pytest

CHAT = {"model": "router-slow-0.5", "messages": [{"role": "user", "content": "Hello!"}]}

SLOW = """\
import threading, time
calls, gate = [], threading.Semaphore(0)

class Slow:
    def win_rate(self, prompt):
        calls.append(prompt)
        return 0.25

    def win_rates(self, prompts):
        calls.append(list(prompts))
        gate.acquire()
        return [0.25] * len(prompts)
"""


def until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def slow(start, tables, tmp_path, monkeypatch):
    """A server with a router that decides a slice of a batch for each permit of its gate."""
    name = f"slow_{time.time_ns()}"
    (tmp_path / f"{name}.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    module = importlib.import_module(name)
    tables["routers"] = {"slow": {"class": f"{name}:Slow"}}
    server = start()
    yield server, module
    module.gate.release(10_000)


def batch(server, letter, answers):
    answers.append(server.post({"router": "slow", "prompt": [letter] * 100}, "/v1/route").json())


def test_batches_alternate_and_single_prompts_do_not_wait_for_them(slow):
    server, module = slow
    answers = []
    threads = [threading.Thread(target=batch, args=(server, letter, answers)) for letter in "ab"]
    for place, thread in enumerate(threads):
        thread.start()
        until(lambda: len(module.calls) >= 1)
        if place == 1:
            until(lambda: server.state.in_flight == 2)
            time.sleep(0.3)  # Until the second batch waits for its turn.
    assert server.post(CHAT).status_code == 200
    assert "hello" in module.calls
    module.gate.release(100)
    for thread in threads:
        thread.join(20)
    assert [len(one["decisions"]) for one in answers] == [100, 100]
    letters = "".join(call[0] for call in module.calls if isinstance(call, list))
    assert letters == "abababab"


def test_a_batch_ends_with_its_client(slow):
    server, module = slow
    body = {"router": "slow", "prompt": ["gone"] * 10_000}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/route", json=body, timeout=0.5)
    until(lambda: server.state.in_flight == 0)
    module.gate.release(10_000)
    time.sleep(0.5)
    assert len([call for call in module.calls if isinstance(call, list)]) == 1
    assert server.post({"router": "slow", "prompt": ["a"] * 33}, "/v1/route").status_code == 200


def test_the_order_of_a_batch_is_kept(server, router):
    prompts = [f"question {number}" for number in range(100)]
    found = server.post({"router": "mf", "prompt": prompts}, "/v1/route").json()["decisions"]
    assert [one["win_rate"] for one in found] == router.win_rates(prompts).tolist()


@pytest.mark.parametrize("kind", ["pair", "pool", "cascade"])
def test_work_that_grows_with_a_batch_is_done_beside_the_event_loop(start, tables, tmp_path, monkeypatch, kind):
    from tests.serve.cascades import KEEP

    from turnout.cascade import Judge, Policy
    from turnout.serve.decisions import planning

    if kind != "pair":
        del tables["pair"]
        tables["routers"] = {"mf": tables["routers"]["mf"]}
        tables["pool"] = {"objective": {"tolerance": 0}}
        for name, success in (("big", 0.9), ("small", 0.5)):
            tables["models"][name] |= {"success": success, "input_price": success, "output_price": success}
    if kind == "cascade":
        Judge([KEEP], Policy(0.1, 1.0, 2.0, 0.0, 1.1)).save(tmp_path / "judge.json")
        tables["routers"]["mf"] |= {"mode": "cascade", "judges": {"small": str(tmp_path / "judge.json")}}
    server = start()
    on_the_loop, judged_text = [], planning.judged_text

    def judging(text):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            on_the_loop.append(text)
        return judged_text(text)

    monkeypatch.setattr(planning, "judged_text", judging)
    few, many = [f"{number} or {number}?" for number in range(5)], [f"What is {number}?" for number in range(500)]
    for prompts in (few, many):
        found = server.post({"router": "mf", "prompt": prompts}, "/v1/route").json()["decisions"]
        assert len(found) == len(prompts)
    assert on_the_loop == few


@pytest.mark.parametrize(
    ("path", "model"),
    [("/v1/chat/completions", "router-mf-1.0"), ("/v1/chat/completions", "small"), ("/v1/route", "router-mf-1.0")],
)
@pytest.mark.parametrize("is_large", [True, False])
def test_messages_are_walked_once_and_those_of_a_large_body_beside_the_loop(start, monkeypatch, path, model, is_large):
    from turnout.serve.decisions import planning

    walked = []

    def watched(read):
        def walk(*arguments):
            walked.append((read.__name__, asyncio._get_running_loop() is not None))
            return read(*arguments)

        return walk

    for read in (planning.needs_of, planning.prompt_of):
        monkeypatch.setattr(planning, read.__name__, watched(read))
    server = start(sessions={"stay": "conversation"})
    messages = [{"role": "user", "content": "Why?"}] * (2000 if is_large else 20)
    answer = server.post({"model": model, "messages": messages}, path)
    assert answer.status_code == 200
    assert walked == [("needs_of", not is_large), ("prompt_of", not is_large)][: 1 if model == "small" else 2]
