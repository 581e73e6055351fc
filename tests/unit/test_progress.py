from __future__ import annotations

import io

import pytest

from turnout.progress import progress_bars, progress_lines

rich_console = pytest.importorskip("rich.console")


def test_news_of_a_stage_change_its_bar_and_start_no_other():
    console = rich_console.Console(file=io.StringIO(), force_terminal=True, width=100)
    with progress_bars(console) as report:
        for step, loss in enumerate((0.5, 0.25)):
            report(f"fine-tuning, loss {loss}", step + 1, 2)
    drawn = console.file.getvalue()
    assert "fine-tuning, loss 0.25" in drawn.split("\x1b[2K")[-1]
    # Nothing goes a line up: there is one bar.
    assert "\x1b[1A" not in drawn


def test_without_a_terminal_news_are_lines():
    console = rich_console.Console(file=io.StringIO(), width=20)
    with progress_bars(console) as report:
        report("fine-tuning", 0, 2000)
        report("fine-tuning, loss 0.5000", 1000, 2000)
        assert console.file.getvalue() == "fine-tuning: 0 of 2,000\nfine-tuning, loss 0.5000: 1,000 of 2,000\n"


def test_without_news_there_is_a_line_every_half_minute_and_one_at_the_end():
    told: list[str] = []
    seconds = iter(range(0, 1000, 4))
    report = progress_lines(told.append, lambda: next(seconds))
    for done in range(1, 21):
        report("teacher", done, 20)
    assert told[0] == "teacher: 1 of 20"
    assert told[-1] == "teacher: 20 of 20"
    assert 3 <= len(told) <= 6
