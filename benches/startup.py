"""Import time, load time, a whole process and memory, each in fresh processes. Kinds take turns; the medians count.

Usage: python benches/startup.py [ROUNDS]        (needs tokenizers, onnxruntime and onnx, for the plain router)
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

_IMPORT = """
import time
import numpy
start = time.perf_counter()
import turnout
print((time.perf_counter() - start) * 1e3)
"""

_LOAD = """
import time
import numpy, turnout
start = time.perf_counter()
router = turnout.load()
loaded = time.perf_counter()
router.route("What is 2 + 2?")
print((loaded - start) * 1e3, (time.perf_counter() - loaded) * 1e3)
"""

#: The same files, read by ``tokenizers`` and ``onnxruntime``, which are imported beforehand.
_PLAIN = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from plain import PlainOnnx
start = time.perf_counter()
router = PlainOnnx()
loaded = time.perf_counter()
router.win_rate("What is 2 + 2?")
print((loaded - start) * 1e3, (time.perf_counter() - loaded) * 1e3)
"""

_MEMORY = """
import numpy, turnout
def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
before = resident()
router = turnout.load()
for number in range(1000):
    router.route(f"What is {number} + {number}?")
loaded = resident()
for number in range(1_000_000):
    router.route(f"What is {number} + {number}?")
print(loaded - before, resident() - loaded)
"""


def _run(code: str) -> list[float]:
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [float(number) for number in output.stdout.split()]


def _process(*arguments: str) -> float:
    """Milliseconds of a whole Python process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return (time.perf_counter() - start) * 1e3


def start_times(rounds: int = 9) -> dict[str, float]:
    """Medians of fresh processes.

    Args:
        rounds: Processes of each kind.

    Returns:
        Milliseconds: of ``import turnout`` after NumPy, of ``load()`` and the first ``route``, of the same in plain Python,
        of ``turnout route`` and of ``import numpy`` as whole processes.
    """
    rows = [
        (
            *_run(_IMPORT),
            *_run(_LOAD),
            *_run(_PLAIN),
            _process("-m", "turnout", "route", "What is 2 + 2?"),
            _process("-c", "import numpy"),
        )
        for _ in range(rounds)
    ]
    names = ("import_ms", "load_ms", "first_ms", "plain_load_ms", "plain_first_ms", "process_ms", "numpy_process_ms")
    return dict(zip(names, map(statistics.median, zip(*rows, strict=True)), strict=True))


def memory() -> dict[str, float]:
    """Growth of the resident memory, of one process.

    Returns:
        MiB by loading, and over a million decisions.
    """
    loaded, grown = _run(_MEMORY)
    return {"memory_mib": loaded, "million_decisions_mib": grown}


if __name__ == "__main__":
    for name, milliseconds in start_times(int(sys.argv[1]) if len(sys.argv) > 1 else 21).items():
        print(f"{name:17} {milliseconds:8.2f}")
