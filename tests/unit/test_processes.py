"""Forks, spawned processes, sub-interpreters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import turnout

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def test_a_native_router_works_after_a_fork(artifact: Path, run_python: Callable[..., str]) -> None:
    """In the child, in its child, with threads at work when it forks, and for batches on all cores."""
    script = """
        import os, sys, threading
        import turnout
        router = turnout.load(sys.argv[1], threads=2)
        prompts = [f"what is the sum of {row} and two \\u4e2d" for row in range(5000)]
        expected = router.route_batch(prompts)
        stop = threading.Event()
        busy = [threading.Thread(target=lambda: [router.route_batch(prompts[:600]) for _ in iter(stop.is_set, True)]) for _ in range(2)]
        for thread in busy:
            thread.start()

        def in_a_child(work):
            child = os.fork()
            if child == 0:
                try:
                    os._exit(0 if work() else 3)
                except BaseException as error:
                    print(error, file=sys.stderr, flush=True)
                    os._exit(4)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

        right = lambda: router.route_batch(prompts) == expected and [router.route(p) for p in prompts[:200]] == expected[:200]
        for _ in range(10):
            assert in_a_child(right)
        assert in_a_child(lambda: in_a_child(right))
        assert in_a_child(lambda: turnout.load(sys.argv[1]).route_batch(prompts) == expected)
        stop.set()
        assert right()
    """
    run_python(script, str(artifact))


def test_a_fork_while_a_thread_makes_the_full_tokenizer_does_not_hang(run_python: Callable[..., str]) -> None:
    """The text needs a tokenizer that is made at the first such text, in some 30 ms; the child has no thread that could finish it."""
    script = """
        import os, signal, threading, time
        import turnout
        text = "".join(map(chr, range(0x5B0, 0x5E0)))
        for delay in (0.001, 0.005, 0.01, 0.02):
            router, began = turnout.load(), threading.Event()
            thread = threading.Thread(target=lambda: (began.set(), router.route_batch([text])))
            thread.start()
            began.wait()
            time.sleep(delay)
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                router.route(text)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            thread.join()
            del router
    """
    run_python(script, timeout=120)


def test_a_fork_while_threads_meet_new_characters_does_not_hang(artifact: Path, run_python: Callable[..., str]) -> None:
    """What the core remembers of characters must not be half written for ever in the child."""
    script = """
        import os, signal, sys, threading
        import turnout
        router = turnout.load(sys.argv[1])
        letters = [chr(code) for code in range(0x100, 0xd800)]
        texts = ["".join(letters[at:at + 48]) for at in range(0, len(letters), 48)]
        busy = [threading.Thread(target=lambda: [router.route_batch([text]) for text in texts]) for _ in range(2)]
        for thread in busy:
            thread.start()
        children = []
        while len(children) < 6 and any(thread.is_alive() for thread in busy):
            child = os.fork()
            if child == 0:
                signal.alarm(40)
                for text in texts:
                    router.route(text)
                os._exit(0)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)
        for thread in busy:
            thread.join()
    """
    run_python(script, str(artifact), timeout=120)


def test_a_fork_while_a_thread_reads_scores_does_not_hang(artifact: Path, run_python: Callable[..., str]) -> None:
    """What is made when it is first read must not be made under a lock that a child inherits."""
    script = """
        import os, signal, sys, threading
        import turnout
        sys.setswitchinterval(1e-6)

        def child_of(read):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                read()
                os._exit(0)
            return child

        for _ in range(100):
            router = turnout.load(sys.argv[1])
            explained = router.explain("a")
            for read in (lambda: router.model_scores("a"), lambda: explained.model_scores):
                thread = threading.Thread(target=read)
                thread.start()
                children = [child_of(read) for _ in range(6)]
                thread.join()
                assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    """
    run_python(script, str(artifact), timeout=120)


def test_onnx_runtime_after_a_fork_says_what_to_do(artifact: Path, run_python: Callable[..., str]) -> None:
    """Its threads stay behind; a call would wait for them for ever. A router opened in the child works."""
    script = """
        import os, sys
        import turnout
        router = turnout.load(sys.argv[1], engine="onnxruntime", threads=2)
        expected = router.win_rate("what is the sum")
        child = os.fork()
        if child == 0:
            try:
                try:
                    router.win_rate("what is the sum")
                except turnout.InferenceError as error:
                    assert "before a fork" in str(error) and "open it again" in str(error), error
                else:
                    os._exit(3)
                again = turnout.load(sys.argv[1], engine="onnxruntime", threads=2)
                os._exit(0 if again.win_rate("what is the sum") == expected else 5)
            except BaseException as error:
                print(error, file=sys.stderr, flush=True)
                os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert router.win_rate("what is the sum") == expected
    """
    run_python(script, str(artifact))


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_router_goes_to_the_processes_of_a_pool(artifact: Path, tmp_path: Path, method: str) -> None:
    script = tmp_path / "pool.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "import turnout\n"
        "if __name__ == '__main__':\n"
        "    router = turnout.load(sys.argv[1])\n"
        "    prompts = [f'what is {row}' for row in range(40)]\n"
        "    with multiprocessing.get_context(sys.argv[2]).Pool(2) as pool:\n"
        "        assert pool.map(router.route, prompts) == router.route_batch(prompts)\n"
        "        assert pool.apply(router.win_rates, (prompts,)).tolist() == router.win_rates(prompts).tolist()\n"
    )
    command = [sys.executable, script, artifact, method]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


def test_a_subinterpreter_works_or_refuses_clearly(run_python: Callable[..., str]) -> None:
    script = """
        import sys
        import turnout
        code = (
            "try:\\n    import turnout._core\\n"
            "except ImportError as error:\\n    assert 'subinterpreter' in str(error), error\\n    print('refused:', error, flush=True)\\n"
            "else:\\n    print('works', flush=True)"
        )
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
        else:
            import _xxsubinterpreters as interpreters
        there = interpreters.create()
        failure = interpreters.run_string(there, code)
        assert failure is None, failure
        interpreters.destroy(there)
        print("here still:", turnout.__version__)
    """
    told = run_python(script)
    assert told.startswith(("refused:", "works"))
    assert told.endswith(f"here still: {turnout.__version__}\n")
