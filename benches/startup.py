"""Import time, load time and memory, each in fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys

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
turnout.load()
print((time.perf_counter() - start) * 1e3)
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


def startup() -> dict[str, float]:
    """Medians of nine processes (memory: one).

    Returns:
        Milliseconds of ``import turnout`` after NumPy and of ``load()``; MiB of growth by loading, and over a million decisions.
    """
    loaded, grown = _run(_MEMORY)
    return {
        "import_ms": statistics.median(_run(_IMPORT)[0] for _ in range(9)),
        "load_ms": statistics.median(_run(_LOAD)[0] for _ in range(9)),
        "memory_mib": loaded,
        "million_decisions_mib": grown,
    }
