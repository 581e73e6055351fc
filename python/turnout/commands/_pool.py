"""Tables of a pool's models for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from turnout.commands._terminal import cut, pad, width
from turnout.terminal import printable

if TYPE_CHECKING:
    from turnout._core import Ranked

#: Columns of a reason.
_REASON_COLUMNS = 72


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of a table as lines; every column is as wide as its widest cell.

    Example:
        >>> list(columns([("model", "price"), ("a", "1")]))
        ['model  price', 'a      1']
    """
    widths = [max(width(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(pad(cell, columns) for cell, columns in zip(row, widths, strict=True)).rstrip()


def table(ranked: Sequence[Ranked], currency: str) -> Iterator[str]:
    """Every model for one prompt, in the order of the objective.

    Args:
        ranked: From :meth:`turnout.PoolRouter.rank`.
        currency: Of the costs.
    """
    rows = [("model", "success", "90 % interval", f"cost/{printable(currency)}", "latency", "")]
    rows += [
        (
            printable(one.model),
            f"{one.success:.3f}",
            f"{one.success_low:.3f} to {one.success_high:.3f}",
            "-" if one.expected_cost is None else f"{one.expected_cost:.6f}",
            "-" if one.latency_ms is None else f"{one.latency_ms:.0f} ms",
            "" if one.reason is None else cut(f"not feasible: {one.reason}", _REASON_COLUMNS),
        )
        for one in ranked
    ]
    yield from columns(rows)
