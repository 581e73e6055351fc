"""``turnout demo``: every prompt gets a row, and the numbers are what the router says."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

import turnout
from turnout.cli import main
from turnout.commands import demo
from turnout.commands._terminal import cut, width

TINY = Path(__file__).parents[2] / "models" / "tiny"


def test_demo_prints_a_row_per_prompt_and_p50_and_p99(capsys):
    assert main(["demo", "--router", str(TINY), "--decisions", "200", "--threshold", "0.5"]) == 0
    text = capsys.readouterr().out
    router = turnout.load(TINY, threshold=0.5)
    rows = text.split("-" * 20)[-1].strip("-\n").split("\n\n")[0].splitlines()
    assert len(rows) == len(demo.PROMPTS)
    for row, prompt in zip(rows, demo.PROMPTS, strict=True):
        decision = router.route(prompt)
        model, win_rate, threshold, us = row.rsplit(maxsplit=4)[1:]
        assert (model, win_rate, threshold) == (decision.model, f"{decision.win_rate:.3f}", "0.5")
        assert float(us) > 0
    assert re.search(r"200 decisions.*p50 [\d.]+ us, p99 [\d.]+ us", text)


def test_rows_line_up_on_a_terminal_with_wide_characters():
    rows = demo.table(turnout.load(TINY))[2:]
    assert len({width(row) for row in rows}) == 1
    assert any(unicodedata.east_asian_width(character) == "W" for character in "".join(rows))


def test_the_prompts_are_some_twenty_different_ones_short_and_long():
    assert len(set(demo.PROMPTS)) == len(demo.PROMPTS) >= 20
    assert max(map(len, demo.PROMPTS)) > 1500
    assert min(map(len, demo.PROMPTS)) < 30


def test_percentiles_are_nearest_ranks():
    times = [1000 * value for value in range(1, 101)]
    assert [demo.percentile(times, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert demo.percentile([7000], 0.5) == 7.0


@pytest.mark.parametrize("columns", [1, 2, 5, 30])
def test_cut_texts_fit(columns):
    for text in (*demo.PROMPTS, "", "\n\t", "é" * 40):
        assert width(cut(text, columns)) <= columns


def test_no_decisions_are_refused(capsys):
    assert main(["demo", "--router", str(TINY), "--decisions", "0"]) == 2
    assert "--decisions is 0" in capsys.readouterr().err
