"""Battles are read in chunks, filtered as RouteLLM does, and told apart by their ids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import turnout
from turnout.data import BadRows
from turnout.online_updates import battle_id
from turnout.routers.sw_ranking.rating import groups_of, largest_group, rate
from turnout.routers.sw_ranking.table import read_battle_table

PARITY = Path(__file__).parents[1] / "fixtures" / "routellm" / "sw_ranking"
ROW = {"prompt": "a prompt that is long enough", "model_a": "x", "model_b": "y", "winner": "model_a"}


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_arena_battles_give_routellms_filter_ratings_and_tiers() -> None:
    expected = json.loads((PARITY / "ratings.json").read_text(encoding="utf-8"))
    table = read_battle_table([PARITY / "battles.parquet"], bad=BadRows())
    assert len(table) == expected["n_after_filter"]
    assert (np.diff(table.prompt) >= 0).all()
    source = pq.read_table(PARITY / "battles.parquet", columns=["id"])["id"].to_numpy()
    kept = source[np.load(PARITY / "cases.npz")["kept_row"]]
    assert sorted(table.ids.tolist()) == sorted(kept.tolist())
    rating = rate(table, 10)
    assert {m: int(t) for m, t in zip(rating.table.models, rating.tiers, strict=True)} == expected["model2tier"]
    assert int((~rating.across).sum()) == expected["n_same_tier"]
    assert list(rating.ratings) == sorted(rating.ratings, reverse=True)
    for name, value in expected["exact_ratings"]:
        assert rating.ratings[rating.table.models.index(name)] == pytest.approx(value, abs=1e-3)


def test_a_prompt_is_kept_once_and_battles_without_ids_get_stable_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "own.parquet", [ROW, ROW, {**ROW, "winner": "tie"}])
    table = read_battle_table([path], bad=BadRows())
    assert table.prompts == [ROW["prompt"]]
    assert len(set(table.ids.tolist())) == 3
    again = read_battle_table([path], bad=BadRows())
    assert table.ids.tolist() == again.ids.tolist()


def test_ids_that_came_before_and_rows_that_are_no_battles_are_counted(tmp_path: Path) -> None:
    rows = [
        {**ROW, "id": 1},
        {**ROW, "id": 1, "winner": "model_b"},
        {**ROW, "id": 2, "model_b": "x"},
        {**ROW, "id": 3, "prompt": "too short"},
        {**ROW, "id": 4, "winner": "nobody"},
    ]
    bad = BadRows()
    table = read_battle_table([write(tmp_path / "own.parquet", rows)], bad=bad)
    assert table.ids.tolist() == [1]
    assert dict(table.left_out) == {"ids that came before": 1, "prompts of fewer than 16 characters": 1}
    assert [row.row for row in bad.shown] == [5, 3]


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    path = write(tmp_path / "own.parquet", [{**ROW, "winner": "nobody"}])
    with pytest.raises(turnout.InvalidInputError, match=r"(?s)no valid battle.*winner is 'nobody'"):
        read_battle_table([path], bad=BadRows())


def test_names_are_joined_by_aliases_and_groups_that_never_met_are_told_apart(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "model_a": "y", "model_b": "z"}, {**ROW, "model_a": "p", "model_b": "q"}]
    path = write(tmp_path / "own.parquet", rows)
    table = read_battle_table([path], bad=BadRows())
    assert dict(zip(table.models, groups_of(table).tolist(), strict=True)) == {"x": 0, "y": 0, "z": 0, "p": 1, "q": 1}
    assert set(largest_group(table).models) == {"x", "y", "z"}
    joined = read_battle_table([path], bad=BadRows(), aliases={"q": "z"})
    assert groups_of(joined).max() == 0


def test_ids_of_any_kind_become_64_bits() -> None:
    assert battle_id(7) == 7
    assert battle_id(-1) == 2**64 - 1
    assert battle_id("7") == battle_id(b"7") == 7
    assert battle_id("seven") != battle_id("eight")
