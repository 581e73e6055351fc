"""Options of commands that read tables, and how they report rows that could not be used."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from turnout.terminal import echo

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from turnout.data import BadRows


def check_files(paths: Iterable[str | None]) -> None:
    """Raises ``FileNotFoundError`` for the first missing file, before a router, NumPy or another file is loaded."""
    for path in paths:
        if path not in (None, "-") and not os.path.exists(path):
            raise FileNotFoundError(f"{path}: no such file")


def add_table_options(parser: argparse._ActionsContainer) -> None:
    """Adds ``--column``, the column of prompts, and ``--allow-bad-rows``, for :func:`bad_rows`."""
    parser.add_argument("--column", default="prompt", metavar="C", help="column of the prompts (default: %(default)s)")
    parser.add_argument("--allow-bad-rows", action="store_true", help="accept tables with more than 5 %% invalid rows")


def bad_rows(args: argparse.Namespace) -> BadRows:
    """Takes bad rows: a few of each table, or any number with ``--allow-bad-rows``."""
    from turnout.data import BadRows
    from turnout.data.bad_rows import MAX_SHARE

    return BadRows(max_share=None if args.allow_bad_rows else MAX_SHARE)


def show_bad(bad: BadRows) -> None:
    """Prints on stderr which rows were left out and why."""
    if bad:
        echo(str(bad), file=sys.stderr)
