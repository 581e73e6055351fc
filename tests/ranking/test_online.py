"""Feedback through the core: it counts at once, outlives the process, and compaction folds it in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import turnout
from turnout import online_updates
from turnout.battle_store import BattleStore
from turnout.cli import main
from turnout.data import BadRows
from turnout.online_updates import Added
from turnout.routers.sw_ranking.encoder import encoder_of
from turnout.routers.sw_ranking.table import read_battle_table
from turnout.routers.sw_ranking.train import Options, build

PROMPT = "what is the sum of 7 and two"


@pytest.fixture
def folder(battles: Path, artifact: Path, tmp_path: Path) -> Path:
    table = read_battle_table([battles], bad=BadRows())
    build(table, encoder_of(artifact), Options("alpha", "delta", tiers=4), tmp_path / "router")
    return tmp_path / "router"


def wins(winner: str, count: int) -> list[dict[str, Any]]:
    return [
        {"id": 10**9 + n, "prompt": PROMPT, "model_a": "alpha", "model_b": "delta", "winner": winner}
        for n in range(count)
    ]


def test_feedback_counts_at_once_and_after_a_new_start(folder: Path) -> None:
    router = turnout.load(folder)
    before = router.win_rate(PROMPT)
    rows = [*wins("model_b", 300), {**wins("model_b", 1)[0], "id": 5, "prompt": "short"}]
    assert router.add_battles(rows) == Added(300, 0, 1)
    after = router.win_rate(PROMPT)
    assert after < before - 0.05
    assert turnout.load(folder).win_rate(PROMPT) == pytest.approx(after, abs=1e-6)
    assert router.add_battles(wins("model_a", 300)) == Added(0, 300, 0)
    assert router.win_rate(PROMPT) == after


@pytest.mark.parametrize("is_own", [True, False])
def test_battles_count_with_the_next_call_where_one_was_interrupted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    router = turnout.load(folder)
    before = router.win_rate(PROMPT)
    if not is_own:
        turnout.load(folder).add_battles(wins("model_b", 300))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(online_updates, "_show", interrupted)
        with pytest.raises(KeyboardInterrupt):
            router.add_battles(wins("model_b", 300))
    assert router.win_rate(PROMPT) == before
    assert router.add_battles(wins("model_b", 300)) == Added(0, 300, 0)
    assert router.win_rate(PROMPT) < before - 0.05
    assert turnout.load(folder).win_rate(PROMPT) == pytest.approx(router.win_rate(PROMPT), abs=1e-6)


def test_a_malformed_row_adds_nothing(folder: Path) -> None:
    router = turnout.load(folder)
    before = router.win_rate(PROMPT)
    with pytest.raises(turnout.InvalidInputError, match="row 301: prompt is missing"):
        router.add_battles([*wins("model_b", 300), {"model_a": "alpha", "model_b": "delta", "winner": "tie"}])
    assert router.win_rate(PROMPT) == before


def test_commands_add_and_compact(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more.jsonl").write_text("\n".join(map(json.dumps, wins("model_b", 900))))
    assert main(["battles", "add", str(folder), str(tmp_path / "more.jsonl")]) == 0
    assert "900 battles added, 0 already known, 0 too short" in capsys.readouterr().out
    assert main(["battles", "add", str(folder), str(tmp_path / "more.jsonl")]) == 0
    assert "0 battles added, 900 already known" in capsys.readouterr().out
    assert main(["battles", "compact", str(folder)]) == 0
    assert "900 of them added since the last compaction" in capsys.readouterr().out
    assert list(BattleStore(folder, 0).read()) == []
    router = turnout.load(folder)
    assert router.models[0] == "delta"
    assert router.win_rate(PROMPT) < 0.5
    assert router.add_battles(tmp_path / "more.jsonl") == Added(0, 900, 0)


def test_embeddings_of_the_caller_come_with_the_battles(battles: Path, tmp_path: Path) -> None:
    from turnout.routers.sw_ranking.encoder import Encoder

    table = read_battle_table([battles], bad=BadRows())
    vectors = np.random.default_rng(0).normal(size=(len(table.prompts), 4)).astype(np.float32)
    build(table, Encoder(dim=4), Options("alpha", "delta", tiers=4), tmp_path / "router", vectors=vectors)
    router = turnout.load(tmp_path / "router")
    rows = [{**wins("model_b", 1)[0], "prompt": "short"}, *wins("model_b", 2)]
    with pytest.raises(turnout.InvalidInputError, match="2 embeddings for 3 battles"):
        router.add_battles(rows, embeddings=vectors[:2])
    assert router.add_battles(rows, embeddings=vectors[:3]) == Added(2, 0, 1)
