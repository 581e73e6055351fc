"""Routers that are networks, one step at a time: the graph in ONNX Runtime on the CPU, everything after it in NumPy.

What the core does with the logits must agree with this. It also runs what the core refuses to: float16 graphs without a GPU, slowly.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.artifact.calibration import calibrate

Floats = NDArray[np.float64]


class ReferenceNetwork:
    """An artifact of kind ``bert`` (with labels) or ``causal_llm``.

    Args:
        path: Artifact folder.
    """

    def __init__(self, path: str | Path) -> None:
        import onnxruntime

        folder = Path(path)
        self.manifest = json.loads((folder / "router.json").read_text(encoding="utf-8"))
        self._session = onnxruntime.InferenceSession(
            folder / self.manifest["graph"], providers=["CPUExecutionProvider"]
        )

    def logits(self, encodings: Sequence[Sequence[int]]) -> Floats:
        """Rows of the graph's output, float64 ``[prompts, labels or vocabulary]``, of prompts that share one run.

        Args:
            encodings: Token ids of each prompt, special tokens and the texts around it included.
        """
        if not encodings:
            return np.empty((0, self._session.get_outputs()[0].shape[-1]))
        tokens = max(1, *(len(ids) for ids in encodings))
        ids, mask = (np.zeros((len(encodings), tokens), dtype=np.int64) for _ in range(2))
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)], mask[row, : len(encoding)] = encoding, 1
        (found,) = self._session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        return np.asarray(found, dtype=np.float64)

    def win_rates(self, encodings: Sequence[Sequence[int]]) -> Floats:
        """Calibrated win rates, float64 ``[prompts]``, of prompts that share one run."""
        read = self._generated if self.manifest["kind"] == "causal_llm" else self._labeled
        logits = [read(list(ids), row) for ids, row in zip(encodings, self.logits(encodings), strict=True)]
        return np.array(
            [1.0 if logit == np.inf else calibrate(logit, self.manifest["calibration"]) for logit in logits]
        )

    def _labeled(self, ids: list[int], row: Floats) -> float:
        """Logit of the softmax at ``strong``; of a single label, its own."""
        strong = self.manifest["labels"].index("strong")
        others = np.delete(row, strong)
        return float(row[strong] - (np.logaddexp.reduce(others) if len(others) else 0.0))

    def _generated(self, ids: list[int], row: Floats) -> float:
        """Logit of the scores 1 to 3 at the first score token among the greedy ones; infinite if none comes."""
        generation: dict[str, Any] = self.manifest["generation"]
        scores, limit = generation["score_tokens"], self.manifest["tokenizer"]["max_tokens"]
        for position in range(generation["max_new_tokens"]):
            token = int(row.argmax())
            if token in scores:
                return float(np.logaddexp.reduce(row[scores[:3]]) - np.logaddexp.reduce(row[scores[3:]]))
            if token in generation["end_tokens"] or len(ids) >= limit or position + 1 == generation["max_new_tokens"]:
                break
            ids.append(token)
            row = self.logits([ids])[0]
        return float(np.inf)
