"""``turnout tune-index`` measures through the router itself and writes the best."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import turnout
from turnout.cli import main
from turnout.data import BadRows
from turnout.routers.sw_ranking.ann_index import ErrorDistribution
from turnout.routers.sw_ranking.encoder import encoder_of
from turnout.routers.sw_ranking.table import read_battle_table
from turnout.routers.sw_ranking.train import Options, build
from turnout.routers.sw_ranking.tune import Setting, Tuner, choose, frontier


@pytest.fixture(scope="module")
def built(battles: Path, artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = read_battle_table([battles], bad=BadRows())
    return_to = tmp_path_factory.mktemp("built") / "router"
    build(table, encoder_of(artifact), Options("alpha", "delta", tiers=3, index="Flat", neighbors=4), return_to)
    return return_to


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "router"))


def manifest(folder: Path) -> Any:
    return json.loads((folder / "router.json").read_text(encoding="utf-8"))


def setting(factory: str, time: float, error: float) -> Setting:
    return Setting(factory, "", 1, time, ErrorDistribution(1, error, error, error, error))


def test_the_fastest_setting_with_a_small_error_is_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("what is the sum of two\nwrite code in python\nhow many numbers\n")
    command = ["tune-index", str(folder), "--prompts", str(tmp_path / "prompts.txt"), "--plot", str(tmp_path / "p.png")]
    command += ["--index", "HNSW4", "IVF2,Flat", "--neighbors", "2", "8", "--error", "1"]
    assert main(command) == 0
    after = manifest(folder)
    chosen = after["ranking"]["index"]
    if chosen is not None:
        assert chosen["factory"] in {"HNSW4", "IVF2,Flat"}
        assert chosen["error"]["prompts"] == 3
    assert {path.name for path in folder.iterdir()} == {*after["files"], "router.json", "README.md"}
    assert turnout.load(folder).route("what is two").model in {"alpha", "delta"}
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert {path.name for path in tmp_path.iterdir()} == {"router", "prompts.txt", "p.png"}


def test_no_error_at_all_means_exact(folder: Path) -> None:
    tuner = Tuner(folder, prompts=["what is the sum of two"])
    tuner.write(choose([tuner.exact, setting("Flat", 0.0, 0.1)], error=0.0))
    assert manifest(folder)["ranking"]["index"] is None
    assert manifest(folder)["ranking"]["cells"] is None
    assert "decisions are exact" in (folder / "README.md").read_text(encoding="utf-8")
    assert turnout.load(folder).route("what is two").model in {"alpha", "delta"}


def test_every_prompt_near_has_no_error(folder: Path) -> None:
    tuner = Tuner(folder, prompts=["what is the sum of two", "write code in python"])
    found = tuner.measure("Flat", "", len(tuner.vectors))
    assert found.error.max < 1e-4


def test_the_frontier_has_what_nothing_beats() -> None:
    settings = [setting("a", 1, 0.5), setting("b", 2, 0.6), setting("c", 3, 0.1), setting("", 9, 0.0)]
    assert [one.factory for one in frontier(settings)] == ["a", "c", ""]
    assert choose(settings, 0.1).factory == "c"
    assert choose(settings, 0.01).factory == ""


def test_what_cannot_be_measured_is_told(folder: Path, artifact: Path) -> None:
    with pytest.raises(turnout.InvalidInputError, match="no prompts to measure with"):
        Tuner(folder, prompts=[])
    with pytest.raises(turnout.ConfigError, match="kind sw_ranking"):
        Tuner(artifact, prompts=["a"])
    with pytest.raises(turnout.InvalidInputError):
        Tuner(folder, embeddings=np.ones((2, 3), dtype=np.float32))
