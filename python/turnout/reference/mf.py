"""The whole router in NumPy, slow and plain: the specification that the core must agree with.

Token ids come from the ``tokenizers`` package; everything after them is here, in double precision.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.artifact.calibration import calibrate, sigmoid

__all__ = ["ReferenceRouter", "calibrate", "encode", "model_scores", "sigmoid"]

Floats = NDArray[np.float64]


def encode(ids: Sequence[int], weights: dict[str, NDArray[Any]], activation: str = "identity") -> Floats:
    """Static embedding of one prompt.

    ``activation(mean + log1p(relu(counts)) @ feature_weight + bias)`` where ``mean`` is the mean over tokens of the dequantized
    rows and ``counts`` the sum over tokens of the counting rows. A prompt without tokens has mean and counts of zero.

    With views, ``mean`` is the sum of the rows divided by the square root of their number, plus the same of the first and of the
    last tokens, each times a gain for every number.

    Args:
        ids: Token ids.
        weights: Initializers of the graph by name.
        activation: ``"identity"``, ``"relu"``, ``"tanh"`` or ``"gelu"`` (tanh form, "Gaussian Error Linear Units (GELUs)", arXiv 1606.08415, section 2).

    Returns:
        float64 ``[dim]``.
    """
    rows = weights["token_table"][list(ids)].astype(np.float64) * weights["row_scale"][list(ids)]
    if "first_gain" in weights:
        mean = rows.sum(axis=0) / np.sqrt(max(len(rows), 1))
        first = rows[: int(weights["first_tokens"][0])]
        last = rows[max(len(rows) - int(weights["last_tokens"][0]), 0) :]
        for view, gain in ((first, weights["first_gain"]), (last, weights["last_gain"])):
            mean = mean + gain.astype(np.float64) * view.sum(axis=0) / np.sqrt(max(len(view), 1))
    else:
        mean = rows.sum(axis=0) / max(len(rows), 1)
    counts = weights["count_table"][list(ids)].astype(np.float64).sum(axis=0)
    features = np.log1p(np.maximum(counts, 0.0))
    before = mean + features @ weights["feature_weight"] + weights["bias"]
    functions: dict[str, Callable[[Floats], Floats]] = {
        "identity": lambda x: x,
        "relu": lambda x: np.maximum(x, 0.0),
        "tanh": np.tanh,
        "gelu": lambda x: 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))),
    }
    embedding: Floats = functions[activation](before)
    return embedding


def model_scores(embedding: Floats, weights: dict[str, NDArray[Any]]) -> Floats:
    """Score of every model: ``w2 . (v_m * (W1 e))`` ("RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665, section 4.2).

    Args:
        embedding: ``[dim]`` or ``[prompts, dim]``.
        weights: Initializers of the graph: ``projection`` is ``W1`` transposed, ``model_heads`` holds ``w2 * v_m`` in columns.

    Returns:
        float64 ``[models]`` or ``[prompts, models]``.
    """
    projected = embedding @ weights["projection"].astype(np.float64)
    scores: Floats = projected @ weights["model_heads"].astype(np.float64)
    return scores


def token_ids(prompt: str, tokenizer: Any, spec: dict[str, Any]) -> list[int]:
    """Token ids of a prompt by the rules of an artifact.

    Args:
        prompt: A text.
        tokenizer: A ``tokenizers.Tokenizer`` without truncation and padding.
        spec: The manifest's ``tokenizer``.

    Returns:
        At most ``max_tokens`` ids, special tokens included.
    """
    if spec.get("short_prompts") == "plain" and len(prompt.encode()) <= 128:
        words = [word for word in prompt.replace("\t", " ").replace("\n", " ").replace("\r", " ").split(" ") if word]
        bare = prompt.strip(" \t\n\r.,!?;'\"…“”„‘’«»¡¿、。！？，；．")
        if len(words) <= 3 and bare:
            prompt = bare.lower()
    ids: list[int] = tokenizer.encode(prompt, add_special_tokens=False).ids
    around: list[int] = tokenizer.encode("").ids
    limit = spec["max_tokens"] - len(around)
    if len(ids) > limit:
        tail = limit // 2 if spec.get("truncation") == "head_tail" else 0
        ids = ids[: limit - tail] + ids[len(ids) - tail :]
    if spec.get("courtesy"):
        ids = _without_courtesy(ids, tokenizer, spec["courtesy"])
    # The first special token is before the text, the others after it.
    return [*around[:1], *ids, *around[1:]]


@functools.lru_cache(maxsize=16)
def _encoded(tokenizer: Any, texts: tuple[str, ...]) -> list[list[int]]:
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def _without_courtesy(ids: list[int], tokenizer: Any, spec: dict[str, list[str]]) -> list[int]:
    """Ids without polite phrases at their ends: a run of phrases and fillers goes, up to its last phrase."""

    def rows(name: str) -> list[list[int]]:
        return _encoded(tokenizer, tuple(spec.get(name, [])))

    def reach(ids: list[int], phrases: list[list[int]], fillers: list[list[int]]) -> int:
        at = reached = 0
        while True:
            begins = [
                (len(row), kind)
                for kind, all_ in ((1, phrases), (0, fillers))
                for row in all_
                if ids[at : at + len(row)] == row
            ]
            if at == len(ids) or not begins:
                return reached
            length, is_phrase = max(begins)
            at += length
            reached = at if is_phrase else reached

    front = reach(ids, rows("openings"), rows("opening_fillers"))
    backward = [[row[::-1] for row in rows(name)] for name in ("closings", "closing_fillers")]
    back = reach(ids[::-1], *backward)
    return ids if front + back >= len(ids) else ids[front : len(ids) - back]


class ReferenceRouter:
    """An artifact executed in NumPy.

    Args:
        path: Artifact folder.
        strong: Strong model; a name that the artifact does not know stands for the strong model of the trained pair.
        weak: Weak model, likewise.
    """

    def __init__(self, path: str | Path, strong: str | None = None, weak: str | None = None) -> None:
        import onnx
        from onnx import numpy_helper

        folder = Path(path)
        self.manifest = json.loads((folder / "router.json").read_text(encoding="utf-8"))
        graph = onnx.load(str(folder / self.manifest["graph"])).graph
        self.weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        operators = {node.op_type for node in graph.node if "embedding" in node.output}
        self.activation = operators.pop().lower() if operators & {"Relu", "Tanh", "Gelu"} else "identity"
        self.tokenizer = None
        if self.manifest["tokenizer"] is not None:
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(folder / self.manifest["tokenizer"]["file"]))
            self.tokenizer.no_padding()
            self.tokenizer.no_truncation()
        pair = self.manifest["pair"]
        models = self.manifest["models"]
        self.strong, self.weak = (
            models.index(name if name in models else pair[role]) for role, name in (("strong", strong), ("weak", weak))
        )

    def ids(self, prompt: str) -> list[int]:
        """Token ids of a prompt."""
        if self.tokenizer is None:
            raise ValueError("this artifact takes embeddings, not prompts")
        return token_ids(prompt, self.tokenizer, self.manifest["tokenizer"])

    def model_scores(self, prompt: str) -> Floats:
        """Score of every model, float64 ``[models]``."""
        return model_scores(encode(self.ids(prompt), self.weights, self.activation), self.weights)

    def win_rate(self, prompt: str) -> float:
        """Calibrated win rate of one prompt."""
        scores = self.model_scores(prompt)
        return float(calibrate(scores[self.strong] - scores[self.weak], self.manifest["calibration"]))

    def win_rates_of_embeddings(self, embeddings: NDArray[Any]) -> Floats:
        """Calibrated win rates of embeddings ``[prompts, dim]``."""
        scores = model_scores(embeddings.astype(np.float64), self.weights)
        return calibrate(scores[:, self.strong] - scores[:, self.weak], self.manifest["calibration"])
