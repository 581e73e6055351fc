"""Reading tables: every format gives the same rows, and bad rows are told by file and row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from turnout import InvalidInputError
from turnout.data import (
    BadRows,
    ModelAliases,
    iter_battles,
    iter_outcomes,
    iter_prompts,
    outcomes_of_pair,
    read_battles,
    read_outcomes,
    read_routellm_benchmark,
)

EVALS = Path(__file__).parent.parent / "fixtures" / "routellm" / "evals"
ROWS = {
    "prompt": ['a "quoted", one', "zwei\nZeilen", "三", "d"],
    "category": ["x", "y", "x", "x"],
    "org/Big": [True, False, True, True],
    "small": [0.5, 1.0, None, 0.0],
    "org/Big_response": ["1", "2", "3", "4"],
}


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text(
            "".join(
                json.dumps(dict(zip(rows, values, strict=True))) + "\n" for values in zip(*rows.values(), strict=True)
            )
        )
    elif path.suffix == ".parquet":
        pa.parquet.write_table(pa.table(rows), path)
    else:
        pa.csv.write_csv(pa.table(rows), path)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_every_format_gives_the_same_outcomes(tmp_path, suffix):
    bad = BadRows()
    table = read_outcomes(write(tmp_path / f"t{suffix}", ROWS), bad=bad)
    assert not bad
    assert table.prompts == ROWS["prompt"]
    assert table.categories == ROWS["category"]
    assert list(table.scores) == ["org/Big", "small"]
    assert table.scores["org/Big"].tolist() == [1, 0, 1, 1]
    np.testing.assert_array_equal(table.scores["small"], [0.5, 1.0, np.nan, 0.0])
    assert table.with_scores_of(["small"]).prompts == [ROWS["prompt"][row] for row in (0, 1, 3)]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_chunks_do_not_change_what_is_read(tmp_path, suffix):
    path = write(tmp_path / f"t{suffix}", ROWS)
    parts = list(iter_outcomes(path, bad=BadRows(), chunk_rows=1))
    assert [part.prompts[0] for part in parts] == ROWS["prompt"]


def test_bad_csv_rows_are_told_by_row(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(b"prompt,a,b\nfine,1,0\ntoo,many,fields,here\n,1,0\nword,one,0\nraw\xff,1,1\nlast,True,\n")
    bad = BadRows(keep=10)
    table = read_outcomes(path, models=["a", "b"], bad=bad)
    assert table.prompts == ["fine", "last"]
    assert sorted((row.row, row.reason) for row in bad.shown) == [
        (2, "4 fields, expected 3 (line 3)"),
        (3, "prompt is missing"),
        (4, "a is 'one', expected a number such as 1 or 0"),
        (5, "prompt is not UTF-8"),
    ]
    assert bad.count == 4
    assert f"4 of 6 bad rows in {path}\n" in str(bad)
    assert "  row 3: prompt is missing" in str(bad)


def test_bad_json_lines_are_told_by_line(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(
        '{"prompt": "p", "a": 1, "b": 0}\n{"prompt": \n\n[1]\n{"prompt": 3, "a": 1, "b": 1}\n{"prompt": "q", "a": [1], "b": 0}\n'
    )
    bad = BadRows()
    assert read_outcomes(path, bad=bad).prompts == ["p"]
    assert [(row.row, row.reason.split(":")[0]) for row in bad.shown] == [
        (2, "not JSON"),
        (4, "a JSON array, expected an object"),
        (5, "prompt"),
        (6, "a is [1], expected a number"),
    ]


def test_only_some_bad_rows_are_shown_and_all_are_counted(tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_text("nonsense\n" * 100)
    bad = BadRows()
    assert [len(part) for part in iter_outcomes(path, bad=bad)] == [0]
    assert bad.count == 100
    assert len(bad.shown) == 5
    assert "and 95 more" in str(bad)


def test_tables_that_are_none_are_refused(tmp_path):
    (tmp_path / "t.txt").write_text("x")
    with pytest.raises(InvalidInputError, match=r"ends in '.txt', expected a file that ends in \.csv"):
        read_outcomes(tmp_path / "t.txt", bad=BadRows())
    (tmp_path / "t.parquet").write_text("x")
    with pytest.raises(InvalidInputError, match=r"t\.parquet"):
        read_outcomes(tmp_path / "t.parquet", bad=BadRows())
    write(tmp_path / "u.parquet", {"question": ["a"], "a": [1.0]})
    with pytest.raises(InvalidInputError, match="has no column 'prompt'; its columns: question, a"):
        read_outcomes(tmp_path / "u.parquet", bad=BadRows())
    write(tmp_path / "v.parquet", {"prompt": ["a"], "note": ["word"]})
    with pytest.raises(InvalidInputError, match="no column of scores"):
        read_outcomes(tmp_path / "v.parquet", bad=BadRows())


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "long.parquet"
    batch = pa.table({"prompt": ["some words of a prompt " * 8] * 50_000, "a": [1.0] * 50_000, "b": [0.0] * 50_000})
    with pa.parquet.ParquetWriter(path, batch.schema, use_dictionary=False, compression="none") as writer:
        for _ in range(6):
            writer.write_table(batch)
    rows, peak = 0, 0
    before = pa.total_allocated_bytes()
    for part in iter_outcomes(path, bad=BadRows()):
        rows += len(part)
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert rows == 300_000
    # 300,000 prompts are 55 MB; what is held at a time is pages and a chunk of one row group.
    assert peak < 16 << 20


def test_columns_of_other_kinds_are_no_scores_and_do_no_harm(tmp_path):
    rows = {
        "prompt": ["p", "q"],
        "turns": [["a"], ["b", "c"]],
        "made": pa.array([1, 2], pa.timestamp("s")),
        "name": pa.array(["x", "x"]).dictionary_encode(),
        "a": pa.array(["1", "0"]).dictionary_encode(),
        "b": pa.array([None, 1.5]),
    }
    table = read_outcomes(write(tmp_path / "t.parquet", rows), bad=BadRows())
    assert list(table.scores) == ["a", "b"]
    np.testing.assert_array_equal(table.scores["b"], [np.nan, 1.5])


def test_arena_battles_take_the_first_turn(tmp_path):
    path = write(
        tmp_path / "arena.csv",
        {
            "id": [1, 2, 3, 4],
            "model_a": ["m"] * 4,
            "model_b": ["n"] * 4,
            "prompt": ['["first", "second"]', '["\\u4e09"]', '["x"]', "no list"],
            "winner_model_a": [1, 0, 0, 1],
            "winner_model_b": [0, 1, 0, 0],
            "winner_tie": [0, 0, 1, 0],
        },
    )
    bad = BadRows()
    battles = read_battles(path, bad=bad)
    assert battles.prompts == ["first", "三", "x"]
    assert battles.outcome.tolist() == [1, 0, 0.5]
    assert [(row.row, row.reason) for row in bad.shown] == [(4, "prompt is not a JSON list of turns")]


def test_our_battles_and_their_pair(tmp_path):
    path = write(
        tmp_path / "battles.parquet",
        {
            "prompt": ["p", "q", "r", "s"],
            "model_a": ["org/Big", "small", "other", "small"],
            "model_b": ["small", "big", "small", "big"],
            "winner": ["model_a", "tie", "model_a", "nobody"],
        },
    )
    bad = BadRows()
    (battles,) = iter_battles(path, bad=bad)
    assert bad.shown[0].reason.startswith("winner is 'nobody'")
    table = outcomes_of_pair(battles, "big", "small", name="pair")
    assert table.prompts == ["p", "q"]
    assert table.scores["big"].tolist() == [1, 0.5]
    assert table.scores["small"].tolist() == [0, 0.5]


def test_aliases_match_and_say_when_they_cannot():
    aliases = ModelAliases({"Team/GPT4T": "gpt-4-1106-preview"})
    columns = ["mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview", "x@one", "x@two"]
    assert aliases.find("mixtral-8x7b-instruct-v0.1", columns) == columns[0]
    assert aliases.find("gpt4t", columns) == "gpt-4-1106-preview"
    assert aliases.find("x@one", columns) == "x@one"
    with pytest.raises(InvalidInputError, match="could be 'x@one', 'x@two'"):
        aliases.find("x", columns)
    with pytest.raises(InvalidInputError, match="not found among"):
        aliases.find("y", columns)


@pytest.mark.parametrize(("name", "rows", "domains"), [("mmlu", None, 2), ("gsm8k", 10, 0), ("mt-bench", 6, 0)])
def test_routellms_evals_folder_without_its_contaminated_prompts(name, rows, domains):
    bad = BadRows()
    table = read_routellm_benchmark(EVALS, name, bad=bad)
    assert not bad
    aliases = ModelAliases()
    for model in ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"):
        assert not np.isnan(table.scores[aliases.find(model, table.scores)]).any()
    if rows is not None:
        assert len(table) == rows
    if domains:
        assert set(table.categories) == {"anatomy", "astronomy"}


def test_an_mt_bench_score_is_the_mean_of_both_turns():
    table = read_routellm_benchmark(EVALS, "mt-bench", bad=BadRows())
    judgments = [json.loads(line) for line in (EVALS / "mt_bench" / "judgements.jsonl").read_text().splitlines()]
    questions = [json.loads(line) for line in (EVALS / "mt_bench" / "question.jsonl").read_text().splitlines()]
    question = next(one for one in questions if one["turns"][0] == table.prompts[0])
    scores = [
        j["score"]
        for j in judgments
        if j["question_id"] == question["question_id"] and j["model"] == "gpt-4-1106-preview"
    ]
    assert len(scores) == 2
    assert table.scores["gpt-4-1106-preview"][0] == np.mean(scores)


def test_prompts_come_from_text_tables_and_standard_input(tmp_path, monkeypatch):
    text = tmp_path / "prompts.txt"
    text.write_bytes("one\n\nzwei ü\n".encode() + b"\xff\n")
    bad = BadRows()
    assert [p for chunk in iter_prompts(text, bad=bad) for p in chunk] == ["one", "zwei ü"]
    assert [(row.row, row.reason) for row in bad.shown] == [(4, "prompt is not UTF-8")]
    table = write(tmp_path / "t.csv", ROWS)
    assert [p for chunk in iter_prompts(table, bad=bad) for p in chunk] == ROWS["prompt"]
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe\n")))
    assert [p for chunk in iter_prompts("-", bad=bad) for p in chunk] == ["from a pipe"]
