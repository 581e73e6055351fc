from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from turnout import InvalidInputError
from turnout.data import Battles, Outcomes
from turnout.training.tables import pair_examples, read_tables, read_training_tables


def test_read_tables_drops_repeated_and_excluded_prompts(tmp_path: Path):
    rows = [{"prompt": p, "org/Mixtral-8x7B-Chat": 1, "gpt": 0} for p in ("x", "y", "x", "z")]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    (table,) = read_tables([path], exclude={"y"})
    assert table.prompts == ["x", "z"]
    assert set(table.scores) == {"mixtral-8x7b-instruct-v0.1", "gpt"}


def test_pair_examples_put_ties_at_one_half_and_leave_rare_models_out():
    table = Outcomes("t", ["x"], {"a": np.array([1.0]), "b": np.array([1.0])})
    battles = Battles(["p"] * 5, ["c"] * 5, ["d", "d", "d", "d", "e"], np.ones(5))
    examples = pair_examples([table], battles, per_table=8, min_battles=4, seed=0)
    assert examples.models == ["a", "b", "c", "d"]
    assert set(examples.outcome[np.array(examples.prompts) == "x"]) == {0.5}
    of_battles = np.array(examples.prompts) == "p"
    assert of_battles.sum() == 4
    assert (examples.outcome[of_battles] == 1.0).all()


def test_a_score_outside_of_its_range_is_an_error_that_names_it(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("prompt,big,small\nx,1,0\ny,7.5,\n")
    with pytest.raises(InvalidInputError, match=r"t\.csv: column big has the score 7\.5, expected scores in 0\.\.1"):
        read_training_tables([path])
    assert read_training_tables([path], exclude={"y"})[0].prompts == ["x"]
    assert read_tables([path])[0].scores["big"].tolist() == [1.0, 7.5]
