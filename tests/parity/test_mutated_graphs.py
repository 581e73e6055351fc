"""A changed byte of a graph is refused, left to ONNX Runtime, or decided natively as ONNX Runtime decides it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime")

MUTATE = Path(__file__).with_name("mutate_graph.py")


def mutated(artifact: Path, count: int) -> Any:
    command = [sys.executable, str(MUTATE), str(artifact), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return json.loads(done.stdout)


@pytest.mark.parametrize("views", [False, True])
def test_what_runs_natively_decides_as_in_onnx_runtime(make_tiny: Any, tmp_path: Path, views: bool) -> None:
    """A larger run: ``python tests/parity/mutate_graph.py models/tiny 5000``."""
    counts = mutated(make_tiny.write(tmp_path / "artifact", views=views), 600)
    assert counts["differ"] == []
    assert counts["native"] > 300
    assert counts["left"] > 30
    assert counts["refused"] > 30
