"""Linear layers whose weights are 4-bit integers in blocks, for ONNX Runtime's operator ``MatMulNBits``.

Each block of 32 neighbors along the input has a scale and a zero point of its own, from its least and its largest weight; without zero
points the rounding error of normally distributed weights is 6 % larger. A weight takes 5.1 bits in all.

    scale = (max(w, 0) - min(w, 0)) / 15      zero = round(-min(w, 0) / scale)      q = round(w / scale) + zero      0 to 15

Only weights are rounded. The operator is told to keep activations in float32 (``accuracy_level`` 1): rounded to 8 bits they would
cost more accuracy than the weights do, and a prompt's answer could flip a rounding with whatever shares its run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from turnout.graphs.blocks import row_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turnout.graphs.network import NetworkWriter

#: Weights that share a scale.
BLOCK = 32
_LARGEST = 15
_FLOAT32_ACTIVATIONS = 1


def int4_linear(w: NetworkWriter, x: str, weight: NDArray[np.float32]) -> str:
    """``x @ weight.T``; ``weight`` is float32 ``[out, in]``."""
    rows, columns = weight.shape
    blocks = -(-columns // BLOCK)
    packed = np.empty((rows, blocks, BLOCK // 2), dtype=np.uint8)
    scales = np.empty((rows, blocks), dtype=np.float32)
    zeros = np.empty((rows, -(-blocks // 2)), dtype=np.uint8)
    for part in row_blocks(weight):
        packed[part], scales[part], zeros[part] = packed_blocks(weight[part])
    tensors = [w.weight(packed), w.weight(scales.reshape(-1)), w.weight(zeros.reshape(-1))]
    shape = {"K": columns, "N": rows, "bits": 4, "block_size": BLOCK, "accuracy_level": _FLOAT32_ACTIVATIONS}
    return str(w.add("MatMulNBits", x, *tensors, domain="com.microsoft", **shape))


def packed_blocks(weight: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Quantizes a matrix as the operator reads it.

    Args:
        weight: float32 ``[out, in]``; the last block is filled up with zeros.

    Returns:
        Weights, uint8 ``[out, blocks, 16]``, scales, float32 ``[out, blocks]``, and zero points, uint8 ``[out, blocks / 2]``: two
        numbers in a byte, the first in its lower half.
    """
    rows, columns = weight.shape
    blocks = -(-columns // BLOCK)
    values = np.pad(weight, ((0, 0), (0, blocks * BLOCK - columns))).reshape(rows, blocks, BLOCK)
    low, high = np.minimum(values.min(axis=-1), 0.0), np.maximum(values.max(axis=-1), 0.0)
    scale = np.maximum((high - low) / _LARGEST, 1e-30).astype(np.float32)
    zero = np.rint(-low / scale)
    quantized = np.clip(np.rint(values / scale[..., None]) + zero[..., None], 0, _LARGEST).astype(np.uint8)
    zeros = np.pad(zero.astype(np.uint8), ((0, 0), (0, blocks % 2)))
    return _pairs(quantized), scale, _pairs(zeros)


def _pairs(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return values[..., 0::2] | (values[..., 1::2] << np.uint8(4))
