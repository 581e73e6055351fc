"""Ctrl-C ends a batch that would take minutes. Where it does not, the time limit of the subprocess fails the test."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

#: Combining marks go to the `tokenizers` crate, which takes about a millisecond for so many.
_SLOW_TEXT = "a\u0316\u0301 " * 400


@pytest.mark.parametrize("method", ["route_batch", "win_rates", "embed"])
@pytest.mark.parametrize(
    ("router", "prompt", "count"), [("mf", _SLOW_TEXT, 400_000), ("bert", "what is " * 200, 100_000)]
)
def test_a_signal_ends_a_batch(router: str, prompt: str, count: int, method: str) -> None:
    if (router, method) == ("bert", "embed"):
        pytest.skip("bert makes no embeddings")
    code = f"""
        import os, signal, threading, turnout

        # Shells start what runs in the background with SIGINT ignored, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        router = turnout.load({router!r}, threads=2)
        router.route("warm")
        prompts = [{prompt!r}] * {count}
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            router.{method}(prompts)
        except KeyboardInterrupt:
            print("interrupted", router.route("a") == router.route_batch(["a"])[0])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "interrupted True\n", done.stderr


def test_a_handler_may_raise_what_it_likes_or_nothing() -> None:
    code = """
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
            router.win_rates(["a\\u0316\\u0301 " * 400] * 400_000)
        except Mine:
            print("mine", calls)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "mine [1]\n", done.stderr
