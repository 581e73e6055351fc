"""Compaction: all battles stay, ratings follow, and the artifact is whole at every moment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import turnout
from turnout.battle_store import NAME, Battle, BattleStore
from turnout.data import BadRows
from turnout.routers.sw_ranking import compaction
from turnout.routers.sw_ranking.compaction import Compacted, compact, held_battles
from turnout.routers.sw_ranking.encoder import encoder_of
from turnout.routers.sw_ranking.table import read_battle_table
from turnout.routers.sw_ranking.train import Options, build
from turnout.routers.sw_ranking.vectors import restored


@pytest.fixture(scope="module", params=[None, "Flat"])
def built(
    battles: Path, artifact: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    table = read_battle_table([battles], bad=BadRows())
    options = Options("alpha", "delta", tiers=3, keep_prompts=True, storage="int8", index=request.param)
    out = tmp_path_factory.mktemp("built")
    build(table, encoder_of(artifact), options, out)
    return out


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "router")
    with BattleStore(tmp_path / "router", 0).writing() as writer:
        writer.insert([Battle(1, 0, "alpha", "delta", "what was added", b"")])
    return tmp_path / "router"


def count(folder: Path) -> int:
    return sum(map(len, BattleStore(folder, 0).read()))


def compacted(folder: Path, taken: dict[str, Any]) -> Compacted:
    with held_battles(folder) as clear:
        return compact(folder, taken, clear)


def snapshot(folder: Path, added: int = 0) -> dict[str, Any]:
    """What the core gives: the stored battles, and some in which the weakest model beats the strongest."""
    tensors: dict[str, Any] = load_file(folder / json.loads((folder / "router.json").read_text())["ranking"]["battles"])
    result = {**tensors, "vectors": restored(tensors), "prompts": None}
    manifest = json.loads((folder / "router.json").read_text())
    result["prompts"] = json.loads((folder / manifest["ranking"]["prompts"]).read_text(encoding="utf-8"))
    strong, weak = (manifest["models"].index(name) for name in ("alpha", "delta"))
    fill = {"battle_prompt": 0, "battle_model_a": weak, "battle_model_b": strong, "battle_outcome": 0}
    for name, value in fill.items():
        result[name] = np.concatenate([tensors[name], np.full(added, value, tensors[name].dtype)])
    result["battle_id"] = np.concatenate([tensors["battle_id"], np.arange(added, dtype=np.uint64)])
    return result


def test_the_log_is_folded_in_and_ratings_follow(folder: Path) -> None:
    before = json.loads((folder / "router.json").read_text())
    done = compacted(folder, snapshot(folder, added=500))
    after = json.loads((folder / "router.json").read_text())
    assert (done.folded, done.battles) == (500, len(load_file(folder / after["ranking"]["battles"])["battle_id"]))
    assert after["models"][0] == "delta"
    assert done.moved["delta"] == (before["ranking"]["tiers"][before["models"].index("delta")], 0)
    assert {path.name for path in folder.iterdir()} == {*after["files"], "router.json", "README.md", NAME}
    assert count(folder) == 0
    stored = load_file(folder / after["ranking"]["battles"])
    assert (np.diff(stored["battle_prompt"].astype(int)) >= 0).all()
    assert stored["vectors"].dtype == np.int8


def test_compacting_nothing_changes_no_battle_and_no_rating(folder: Path) -> None:
    before = json.loads((folder / "router.json").read_text())
    old = load_file(folder / before["ranking"]["battles"])
    assert compacted(folder, snapshot(folder)).moved == {}
    assert compacted(folder, snapshot(folder)).folded == 0
    again = json.loads((folder / "router.json").read_text())
    new = load_file(folder / again["ranking"]["battles"])
    assert again["models"] == before["models"]
    assert again["ranking"]["ratings"] == pytest.approx(before["ranking"]["ratings"], abs=1e-6)
    for name in ("vectors", "battle_prompt", "battle_model_a", "battle_outcome", "battle_id"):
        assert np.array_equal(old[name], new[name]), name


@pytest.mark.parametrize("step", range(4))
def test_a_crash_at_any_step_leaves_a_whole_artifact_and_the_battles(
    folder: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = snapshot(folder, added=5)
    steps = iter(range(100))
    for name in ("replace_file", "rewrite_manifest", "sync_folder"):
        real = getattr(compaction, name)

        def stop(*arguments: Any, real: Any = real) -> Any:
            if next(steps) == step:
                raise KeyboardInterrupt
            return real(*arguments)

        monkeypatch.setattr(compaction, name, stop)
    with pytest.raises(KeyboardInterrupt):
        compacted(folder, taken)
    manifest = json.loads((folder / "router.json").read_text())
    for name, entry in manifest["files"].items():
        assert (folder / name).stat().st_size == entry["bytes"]
    folded = len(load_file(folder / manifest["ranking"]["battles"])["battle_id"]) == len(taken["battle_id"])
    assert folded or count(folder) == 1


def test_other_kinds_have_no_battles(artifact: Path) -> None:
    with pytest.raises(turnout.ConfigError, match="belong to routers of kind sw_ranking"):
        compact(artifact, {}, lambda: None)
