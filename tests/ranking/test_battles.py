"""Feedback is checked as a whole before any of it counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import turnout
from turnout.online_updates import Columns, checked

MODELS = ["x", "y"]
ROW = {"prompt": "a prompt that is long enough", "model_a": "x", "model_b": "y", "winner": "model_b"}
ARENA = {
    "id": 5, "prompt": json.dumps([ROW["prompt"], "and then?"]), "model_a": "x", "model_b": "y",
    "winner_model_a": 0, "winner_model_b": 0, "winner_tie": 1, "response_a": "a", "response_b": "b",
}  # fmt: skip


def test_every_form_of_a_table_gives_the_same_battles(tmp_path: Path) -> None:
    rows = [{**ROW, "id": number} for number in range(3)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "b.parquet")
    pyarrow.csv.write_csv(table, tmp_path / "b.csv")
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)))
    expected = Columns([0, 1, 2], [ROW["prompt"]] * 3, ["x"] * 3, ["y"] * 3, [1] * 3, 0, 3, [0, 1, 2])
    for form in (rows, iter(rows), table, tmp_path / "b.parquet", str(tmp_path / "b.csv"), tmp_path / "b.jsonl"):
        assert checked(form, MODELS) == expected


def test_arena_rows_are_first_turns(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([ARENA]), tmp_path / "b.parquet")
    for form in ([ARENA], tmp_path / "b.parquet"):
        assert checked(form, MODELS) == Columns([5], [ROW["prompt"]], ["x"], ["y"], [2], 0, 1, [0])


def test_malformed_rows_are_refused_whole_with_their_numbers() -> None:
    rows: list[Any] = [
        ROW,
        {**ROW, "winner": "nobody"},
        {**ROW, "model_b": "unheard-of"},
        {**ROW, "model_b": "x"},
        {**ROW, "prompt": None},
        "no row",
        {**ROW, "prompt": "a lone surrogate \ud800 in it"},
    ]
    with pytest.raises(
        turnout.InvalidInputError, match=r"row 2: winner is 'nobody'.*row 3: model_b 'unheard-of'"
    ) as told:
        checked(rows, MODELS)
    assert "row 5: prompt is missing" in str(told.value)
    assert "and 1 more" in str(told.value)
    with pytest.raises(turnout.InvalidInputError, match="row 1: winner columns are 1, 1, 1"):
        checked([{**ARENA, "winner_model_a": 1, "winner_model_b": 1}], MODELS)
    with pytest.raises(turnout.InvalidInputError, match="row 1: prompt is not a JSON list"):
        checked([{**ARENA, "prompt": "plain"}], MODELS)


@pytest.mark.parametrize("table", [None, 5, ROW])
def test_what_is_no_table_is_a_type_error(table: Any) -> None:
    with pytest.raises(turnout.InvalidTypeError, match="expected a path, a list of dicts or an Arrow table"):
        checked(table, MODELS)


def test_short_prompts_are_counted_and_ids_are_stable() -> None:
    first = checked([ROW, ROW, {**ROW, "prompt": "short"}], MODELS)
    assert first.short == 1
    assert len(set(first.ids)) == 2
    assert first.ids == checked([ROW, ROW], MODELS).ids


def test_other_kinds_of_router_take_no_battles(router: turnout.Router) -> None:
    with pytest.raises(turnout.ConfigError, match="kind sw_ranking"):
        router.add_battles([{**ROW, "model_a": router.models[0], "model_b": router.models[1]}])


def test_feedback_in_memory_needs_no_pyarrow(run_python: Callable[..., str]) -> None:
    script = """
        import sys
        from turnout.online_updates import checked
        row = {"prompt": "a prompt that is long enough", "model_a": "x", "model_b": "y", "winner": "tie"}
        print(checked([row], ["x", "y"]).outcomes, "pyarrow" in sys.modules)
    """
    assert run_python(script).split() == ["[2]", "False"]


def test_rows_without_an_id_are_told_apart_whatever_stands_in_the_cell() -> None:
    from turnout.online_updates import checked

    rows = [{**ROW, "prompt": f"a prompt that is long enough, number {number}"} for number in range(4)]
    missing = [None, "", b"", float("nan")]
    ids = checked([{**row, "id": cell} for row, cell in zip(rows, missing, strict=True)], ["x", "y"]).ids
    assert ids == checked(rows, ["x", "y"]).ids
    assert len(set(ids)) == 4
