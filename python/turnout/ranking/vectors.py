"""Embeddings as files keep them: unit length, in 32, 16 or 8 bits a number."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from turnout.export.fold import quantise_rows
from turnout.reference_elo import unit

Storage = Literal["f32", "f16", "int8"]


def stored(vectors: NDArray[Any], storage: Storage) -> dict[str, NDArray[Any]]:
    """Tensors ``vectors`` and, for int8, ``scales``.

    Args:
        vectors: ``[prompts, dim]`` of any length; rows of zeros stay zeros.
        storage: What to keep them in. A row of int8 times its scale is of unit length to rounding.
    """
    rows = unit(vectors, np.float32)
    if storage == "f32":
        return {"vectors": rows}
    if storage == "f16":
        return {"vectors": rows.astype(np.float16)}
    table, _ = quantise_rows(rows)
    length = np.linalg.norm(table.astype(np.float32), axis=1)
    return {"vectors": table, "scales": (1.0 / np.where(length > 0, length, 1.0)).astype(np.float32)}


def restored(tensors: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """The vectors of :func:`stored`, float32 ``[prompts, dim]``."""
    rows = tensors["vectors"].astype(np.float32)
    if "scales" in tensors:
        rows *= tensors["scales"][:, None]
    return rows


def storage_of(tensors: dict[str, NDArray[Any]]) -> Storage:
    """In what the vectors of a file are kept."""
    kinds: dict[np.dtype[Any], Storage] = {np.dtype(np.float16): "f16", np.dtype(np.int8): "int8"}
    return kinds.get(tensors["vectors"].dtype, "f32")
