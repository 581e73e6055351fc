"""What an artifact needs of a classifier's network, however its graph was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClassifierNetwork:
    """A graph from ``input_ids`` and ``attention_mask`` to ``logits``, float32 ``[prompts, labels]``.

    Attributes:
        graph: Serialized ONNX model.
        data: File in the artifact's folder that holds its weights, where they are too many for the graph.
        dim: Width of the encoder.
        max_tokens: Longer prompts are cut.
        provenance: How the graph came about, for the manifest.
    """

    graph: bytes
    data: Path | None
    dim: int
    max_tokens: int
    provenance: Mapping[str, object]
