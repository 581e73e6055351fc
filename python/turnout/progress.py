"""Progress of long work in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: Called with the name of a stage, the work done and all the work of the stage. What follows a comma in the name is news of the
#: stage, such as a loss, and may change.
ProgressCallback = Callable[[str, int, int], None]

#: Seconds between two lines of a stage without progress, if there is no terminal.
_LINE_EVERY = 30.0


def silent(stage: str, done: int, total: int) -> None:
    """Shows nothing."""


@contextmanager
def progress_bars(console: Console) -> Iterator[ProgressCallback]:
    """One progress bar per stage, started by its first report; without a terminal, a line at intervals."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    if not console.is_terminal:
        yield progress_lines(plain_lines(console))
        return
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {}

        def report(stage: str, done: int, total: int) -> None:
            name = stage.partition(",")[0]
            if name not in tasks:
                tasks[name] = bars.add_task(stage, total=total)
            bars.update(tasks[name], description=stage, completed=done, total=total)

        yield report


def plain_lines(console: Console) -> Callable[[str], None]:
    """Prints lines unchanged: without markup and without line breaks."""
    return lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)


def progress_lines(log: Callable[[str], object], clock: Callable[[], float] = time.monotonic) -> ProgressCallback:
    """Progress as lines: when a stage starts, has news or ends, and every half minute.

    Args:
        log: Takes a line.
        clock: Seconds.

    Example:
        >>> report = progress_lines(print)
        >>> for step in range(3):
        ...     report("training" if step < 1 else "training, loss 0.5", step, 2)
        training: 0 of 2
        training, loss 0.5: 1 of 2
        training, loss 0.5: 2 of 2
    """
    last: dict[str, tuple[str, float]] = {}

    def report(stage: str, done: int, total: int) -> None:
        name = stage.partition(",")[0]
        text, when = last.get(name, ("", 0.0))
        if stage != text or done >= total or clock() - when >= _LINE_EVERY:
            last[name] = (stage, clock())
            log(f"{stage}: {done:,} of {total:,}")

    return report
