"""The script that compares ids over whole tables, on a small one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")


def test_ids_over_a_table_are_compared(artifact: Path, tmp_path: Path, prompts: list[str]) -> None:
    table = tmp_path / "table.parquet"
    pa.parquet.write_table(pa.table({"prompt": [*prompts, None, prompts[0]], "a": [0.5] * (len(prompts) + 2)}), table)
    script = Path(__file__).with_name("check_prompts.py")
    command = [sys.executable, script, "--tokenizer", artifact / "tokenizer.json", "--limits", "3", "512", "--", table]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{len(prompts) + 1} rows, {len(set(prompts))} different prompts")
    assert [line.split(";")[0] for line in lines[1:]] == [
        "bare, 3 tokens: 0 differ",
        "bare, 512 tokens: 0 differ",
        "[CLS] [SEP], 3 tokens: 0 differ",
        "[CLS] [SEP], 512 tokens: 0 differ",
    ]
