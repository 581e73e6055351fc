"""In which number formats the matrices of an exported network can be kept."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "float16", "int8", "int4"]

#: What each of them means, for provenance.
PRECISIONS: dict[Precision, str] = {
    "float32": "float32",
    "float16": "float16; normalization, softmax and sums over layers float32",
    "int8": "int8 per channel, activations int8 per row",
    "int4": "int4 in blocks of 32 with zero points, embeddings int8 per row, activations float32",
}
