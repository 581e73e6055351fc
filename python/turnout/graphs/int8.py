"""Linear layers and embeddings in int8, such that a prompt alone and in a batch gives the same win rate.

Weights have one scale for each output channel, fixed; activations have one scale for each row (each token of each prompt), made from
that row alone. A scale for the whole tensor, as ``DynamicQuantizeLinear`` makes it, would depend on whatever shares the run.

    row_scale = max(|x|, 1e-30) / 127          q = round(x / row_scale) + 128                      uint8
    y = ((q - 128) @ W_int8) * column_scale * row_scale                                            float32

Weights use 7 of the 8 bits: on processors without VNNI, two products of full 8-bit numbers overflow the 16 bits in which ONNX
Runtime adds them, and the same artifact would give other win rates there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from turnout.graphs.blocks import row_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turnout.graphs.network import NetworkWriter

_WEIGHT_RANGE = 63
_ACTIVATION_RANGE = 127
_ZERO = _ACTIVATION_RANGE + 1


def quantized_rows(matrix: NDArray[np.float32], largest: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A matrix as integers of at most ``largest``, and the scale of each row.

    Args:
        matrix: float32 ``[rows, width]``.
        largest: 1 to 127.

    Returns:
        int8 ``[rows, width]`` and float32 ``[rows]``; their product is the matrix up to half a scale.
    """
    quantized = np.empty(matrix.shape, dtype=np.int8)
    scale = np.empty(len(matrix), dtype=np.float32)
    for rows in row_blocks(matrix):
        scale[rows] = np.maximum(np.abs(matrix[rows]).max(axis=1), 1e-30) / largest
        quantized[rows] = np.rint(matrix[rows] / scale[rows, None])
    return quantized, scale


def int8_linear(w: NetworkWriter, x: str, weight: NDArray[np.float32]) -> str:
    """``x @ weight.T``; ``weight`` is float32 ``[out, in]``."""
    quantized, scale = quantized_rows(weight, _WEIGHT_RANGE)
    rows, row_scale = _rows_as_int8(w, x, weight.shape[1])
    # One operator for integer products and column scales: a pass over the outputs less than MatMulInteger, Cast and Mul.
    of_rows, zero = w.constant(1.0), w.constant(_ZERO, np.uint8)
    matrix = (w.weight(quantized.T), of_rows, w.weight(scale), zero)
    products = w.add("MatMulIntegerToFloat", rows, *matrix, domain="com.microsoft")
    return str(w.add("Mul", products, row_scale))


def int8_gather(w: NetworkWriter, table: NDArray[np.float32], ids: str) -> str:
    """Rows of a table, float32 ``[rows, width]``, which has one scale for each row."""
    quantized, scale = quantized_rows(table, 127)
    rows = w.add("Cast", w.add("Gather", w.weight(quantized), ids), to=1)
    return str(w.add("Mul", rows, w.add("Gather", w.weight(scale[:, None]), ids)))


def _rows_as_int8(w: NetworkWriter, x: str, width: int) -> tuple[str, str]:
    largest = w.add("ReduceMax", w.add("Abs", x), w.constant([-1], np.int64), keepdims=1)
    scale = w.add("Mul", w.add("Max", largest, w.constant(1e-30)), w.constant(1 / _ACTIVATION_RANGE))
    zeros = w.add("Expand", w.constant(_ZERO, np.uint8), w.add("Shape", scale))
    return w.add("QuantizeLinear", x, scale, zeros, axis=-1, block_size=width), scale
