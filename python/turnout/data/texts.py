"""Values of a column as texts, with the rows where they are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turnout.data.writer import is_utf8

#: What is wrong with rows, by index.
Problems = dict[int, str]


def texts(values: Sequence[Any], name: str) -> tuple[list[str], Problems]:
    """Texts of a column.

    Args:
        values: The column.
        name: Its name, for messages.

    Returns:
        One text a row (empty where there is none), and why a row has none.
    """
    problems: Problems = {}
    result = []
    for index, value in enumerate(values):
        if isinstance(value, str):
            if not value:
                problems[index] = f"{name} is missing"
            elif not value.isascii() and not is_utf8(value):
                problems[index] = f"{name} is not UTF-8"
            result.append(value)
            continue
        problems[index] = f"{name} is missing" if value is None else f"{name} is {type(value).__name__}, expected text"
        result.append("")
    return result, problems
