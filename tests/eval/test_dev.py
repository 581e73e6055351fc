from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from turnout.data import Outcomes
from turnout.evaluate.bootstrap import Estimate
from turnout.evaluate.dev import DevResult, dev_result, pair_of, show
from turnout.terminal import printable_console


def _table() -> Outcomes:
    prompts = ["x" * (1 + place % 7) + f" {place}" for place in range(200)]
    weak = (np.arange(200) % 2).astype(float)
    return Outcomes("t", prompts, {"big": np.ones(200), "small": weak, "mid": np.full(200, 0.8)})


def test_a_router_that_knows_the_gain_beats_length_and_random_does_not():
    table = _table()
    gain = dict(zip(table.prompts, 1.0 - table.scores["small"], strict=True))
    knows = dev_result(table, lambda prompts: np.array([gain[p] for p in prompts]), [("big", "small")], seed=0)
    assert knows.router.value == pytest.approx(0.75)
    assert knows.difference.low > 0
    constant = dev_result(table, lambda prompts: np.full(len(prompts), 0.5), [("big", "small")], seed=0)
    assert constant.router.value == pytest.approx(0.5)


def test_a_table_without_a_known_pair_is_judged_by_its_best_and_worst_model():
    assert pair_of(_table(), [("absent", "small")]) == ("big", "small")
    assert pair_of(_table(), [("absent", "small"), ("mid", "small")]) == ("mid", "small")


def test_a_narrow_terminal_cuts_no_name_and_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("a-strong-model-with-a-long-name", "a-weak-model-with-a-long-name")
    one = Estimate(0.123, 0.045, 0.678)
    result = DevResult("table", 1234, *names, one, one, one)
    show([result], printable_console(width=60, highlight=False))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 60
    letters = Counter("".join(shown.split()))
    assert letters["…"] == 0
    assert letters >= Counter("".join(names) + 3 * "0.123[0.045,0.678]")
