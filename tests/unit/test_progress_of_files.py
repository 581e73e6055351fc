"""Progress of files: on a terminal only, with rich or without."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from turnout.cli import main
from turnout.commands import _progress

TINY = str(Path(__file__).parents[2] / "models" / "tiny")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "in.csv"
    path.write_text("prompt\n" + "why\n" * 9000)
    return str(path)


def route(file: str, out: Path) -> int:
    return main(["route", "--router", TINY, file, "--out", str(out)])


def test_rich_draws_a_bar_and_takes_it_away(file, tmp_path, monkeypatch):
    pytest.importorskip("rich")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert route(file, tmp_path / "out.csv") == 0
    assert "9,000 rows" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_without_rich_a_line_counts_rows_and_is_erased(file, tmp_path, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(_progress, "_EVERY_S", 0.0)
    assert route(file, tmp_path / "out.csv") == 0
    lines = terminal.getvalue().split("\r")
    assert f"{file}: 4,096 rows" in lines[1]
    assert "%" in lines[1]
    assert lines[-2].strip() == ""


def test_without_a_terminal_nothing_is_drawn(file, tmp_path, capsys):
    assert route(file, tmp_path / "out.csv") == 0
    told = capsys.readouterr().err
    assert "\r" not in told
    assert told.count("\n") == 1


def test_parts_of_a_file_rise_to_one(file):
    from turnout.data import read_chunks

    parts = [chunk.part for chunk in read_chunks(file)]
    assert parts == sorted(parts)
    assert 0 < parts[0] < parts[-1] == 1


def test_calibrate_shows_what_a_cost_assumes_and_takes_other_lengths(file, capsys):
    pytest.importorskip("scipy")
    prices = ["--prices-per-mtok", "10", "30", "0.5", "0.7"]
    common = ["calibrate", "--router", TINY, "--prompts", file, "--cost-per-request", "0.005", *prices]
    assert main(common) == 0
    assert "assumed  answers of 300 tokens (strong) and 300 tokens (weak), --answer-tokens" in capsys.readouterr().out
    assert main([*common, "--answer-tokens", "800", "200", "--json"]) == 0
    assumed = __import__("json").loads(capsys.readouterr().out)["assumed"]
    assert assumed == {"strong_answer_tokens": 800.0, "weak_answer_tokens": 200.0, "characters_per_token": 4.0}


def test_an_output_that_cannot_be_written_is_named_as_it_was_given(file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder.csv").mkdir()
    for arguments, told in (
        (["route", "--router", TINY, file, "--out", "no/out.csv"], "--out no/out.csv: there is no folder no"),
        (["route", "--router", TINY, file, "--out", "folder.csv"], "--out folder.csv is a folder"),
        (["eval", "--router", TINY, "--data", file, "--json", "no/a.json"], "--json no/a.json: there is no folder no"),
        (
            ["contamination", "--train", file, "--eval", file, "--out", "no/c.jsonl"],
            "--out no/c.jsonl: there is no folder no",
        ),
        (
            ["calibrate", "--router", TINY, "--prompts", file, "--strong-share", "0.5", "--save", "no/t.json"],
            "--save no/t.json: there is no folder no",
        ),
        (
            ["import", "mf", str(Path(__file__).parents[1] / "fixtures/routellm/mf"), "--out", "in.csv/a"],
            "in.csv/a cannot be written",
        ),
    ):
        assert main(arguments) == 2, arguments
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1


def test_text_from_files_cannot_command_a_terminal(tmp_path, capsys):
    (tmp_path / "in.txt").write_text("a\x1b[2Jb\nplain\n")
    assert main(["route", "--router", TINY, str(tmp_path / "in.txt")]) == 0
    (tmp_path / "in.csv").write_text("question\x1b[2J\nx\n")
    assert main(["route", "--router", TINY, str(tmp_path / "in.csv")]) == 2
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "a\\x1b[2Jb" in captured.out
