"""Stored embeddings of unit length: 32 or 16 bits per number, or 8 bits with 8 bits of residual."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from turnout.graphs.fold import quantize_rows
from turnout.routers.sw_ranking.elo import unit

Storage = Literal["f32", "f16", "int8"]

#: Steps of the second byte in one step of the first.
RESIDUAL_STEPS = 254


def stored(vectors: NDArray[Any], storage: Storage) -> dict[str, NDArray[Any]]:
    """Tensors ``vectors`` and, for int8, ``scales`` and ``residuals``.

    A scan over all prompts reads ``vectors`` only. The largest similarity, on which all weights depend, is computed from both
    bytes: a vector is ``scale * (row + residual / 254)``.

    Args:
        vectors: ``[prompts, dim]`` of any length; rows of zeros stay zeros.
        storage: Type of the stored numbers.
    """
    rows = unit(vectors, np.float32)
    if storage == "f32":
        return {"vectors": rows}
    if storage == "f16":
        return {"vectors": rows.astype(np.float16)}
    table, scales = quantize_rows(rows)
    rest = rows / np.where(scales > 0, scales, 1)[:, None] - table
    residuals = np.clip(np.rint(rest * RESIDUAL_STEPS), -127, 127).astype(np.int8)
    return {"vectors": table, "scales": scales.astype(np.float32), "residuals": residuals}


def restored(tensors: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The vectors of :func:`stored`, float32 ``[prompts, dim]``."""
    rows = tensors["vectors"].astype(np.float32)
    if "residuals" in tensors:
        rows += tensors["residuals"].astype(np.float32) / RESIDUAL_STEPS
    if "scales" in tensors:
        rows *= tensors["scales"][:, None]
    return rows


def storage_of(tensors: dict[str, NDArray[Any]]) -> Storage:
    """The type of the stored vectors of a file."""
    kinds: dict[np.dtype[Any], Storage] = {np.dtype(np.float16): "f16", np.dtype(np.int8): "int8"}
    return kinds.get(tensors["vectors"].dtype, "f32")
