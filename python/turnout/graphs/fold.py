"""From trained weights to the form that is executed: the first layer folded into the table, the table quantized."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from turnout.graphs.static import Activation, StaticEncoder

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


def fold_first_layer(
    token_rows: NDArray[np.floating],
    count_table: NDArray[np.floating],
    weight: NDArray[np.floating],
    bias: NDArray[np.floating],
    activation: Activation,
) -> StaticEncoder:
    """Encoder ``activation(concat(mean(token_rows), log1p(relu(counts))) @ weight + bias)`` as one table of ready rows.

    The mean is linear, so ``mean(rows) @ W = mean(rows @ W)``: a decision then reads rows as short as the embedding and
    multiplies by no matrix.

    Args:
        token_rows: ``[vocabulary, width]``.
        count_table: ``[vocabulary, counts]``.
        weight: ``[width + counts, dim]``.
        bias: ``[dim]``.
        activation: Function applied to every element.

    Returns:
        The encoder, its table quantized by :func:`quantize_rows`.
    """
    width = token_rows.shape[1]
    table, scale = quantize_rows(token_rows.astype(np.float64) @ weight[:width])
    return StaticEncoder(
        token_table=table,
        row_scale=scale,
        count_table=count_table.astype(np.float32),
        feature_weight=weight[width:].astype(np.float32),
        bias=bias.astype(np.float32),
        activation=activation,
    )
