"""Quantization of token tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def quantize_rows(rows: NDArray[np.floating]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 per row: ``rows ~ table * scale[:, None]``.

    Args:
        rows: ``[vocabulary, dim]``.

    Returns:
        int8 ``[vocabulary, dim]`` and float32 ``[vocabulary]``. The error of an element is at most half its row's scale.
    """
    scale = np.abs(rows).max(axis=1) / 127.0
    safe = np.where(scale > 0, scale, 1.0)
    table = np.rint(rows / safe[:, None]).astype(np.int8)
    return table, safe.astype(np.float32)
