"""Reads decision logs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnout.data.chunks import Record


def read_receipts(source: str) -> Iterator[dict[str, Any]]:
    """Receipts of a decision log.

    Args:
        source: A file of any format and name, or ``-`` for lines of stdin.

    Yields:
        Receipts.

    Raises:
        InvalidInputError: A row is not an object.
    """
    from turnout.data.chunks import read_chunks
    from turnout.data.formats import TABLES, format_of, opened
    from turnout.data.prompts import standard_input
    from turnout.data.text import json_lines

    with contextlib.ExitStack() as stack:
        found = format_of(source)
        records: Iterator[Record]
        if source == "-":
            records = json_lines("stdin", standard_input())
        elif found.ending in TABLES:
            records = (record for chunk in read_chunks(source) for record in chunk.records())
        else:  # a log under a name of the user's
            records = json_lines(source, stack.enter_context(opened(Path(source), found.compression)).stream)
        yield from _checked(source, records)


def _checked(source: str, records: Iterator[Record]) -> Iterator[dict[str, Any]]:
    from turnout import InvalidInputError

    for number, row, _, problem in records:
        if problem is not None:
            raise InvalidInputError(f"{source}: row {number}: {problem}, expected a line of the decision log")
        yield row
