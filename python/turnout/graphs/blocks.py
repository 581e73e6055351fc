"""Large matrices a piece at a time, so that no copy of the whole is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Elements of a piece.
_ELEMENTS = 1 << 20


def row_blocks(array: NDArray[Any]) -> Iterator[slice]:
    """Places along the first axis that together are the whole; at most some million elements in each, or one row."""
    rows = max(1, _ELEMENTS // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        yield slice(start, start + rows)
