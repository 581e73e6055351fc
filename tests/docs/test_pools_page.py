"""The `pool.toml` of docs/pools.md opens as written, and every model of it may serve a request."""

from __future__ import annotations

from pathlib import Path

import pytest

import turnout
from turnout.cli import main

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "pools.md"


def test_the_file_of_the_page_is_a_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    assert (ROOT / "examples/data/pool.toml").read_text(encoding="utf-8").split("\n", 1)[1] == text
    path = tmp_path / "pool.toml"
    path.write_text(text, encoding="utf-8")
    assert main(["pool", "check", str(path)]) == 0, capsys.readouterr().err
    router = turnout.load(pool=turnout.Pool.load(path))
    ranks = router.rank("What is the capital of France?")
    assert [rank.excluded_by for rank in ranks] == [None] * 3
    assert {rank.model for rank in ranks} == {"gpt-5.5", "gpt-5.5:high", "gpt-4o-mini"}
