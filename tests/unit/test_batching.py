"""A network shared by threads and asyncio: one queue, honest refusals, nobody left waiting."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import turnout
from turnout import threads
from turnout.routers.bert.import_ import import_bert
from turnout.routers.causal_llm.import_ import import_causal_llm

NETWORKS = Path(__file__).parent.parent / "fixtures" / "networks"
PROMPTS = [f"what is the sum of {row} and {'two ' * (row % 11)}" for row in range(48)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_bert(NETWORKS / "bert", tmp_path_factory.mktemp("bert") / "artifact")


@pytest.fixture(scope="module")
def network(folder: Path) -> turnout.Router:
    return turnout.load(folder)


def test_a_network_is_told_apart_from_a_native_router(network: turnout.Router) -> None:
    assert (network.engine, network.device, network.is_microseconds) == ("onnxruntime", "cpu", False)
    assert "is a network" in (network.not_native_because or "")
    assert network.model_scores("why?") == {}
    with pytest.raises(turnout.InvalidInputError, match="makes no embedding"):
        network.embed("why?")


@pytest.mark.parametrize("kind", ["bert", "causal_llm"])
async def test_threads_and_tasks_share_the_queue_and_decide_as_one(kind: str, tmp_path: Path) -> None:
    convert = import_bert if kind == "bert" else import_causal_llm
    router = turnout.load(convert(NETWORKS / kind, tmp_path / "artifact"))
    expected = {prompt: router.win_rate(prompt) for prompt in PROMPTS}
    barrier = threading.Barrier(16)

    def work(shift: int) -> bool:
        barrier.wait()
        order = PROMPTS[shift:] + PROMPTS[:shift]
        single = all(abs(router.route(prompt).win_rate - expected[prompt]) < 1e-5 for prompt in order)
        batch = zip(router.route_batch(order), order, strict=True)
        return single and all(abs(decision.win_rate - expected[prompt]) < 1e-5 for decision, prompt in batch)

    with ThreadPoolExecutor(16) as pool:
        loop = asyncio.get_running_loop()
        threads = [loop.run_in_executor(pool, work, shift) for shift in range(16)]
        for _ in range(5):
            decisions = await asyncio.gather(*(router.aroute(prompt) for prompt in PROMPTS))
            for prompt, decision in zip(PROMPTS, decisions, strict=True):
                assert decision.win_rate == pytest.approx(expected[prompt], abs=1e-5)
        assert all(await asyncio.gather(*threads))


async def test_tasks_choose_thresholds_as_calls_do(network: turnout.Router) -> None:
    decision = await network.aroute("why?", threshold=0.0)
    assert (decision.is_strong, decision.threshold) == (True, 0.0)
    assert decision == network.route("why?", threshold=0.0)
    with pytest.raises(turnout.InvalidInputError, match="threshold is 2"):
        await network.aroute("why?", threshold=2.0)
    with pytest.raises(turnout.InvalidTypeError):
        await network.aroute(3)  # type: ignore[arg-type]
    long = "two " * 5000
    assert (await network.aroute(long)).win_rate == pytest.approx(network.win_rate(long), abs=1e-6)


async def test_cancelled_tasks_leave_and_the_others_are_served(network: turnout.Router) -> None:
    expected = network.win_rate("why?")
    for _ in range(20):
        tasks = [asyncio.create_task(network.aroute("why?")) for _ in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for place, result in enumerate(results):
            if isinstance(result, BaseException):
                assert isinstance(result, asyncio.CancelledError)
                assert place % 2 == 0
            else:
                assert result.win_rate == pytest.approx(expected, abs=1e-5)


async def test_a_deadline_that_has_passed_is_an_error(network: turnout.Router) -> None:
    with pytest.raises(turnout.DeadlineExceededError):
        network.route("why?", deadline_us=0)
    with pytest.raises(turnout.DeadlineExceededError):
        network.route_batch(["why?", "how?"], deadline_us=0)
    with pytest.raises(TimeoutError):
        await network.aroute("why?", deadline_us=0)
    minute = 60_000_000
    assert (
        network.route("why?", deadline_us=minute)
        == network.route("why?")
        == await network.aroute("why?", deadline_us=minute)
    )
    with pytest.raises(turnout.InvalidInputError, match="deadline_us is -1"):
        network.route("why?", deadline_us=-1)
    with pytest.raises(turnout.InvalidInputError, match="deadline_us is -1"):
        await network.aroute("why?", deadline_us=-1)


async def test_a_full_queue_is_an_error_at_once(folder: Path) -> None:
    router = turnout.load(folder, max_queue=1)
    results = await asyncio.gather(*(router.aroute("why?") for _ in range(200)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert refused
    assert all(isinstance(error, turnout.OverloadedError) and "max_queue" in str(error) for error in refused)
    assert router.route("why?") in results


async def test_closing_refuses_later_callers(folder: Path) -> None:
    router = turnout.load(folder)
    router.close()
    router.close()
    with pytest.raises(turnout.WorkerStoppedError, match="closed"):
        router.route("why?")
    with pytest.raises(turnout.WorkerStoppedError):
        router.route_batch(["why?"])
    with pytest.raises(turnout.WorkerStoppedError):
        await router.aroute("why?")


def test_closing_wakes_threads_that_wait(folder: Path) -> None:
    router = turnout.load(folder)

    def work(_: int) -> None:
        while True:
            try:
                router.route("why? " * 40)
            except turnout.WorkerStoppedError:
                return

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(work, row) for row in range(16)]
        threading.Timer(0.05, router.close).start()
        for future in futures:
            future.result(timeout=60)


@pytest.mark.parametrize(
    "option",
    [{"max_queue": 0}, {"max_batch_rows": 0}, {"max_batch_tokens": -1}, {"max_wait_us": 1 << 40}, {"sessions": 300}],
)
def test_batch_options_must_make_sense(folder: Path, option: dict[str, int]) -> None:
    with pytest.raises(turnout.ConfigError, match=f"{next(iter(option))} is .*expected"):
        turnout.load(folder, **option)


def test_a_network_after_a_fork_says_what_to_do(folder: Path, run_python: Callable[..., str]) -> None:
    script = """
        import asyncio, os, sys
        import turnout
        router = turnout.load(sys.argv[1])
        expected = router.win_rate("why?")
        child = os.fork()
        if child == 0:
            told = 0
            for work in (lambda: router.route("why?"), lambda: router.route_batch(["why?"]), lambda: asyncio.run(router.aroute("why?"))):
                try:
                    work()
                except turnout.InferenceError as error:
                    told += "open it again" in str(error)
            again = turnout.load(sys.argv[1]).win_rate("why?") == expected
            os._exit(0 if (told, again) == (3, True) else 3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        print(asyncio.run(router.aroute("why?")).win_rate == expected)
    """
    assert run_python(script, str(folder)) == "True\n"


def test_a_fork_may_drop_close_and_end(folder: Path, run_python: Callable[..., str]) -> None:
    """Sessions of several threads, the queue's lock perhaps held: nothing of the parent's is touched, and the child ends by itself."""
    script = """
        import os, sys, threading
        import turnout
        router = turnout.load(sys.argv[1], sessions=1, threads=4, max_queue=64)
        expected = router.win_rate("why?")
        stop = threading.Event()
        def work():
            while not stop.is_set():
                router.win_rate("why?")
        threads = [threading.Thread(target=work) for _ in range(8)]
        [thread.start() for thread in threads]
        children = []
        for number in range(6):
            child = os.fork()
            if child == 0:
                if number % 2:
                    router.close()
                router = turnout.load(sys.argv[1])
                sys.exit(0 if router.win_rate("why?") == expected else 3)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        stop.set()
        [thread.join() for thread in threads]
        print(codes)
    """
    assert run_python(script, str(folder)) == "[0, 0, 0, 0, 0, 0]\n"


def test_a_network_leaves_nothing_in_the_home_folder(
    folder: Path, run_python: Callable[..., str], tmp_path: Path
) -> None:
    """ONNX Runtime's telemetry keeps a device id and a database there."""
    script = """
        import sys, time
        import turnout
        turnout.load(sys.argv[1]).win_rate("why?")
        time.sleep(0.5)
    """
    home = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
    run_python(script, str(folder), environment=home)
    assert list(tmp_path.rglob("*")) == []


def test_a_prompt_whose_deadline_has_passed_is_not_queued(folder: Path) -> None:
    told: list[tuple[float | None, Exception | None]] = []
    turnout.load(folder)._submit("why?", lambda win_rate, error: told.append((win_rate, error)), 0)
    # On this thread, before the call returns: nothing was left to run.
    [(win_rate, error)] = told
    assert win_rate is None
    assert isinstance(error, turnout.DeadlineExceededError)


async def test_the_deadline_of_a_long_prompt_counts_from_the_call(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long prompts go by way of a worker thread, for which they may have to wait."""
    monkeypatch.setattr(threads, "_WORKERS", 1)
    router = turnout.load(folder)
    busy = asyncio.ensure_future(router.threads.run(lambda: time.sleep(0.2)))
    await asyncio.sleep(0)
    with pytest.raises(turnout.DeadlineExceededError):
        await router.aroute("why? " * 2000, deadline_us=100_000)
    await busy


def test_a_loop_that_is_closed_early_disturbs_nobody(folder: Path, run_python: Callable[..., str]) -> None:
    """Tasks are dropped with their loop, the process ends while prompts are queued; nothing is written to standard error."""
    script = """
        import asyncio, sys
        import turnout
        router = turnout.load(sys.argv[1])
        expected = router.win_rate("why?")
        async def leave():
            for _ in range(50):
                asyncio.ensure_future(router.aroute("why?"))
            await asyncio.sleep(0.0005)
        for _ in range(20):
            asyncio.run(leave())
        print(router.win_rate("why?") == expected)
        router._submit("why?", lambda win_rate, error: None)
    """
    assert run_python(script, str(folder)) == "True\n"


def test_a_process_may_end_while_its_callbacks_run(folder: Path, run_python: Callable[..., str]) -> None:
    """A callback lets go of the interpreter, as writing to a loop's socket does, and finds it finalized; then it is refused."""
    script = """
        import atexit, sys, threading, time
        def late():
            try:
                router._submit("why?", print)
            except turnout.RouterError as error:
                print("ending" in str(error))
        # Run last: what was registered first.
        atexit.register(late)
        import turnout
        router = turnout.load(sys.argv[1])
        inside = threading.Event()
        def callback(win_rate, error):
            inside.set()
            time.sleep(0.3)
        router._submit("why?", callback)
        inside.wait()
    """
    assert run_python(script, str(folder)) == "True\n"


@pytest.mark.parametrize("device", ["cuda:0", "tensorrt:0", "cuda:0,cuda:1"])
def test_a_gpu_that_is_not_there_is_an_error_and_never_the_cpu(folder: Path, device: str) -> None:
    with pytest.raises(turnout.DeviceError, match="is unavailable") as told:
        turnout.load(folder, device=device, device_memory_bytes=1 << 30)
    assert "turnout[gpu]" in str(told.value)


def test_a_float16_graph_is_not_run_on_a_cpu(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "half"
    shutil.copytree(folder, copy)
    model = onnx.load(str(copy / "model.onnx"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float16), "half"))
    content = model.SerializeToString()
    (copy / "model.onnx").write_bytes(content)
    manifest = json.loads((copy / "router.json").read_text())
    manifest["files"]["model.onnx"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (copy / "router.json").write_text(json.dumps(manifest))
    with pytest.raises(turnout.DeviceError, match=r'float16 weights.*device "cuda:0"'):
        turnout.load(copy)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu,cuda:0", "cuda:0,cuda:0"])
def test_devices_that_make_no_sense_are_refused(folder: Path, device: str) -> None:
    with pytest.raises(turnout.DeviceError, match="device is"):
        turnout.load(folder, device=device)
