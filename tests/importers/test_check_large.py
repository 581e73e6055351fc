"""The script that imports checkpoints of several gigabytes, on one of a tenth of one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SIZE = ["--gigabytes", "0.1", "--hidden-size", "256", "--stored", "bfloat16"]


def test_importing_takes_less_memory_than_the_checkpoint_has_bytes(tmp_path: Path) -> None:
    script = Path(__file__).with_name("check_large.py")
    command = [sys.executable, script, *SIZE, "--precision", "float32", "int4", "--folder", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    told = [re.sub(r"\d[\d.]*", "N", line) for line in result.stdout.splitlines()]
    asked = "load and route: win rate N, peak N GB, N s"
    assert told == [
        "checkpoint: N layers, N GB in bfloatN; an idle process N GB",
        "import floatN: N GB written, peak N GB, N s",
        asked,
        "import intN: N GB written, peak N GB, N s",
        asked,
    ]
    assert list(tmp_path.iterdir()) == []
