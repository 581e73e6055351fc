"""Options of commands that read tables, and how they report rows that could not be used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from turnout.data import BadRows


def add_column_option(parser: argparse._ActionsContainer) -> None:
    """Adds ``--column``, the column of prompts."""
    parser.add_argument("--column", default="prompt", metavar="C", help="column of the prompts (default: %(default)s)")


def add_bad_rows_option(parser: argparse._ActionsContainer) -> None:
    """Adds ``--allow-bad-rows``, for commands whose result would hide that a table was read wrongly."""
    parser.add_argument("--allow-bad-rows", action="store_true", help="accept tables with more than 5 %% invalid rows")


def bad_rows(args: argparse.Namespace) -> BadRows:
    """Takes bad rows: of commands with ``--allow-bad-rows`` a few, else any number."""
    from turnout.data import BadRows
    from turnout.data.bad_rows import MAX_SHARE

    return BadRows(max_share=None if getattr(args, "allow_bad_rows", True) else MAX_SHARE)


def show_bad(bad: BadRows) -> None:
    """Prints on stderr which rows were left out and why."""
    from turnout.commands._terminal import printable

    if bad:
        print("\n".join(map(printable, str(bad).splitlines())), file=sys.stderr)
