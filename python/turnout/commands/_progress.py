"""How far the reading of a file is, on a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from turnout.terminal import printable, printable_console

#: Takes the number of rows so far, and the part of the file in 0..1 if it is known.
Update = Callable[[int, float | None], None]

#: Seconds between two lines of plain progress; nothing is shown for files that take less.
_EVERY_S = 0.5


@contextlib.contextmanager
def file_progress(name: str, *, shown: bool = True) -> Iterator[Update]:
    """A bar on stderr while a file is read, where stderr is a terminal: of rich if it is installed, else a line of text.

    Args:
        name: What is read.
        shown: ``False`` shows nothing.
    """
    if not shown or not sys.stderr.isatty():
        yield lambda rows, part: None
        return
    try:
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        console = printable_console(stderr=True)
    except ImportError:
        with _plain(name) as update:
            yield update
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(escape(printable(Path(name).name)), total=None, rows=0)
        yield lambda rows, part: bars.update(
            task, rows=rows, total=None if part is None else 1.0, completed=part or 0.0
        )


@contextlib.contextmanager
def _plain(name: str) -> Iterator[Update]:
    last = time.monotonic()
    width = 0

    def update(rows: int, part: float | None) -> None:
        nonlocal last, width
        if time.monotonic() - last >= _EVERY_S:
            last = time.monotonic()
            line = f"{printable(name)}: {rows:,} rows" + ("" if part is None else f", {part:.0%}")
            sys.stderr.write("\r" + line.ljust(width))
            sys.stderr.flush()
            width = len(line)

    try:
        yield update
    finally:
        if width:
            sys.stderr.write("\r" + " " * width + "\r")
            sys.stderr.flush()
