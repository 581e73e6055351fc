"""Signals are handled while a native call runs: its caller may end it. A call without checks fails by the time limit of the subprocess,
or because its handler ran once, at the end, for all signals that came meanwhile."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

#: Combining marks go to the `tokenizers` crate, which takes about a millisecond for so many.
_SLOW_TEXT = "a\u0316\u0301 " * 400
_SLOW_PROMPTS = f"[{_SLOW_TEXT!r}] * 400_000"
_CALLS = [
    ("mf", _SLOW_PROMPTS, "router.route_batch(work)"),
    ("mf", _SLOW_PROMPTS, "router.win_rates(work)"),
    ("mf", _SLOW_PROMPTS, "router.embed(work)"),
    ("network", "['what is ' * 200] * 100_000", "router.route_batch(work)"),
    ("network", "['what is ' * 200] * 100_000", "router.win_rates(work)"),
    ("sw_ranking", "['what is the sum of two numbers'] * 2_000_000", "router.route_batch(work)"),
    ("sw_ranking", "np.ones((2_000_000, router.embedding_dim), np.float32)", "router.win_rates(embeddings=work)"),
    (
        "sw_ranking",
        f"{_SLOW_PROMPTS}",
        "router._new_battles((np.arange(400_000, dtype=np.uint64), work, router.models[:1] * 400_000, "
        "router.models[1:2] * 400_000, np.zeros(400_000, np.uint8), None))",
    ),
    ("external", "np.ones((3_000_000, router.embedding_dim), np.float32)", "router.win_rates(embeddings=work)"),
]


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("router", "work", "call"), _CALLS, ids=[f"{one[0]}-{one[2].split('(')[0]}" for one in _CALLS])
def test_a_long_call_handles_signals_again_and_again_and_ends_with_what_a_handler_raises(
    router: str, work: str, call: str, external: Path, network: Path
) -> None:
    options = "engine='onnxruntime'" if router == "external" else "threads=2"
    code = f"""
        import signal, sys, numpy as np, turnout

        handled = []

        def handle(*_):
            handled.append(1)
            if len(handled) == 5:
                signal.setitimer(signal.ITIMER_REAL, 0)
                raise KeyboardInterrupt

        router = turnout.load(sys.argv[1], {options})
        work = {work}
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.3, 0.05)
        try:
            {call}
        except KeyboardInterrupt:
            print("ended after", len(handled))
    """
    folder = {"external": str(external), "network": str(network)}.get(router, router)
    assert run(code, folder) == "ended after 5\n"


def test_a_router_is_as_before_after_a_batch_was_ended(network: Path) -> None:
    code = """
        import os, signal, sys, threading, turnout

        # Shells start what runs in the background with SIGINT ignored, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        router = turnout.load(sys.argv[1], threads=2)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            router.route_batch(["what is " * 200] * 100_000)
        except KeyboardInterrupt:
            print("interrupted", router.route("a") == router.route_batch(["a"])[0])
    """
    assert run(code, str(network)) == "interrupted True\n"


def test_a_handler_may_raise_what_it_likes_or_nothing() -> None:
    code = f"""
        import os, signal, threading, turnout

        class Mine(Exception):
            pass

        def raising(*_):
            raise Mine

        calls = []
        router = turnout.load()
        signal.signal(signal.SIGUSR1, lambda *_: calls.append(1))
        signal.signal(signal.SIGUSR2, raising)
        for seconds, number in ((0.2, signal.SIGUSR1), (0.6, signal.SIGUSR2)):
            threading.Timer(seconds, os.kill, (os.getpid(), number)).start()
        try:
            router.win_rates({_SLOW_PROMPTS})
        except Mine:
            print("mine", calls)
    """
    assert run(code) == "mine [1]\n"
