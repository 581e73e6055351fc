"""What commands print: text from files, of users and of servers is shown, and never commands the terminal.

A terminal obeys control characters: C0 with ESC, DEL, and C1 (U+0080 to U+009F), whose one-character forms of ESC sequences are easily
forgotten; overrides of the writing direction change the order in which a line is read. All of them are printed as escapes.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Colors of :func:`turnout.commands._terminal.color`, the only sequences that :func:`echo` prints.
_COLOR = re.compile(r"(\x1b\[\d{1,2}m)")


def printable(text: str) -> str:
    """The text with everything that is not printable as escapes, line feeds included.

    Example:
        >>> printable("a\\x1b[2Jb\\n"), printable("中 é"), printable("\\x9b2J")
        ('a\\\\x1b[2Jb\\\\n', '中 é', '\\\\x9b2J')
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def printable_json(text: str) -> str:
    """A JSON document with everything in its strings that is not printable as ``\\u`` escapes; its value is the same.

    Example:
        >>> print(printable_json('["中", "\\x9b2J", "\\u202e"]'))
        ["中", "\\u009b2J", "\\u202e"]
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1].replace("\x7f", "\\u007f") for one in text
    )


def echo(text: str = "", *, file: TextIO | None = None, flush: bool = False) -> None:
    """Prints lines. Other control characters than line feeds are escapes; colors of the commands stay.

    Args:
        text: One line or several.
        file: Standard output by default.
        flush: Whether the lines are shown at once.

    Example:
        >>> echo("a\\x9bb")
        a\\x9bb
    """
    if not text.isprintable():
        text = "\n".join(map(_line, text.split("\n")))
    print(text, file=file or sys.stdout, flush=flush)


def printable_console(**options: Any) -> Console:
    """A console of rich that prints texts as :func:`echo` does.

    Args:
        **options: Of ``rich.console.Console``.
    """
    from rich.console import Console
    from rich.text import Text

    class PrintableConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str("\n".join(map(printable, text.split("\n"))), **options)

    return PrintableConsole(**options)


def grid(*headings: str) -> Table:
    """A table without rows. Texts that do not fit into their column go on in the next line; none is cut.

    Args:
        *headings: Of its columns; the first is aligned left, the others right.

    Example:
        >>> table = grid("model", "score")
        >>> table.add_row("a-long-name-of-a-model", "0.5")
        >>> printable_console(width=19).print(table)  # doctest: +NORMALIZE_WHITESPACE
        model         score
        a-long-name-    0.5
        of-a-model
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    return table


def _line(text: str) -> str:
    return "".join(part if _COLOR.fullmatch(part) else printable(part) for part in _COLOR.split(text))
