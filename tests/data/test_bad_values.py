"""Values that are written in another way: read where they are known, named with column and row where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from turnout import InvalidInputError
from turnout.cli import main
from turnout.data import BadRows, parse_battle, read_battles, read_outcomes
from turnout.training.tables import read_tables

ROW = {"prompt": "a prompt that is long enough", "model_a": "gpt-4", "model_b": "llama-7b"}
TINY = str(Path(__file__).parents[2] / "models" / "tiny")


@pytest.mark.parametrize(
    ("winner", "outcome"),
    [
        ("model_a", 1.0), ("model_a ", 1.0), ("Model A", 1.0), ("A", 1.0), ("[[A]]", 1.0), ("gpt-4", 1.0), ("GPT-4", 1.0),
        ("model_b", 0.0), (" b", 0.0), ("llama-7b", 0.0), (b"model_b", 0.0),
        ("tie", 0.5), ("Tie (both bad)", 0.5), ("tie (bothbad)", 0.5), ("both_bad", 0.5), ("bothbad", 0.5), ("draw", 0.5),
    ],
)  # fmt: skip
def test_known_spellings_of_a_winner_are_read(winner, outcome):
    assert parse_battle({**ROW, "winner": winner}).outcome == outcome


def test_a_name_that_is_also_a_spelling_means_the_model():
    row = {"prompt": "p", "model_a": "B", "model_b": "A", "winner": "A"}
    assert parse_battle(row).outcome == 0.0
    # Names that differ by case alone decide only where the winner is written exactly so.
    assert parse_battle({"prompt": "p", "model_a": "m", "model_b": "M", "winner": "M"}).outcome == 0.0


@pytest.mark.parametrize(
    ("winner", "outcome"), [("[[C]]", 0.5), ("A>>B", 1.0), ("B>A", 0.0), ("A=B", 0.5), ("Assistant B", 0.0)]
)
def test_verdicts_of_judges_are_read(winner, outcome):
    assert parse_battle({**ROW, "winner": winner}).outcome == outcome


@pytest.mark.parametrize("winner", ["gpt-3", "", None, 1, "model_c", "0"])
def test_other_winners_are_not_guessed(winner):
    with pytest.raises(ValueError, match="winner is"):
        parse_battle({**ROW, "winner": winner})


def test_the_first_turn_of_a_conversation_is_the_prompt():
    chat = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": "2"},
    ]
    row = {"model_a": "a", "model_b": "b", "winner": "tie", "conversation_a": chat}
    assert parse_battle(row).prompt == "first"
    assert parse_battle({**row, "prompt": ["turn one", "turn two"]}).prompt == "turn one"
    parts = [{"type": "image", "text": None}, {"type": "text", "text": "in parts", "image": None}]
    assert parse_battle({**row, "conversation_a": [{"role": "user", "content": parts}]}).prompt == "in parts"
    assert (
        parse_battle({**row, "conversation_a": [{"role": "human", "content": "by another name"}]}).prompt
        == "by another name"
    )


@pytest.mark.parametrize("name", ["messages", "conversation_a"])
def test_a_conversation_in_a_csv_file_is_json(name):
    row = {"model_a": "a", "model_b": "b", "winner": "tie"}
    assert parse_battle({**row, name: json.dumps([{"role": "user", "content": "first"}])}).prompt == "first"
    for text in ("[{'role': 'user', 'content': 'first'}]", '{"role": "user"}', "first"):
        with pytest.raises(ValueError, match=f"{name} is not a JSON list of turns"):
            parse_battle({**row, name: text})
    for turns in ([], [None, "x"], [3], [{"role": "user", "content": [{"type": "image"}]}]):
        with pytest.raises(ValueError, match=r"content is null|has no first turn"):
            parse_battle({**row, name: json.dumps(turns)})


@pytest.mark.parametrize(("flag", "other"), [("True", "False"), (b"1", b"0"), (1.0, None), (True, float("nan"))])
def test_flags_of_the_arena_are_read_in_every_type(flag, other):
    row = {"prompt": '["first"]', "model_a": "a", "model_b": "b", "winner_model_a": flag, "winner_model_b": other}
    assert parse_battle(row).outcome == 1.0


def battles(path: Path, winners: list[str]) -> Path:
    path.write_text("".join(json.dumps({**ROW, "winner": winner}) + "\n" for winner in winners))
    return path


def test_a_table_of_mostly_bad_battles_is_refused_unless_allowed(tmp_path):
    path = battles(tmp_path / "b.jsonl", ["model_a"] * 18 + ["nobody"] * 2)
    with pytest.raises(
        InvalidInputError,
        match=r"b\.jsonl: 2 of 20 rows are bad \(10%\), expected at most 5%; --allow-bad-rows leaves them out: row 19: winner is 'nobody'",
    ):
        read_battles(path, bad=BadRows(max_share=0.05))
    assert len(read_battles(path, bad=BadRows())) == 18
    assert len(read_battles(battles(path, ["model_a"] * 19 + ["nobody"]), bad=BadRows(max_share=0.05))) == 19


def test_training_refuses_mostly_bad_battles_and_says_how_to_go_on(tmp_path, capsys):
    path = battles(tmp_path / "b.jsonl", ["gpt-4", "llama-7b", "gpt-4", "nobody"])
    arguments = [
        "train",
        "sw_ranking",
        "--battles",
        str(path),
        "--strong",
        "gpt-4",
        "--weak",
        "llama-7b",
        "--tiers",
        "2",
    ]
    arguments += ["--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "--allow-bad-rows" in capsys.readouterr().err
    assert main([*arguments, "--allow-bad-rows"]) == 0
    assert "row 4: winner is 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("correct", "row 1: big is 'correct', expected a number such as 1 or 0"),
        ("100%", "row 1: big is '100%', expected a number such as 1"),
        ('"0,5"', "row 1: big is '0,5', expected a number such as 0.5"),
        ("", "no row has a number"),
    ],
)
def test_a_column_that_holds_no_scores_is_named_with_the_row(cell, reason, tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("prompt,big,small\n" + f"x,{cell},1\ny,{cell},0\n")
    table = read_outcomes(path, bad=BadRows())
    assert list(table.scores) == ["small"]
    with pytest.raises(InvalidInputError) as told:
        table.find("BIG")
    assert str(told.value) == f"column 'big' has no scores: {reason}"
    for arguments in (
        ["eval", "--router", TINY, "--data", str(path), "--strong", "big", "--weak", "small"],
        ["calibrate", "--router", TINY, "--data", str(path), "--quality", "0.9", "--strong", "big", "--weak", "small"],
        [
            "augment",
            "gold",
            "--table",
            str(path),
            "--strong",
            "big",
            "--weak",
            "small",
            "--out",
            str(tmp_path / "o.csv"),
        ],
    ):
        assert main(arguments) == 2
        assert reason in capsys.readouterr().err


def test_columns_that_belong_to_a_model_are_no_models(tmp_path):
    path = tmp_path / "routerbench.csv"
    path.write_text("sample_id,prompt,eval_name,gpt-4,gpt-4|model_response,gpt-4|total_cost,a|b\n1,x,mmlu,1,7,0.03,0\n")
    assert list(read_outcomes(path, bad=BadRows()).scores) == ["gpt-4", "a|b"]


def test_rows_that_are_all_bad_are_an_error_with_the_file_and_the_first_reasons(tmp_path, capsys):
    path = tmp_path / "latin.csv"
    path.write_bytes(b"prompt,big,small\n" + b"caf\xe9,1,0\n" * 7)
    for arguments in (["eval", "--data", str(path)], ["calibrate", "--prompts", str(path), "--strong-share", "0.3"]):
        assert main([*arguments, "--router", TINY]) == 2
        told = capsys.readouterr().err
        assert f"{path}" in told
        assert "row 1: prompt is not UTF-8; row 2: " in told
        assert "and 2 more" in told


def test_two_columns_of_one_model_are_an_error_in_training(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("prompt,openai/gpt-4,GPT-4\nx,1,0\n")
    with pytest.raises(InvalidInputError, match="the columns 'openai/gpt-4' and 'GPT-4' are of one model"):
        read_tables([path])
