"""Text that lines up in a terminal: display widths, cutting, colors, sparklines."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence

from turnout.terminal import printable

BLOCKS, ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.,-=+*#"


def width(text: str) -> int:
    """Columns that a text takes.

    Example:
        >>> width("abc"), width("中文"), width("e\\u0301")
        (3, 4, 1)
    """
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def cut(text: str, columns: int) -> str:
    """The text on one line, cut to a number of columns.

    Example:
        >>> cut("two\\n lines", 20), cut("abcdef", 4), cut("中文字", 5)
        ('two lines', 'abc…', '中文…')
    """
    # Text beyond the limit is not processed.
    line = printable(" ".join(text[: 8 * columns].split()))
    if len(text) > 8 * columns:
        line += "…"
    if width(line) <= columns:
        return line
    while width(line) > columns - 1:
        line = line[:-1]
    return line + "…"


def pad(text: str, columns: int) -> str:
    """The text followed by spaces up to a number of columns."""
    return text + " " * (columns - width(text))


def color(text: str, code: int) -> str:
    """The text in an ANSI color where stdout is a terminal and ``NO_COLOR`` is not set."""
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        return f"\x1b[{code}m{text}\x1b[0m"
    return text


def blocks() -> str:
    """Rising blocks that stdout can show."""
    return BLOCKS if (sys.stdout.encoding or "").lower().startswith("utf") else ASCII_BLOCKS


def sparkline(values: Sequence[float], columns: int = 40, blocks: str = BLOCKS) -> str:
    """Values in ``[0, 1]`` as a row of blocks, sampled down to a number of columns.

    Example:
        >>> sparkline([0.0, 0.5, 1.0], blocks="_-+#")
        '_+#'
    """
    count = min(columns, len(values))
    indices = [round(column * (len(values) - 1) / max(count - 1, 1)) for column in range(count)]
    return "".join(blocks[min(int(values[index] * len(blocks)), len(blocks) - 1)] for index in indices)
