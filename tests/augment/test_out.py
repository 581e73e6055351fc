"""What is written over, and what is not."""

from __future__ import annotations

import os

import pytest

from turnout.cli import main
from turnout.data import BadRows, read_battles


def battles(path):
    return read_battles(path, bad=BadRows()).prompts


@pytest.fixture
def gold(tmp_path):
    table = tmp_path / "graded.csv"
    table.write_text("prompt,big,small\nstrong wins,1,0\n")

    def run(out, *options):
        pair = ["--strong", "big", "--weak", "small"]
        return main(["augment", "gold", "--table", str(table), *pair, "--out", str(out), *options])

    run.table = table
    return run


def spellings(path):
    """Other names of a file."""
    link, hard = path.with_name("link" + path.suffix), path.with_name("hard" + path.suffix)
    link.symlink_to(path)
    os.link(path, hard)
    return [path, path.parent / "." / ".." / path.parent.name / path.name, link, hard]


def test_the_prompts_are_not_written_over_by_any_name(judge, endpoint, tmp_path, capsys):
    judge("--dry-run")
    file = tmp_path / "prompts.jsonl"
    before = file.read_bytes()
    for out in spellings(file):
        assert judge("--out", str(out)) == 2
        assert "is the file that --prompts reads" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert not endpoint.asked


def test_the_table_is_not_written_over_by_any_name(gold, capsys):
    before = gold.table.read_bytes()
    for out in spellings(gold.table):
        assert gold(out) == 2
        assert "is the file that --table reads" in capsys.readouterr().err
    assert gold.table.read_bytes() == before


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_battles_of_prompts_that_are_gone_are_not_written_over(judge, endpoint, suffix, capsys):
    out = judge.out.with_suffix(suffix)
    assert judge("--out", str(out), prompts=["big wins", "small wins,\nreally"]) == 0
    before = out.read_bytes()
    endpoint.asked.clear()
    assert judge("--out", str(out), prompts=["big wins"]) == 2
    told = capsys.readouterr().err
    assert "1 rows that are not battles" in told
    assert "of another prompt" in told
    assert not endpoint.asked
    assert out.read_bytes() == before


def test_more_prompts_extend_the_battles(judge, endpoint):
    judge(prompts=["big wins"])
    assert judge(prompts=["small wins", "big wins"]) == 0
    assert battles(judge.out) == ["small wins", "big wins"]
    assert endpoint.asked == {"big": 2, "small": 2, "judge": 4}


def test_battles_of_another_judge_or_of_grades_are_not_written_over(judge, gold, endpoint, capsys):
    assert gold(judge.out) == 0
    assert judge() == 2
    assert "gold graded.csv" in capsys.readouterr().err
    assert not endpoint.asked
    judge.out.unlink()
    assert judge() == 0
    assert gold(judge.out) == 2
    assert gold(judge.out.with_name("more.jsonl")) == 0
    assert judge("--judge", "small") == 2


def test_graded_battles_are_made_again(gold, tmp_path):
    out = tmp_path / "b.csv"
    assert gold(out) == 0
    gold.table.write_text("prompt,big,small\nweak wins,0,1\n")
    assert gold(out) == 0
    assert battles(out) == ["weak wins"]


def test_a_file_that_is_no_table_of_battles_is_not_written_over(judge, endpoint, tmp_path, capsys):
    for name in ("letters.csv", "letters.jsonl", "letters.parquet"):
        out = tmp_path / name
        out.write_text("dear,friend\n1,2\n")
        assert judge("--out", str(out)) == 2
        assert str(out) in capsys.readouterr().err
        assert out.read_text() == "dear,friend\n1,2\n"
    assert not endpoint.asked
