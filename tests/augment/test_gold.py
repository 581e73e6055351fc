from __future__ import annotations

import pytest

from turnout.cli import main
from turnout.data import BadRows, read_battles


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "graded.csv"
    path.write_text("prompt,org/Big,small\nstrong wins,1,0\nweak wins,0.2,0.7\nboth right,1,1\nno score,,1\n")
    return path


def test_the_higher_score_wins_and_equal_scores_tie(table, tmp_path, capsys):
    out = tmp_path / "battles.parquet"
    assert (
        main(["augment", "gold", "--table", str(table), "--strong", "big", "--weak", "small", "--out", str(out)]) == 0
    )
    battles = read_battles(out, bad=BadRows())
    assert dict(zip(battles.prompts, battles.outcome.tolist(), strict=True)) == {
        "strong wins": 1.0,
        "weak wins": 0.0,
        "both right": 0.5,
    }
    assert set(battles.model_a) == {"big"}
    assert set(battles.model_b) == {"small"}
    assert "3 battles, 1 won by the strong model, 1 ties, 1 by the weak" in capsys.readouterr().out


def test_a_model_that_the_table_lacks_is_an_error_that_lists_what_it_has(table, tmp_path, capsys):
    arguments = ["--table", str(table), "--strong", "huge", "--weak", "small", "--out", str(tmp_path / "b.csv")]
    assert main(["augment", "gold", *arguments]) == 2
    assert "small" in capsys.readouterr().err
    assert not (tmp_path / "b.csv").exists()
