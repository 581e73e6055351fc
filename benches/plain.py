"""The same router in plain Python, as a careful engineer would write it: what turnout is measured against."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from tokenizers import Tokenizer

ARTIFACT = Path(__file__).parent.parent / "python" / "turnout" / "artifacts" / "mf"
PROMPTS: dict[str, str] = json.loads((Path(__file__).parent / "prompts.json").read_text(encoding="utf-8"))


class _Plain:
    def __init__(self) -> None:
        self.manifest = json.loads((ARTIFACT / "router.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(ARTIFACT / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.limit = self.manifest["tokenizer"]["max_tokens"]
        self.openings, self.closings = self._phrases("opening", 1), self._phrases("closing", -1)
        models, pair = self.manifest["models"], self.manifest["pair"]
        self.strong, self.weak = models.index(pair["strong"]), models.index(pair["weak"])
        self.calibration = self.manifest["calibration"]
        self.knots = np.array(self.calibration.get("x", [])), np.array(self.calibration.get("y", []))

    def ids(self, prompt: str) -> list[int]:
        """Token ids: of a long prompt those of its beginning and of its end, of a short one without case and punctuation."""
        if len(prompt) <= 128 and len(prompt.split()) <= 3:
            prompt = prompt.strip(" .,!?;:'\"¡¿").lower() or prompt
        ids: list[int] = self.tokenizer.encode(prompt).ids
        tail = self.limit // 2
        ids = ids if len(ids) <= self.limit else ids[: self.limit - tail] + ids[-tail:]
        front, back = self._polite(ids, self.openings), self._polite(ids[::-1], self.closings)
        return ids if front + back >= len(ids) else ids[front : len(ids) - back]

    def _phrases(self, kind: str, step: int) -> tuple[dict[tuple[int, ...], bool], int]:
        """Polite phrases (true) and fillers (false) by their ids, read forward or backward, and the longest of them."""
        spec = self.manifest["tokenizer"].get("courtesy", {})
        found = {}
        for name, is_phrase in ((f"{kind}_fillers", False), (f"{kind}s", True)):
            for text in spec.get(name, []):
                found[tuple(self.tokenizer.encode(text, add_special_tokens=False).ids[::step])] = is_phrase
        return found, max(map(len, found), default=0)

    @staticmethod
    def _polite(ids: list[int], phrases: tuple[dict[tuple[int, ...], bool], int]) -> int:
        """Ids at the beginning that are a run of polite phrases and fillers, up to the last phrase."""
        known, longest = phrases
        at = reached = 0
        while at < len(ids):
            size = next((n for n in range(longest, 0, -1) if tuple(ids[at : at + n]) in known), 0)
            if not size:
                break
            reached = at + size if known[tuple(ids[at : at + size])] else reached
            at += size
        return reached

    def calibrated(self, logit: float) -> float:
        given = self.calibration
        if given["kind"] == "platt":
            logit = given["slope"] * logit + given["intercept"]
        raw = 1.0 / (1.0 + math.exp(-logit))
        return float(np.interp(raw, *self.knots)) if given["kind"] == "isotonic" else raw


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


class PlainNumpy(_Plain):
    """``tokenizers`` and NumPy, with the pair folded into one vector beforehand, as the core does."""

    def __init__(self) -> None:
        super().__init__()
        graph = onnx.load(str(ARTIFACT / "model.onnx")).graph
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.table, self.scale, self.counts = weights["token_table"], weights["row_scale"], weights["count_table"]
        self.feature_weight, self.bias = weights["feature_weight"], weights["bias"]
        self.views = [
            (slice(int(weights["first_tokens"][0])), weights["first_gain"]),
            (slice(-int(weights["last_tokens"][0]), None), weights["last_gain"]),
        ]
        heads = weights["model_heads"]
        self.pair = weights["projection"] @ (heads[:, self.strong] - heads[:, self.weak])
        last = next(node.op_type for node in graph.node if "embedding" in node.output)
        self.activation = {"Relu": lambda x: np.maximum(x, 0), "Tanh": np.tanh, "Gelu": _gelu}.get(last, lambda x: x)

    def embedding(self, ids: list[int]) -> np.ndarray:
        rows = self.table[ids] * self.scale[ids]
        total = rows.sum(axis=0) / max(len(ids), 1) ** 0.5
        for part, gain in self.views:
            view = rows[part]
            total += gain * (view.sum(axis=0) / max(len(view), 1) ** 0.5)
        features = np.log1p(np.maximum(self.counts[ids].sum(axis=0, dtype=np.float32), 0))
        return self.activation(total + features @ self.feature_weight + self.bias)

    def win_rate(self, prompt: str) -> float:
        return float(self.calibrated(float(self.embedding(self.ids(prompt)) @ self.pair)))


class PlainOnnx(_Plain):
    """``tokenizers`` and ``onnxruntime``, one thread."""

    def __init__(self) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = str(ARTIFACT / "model.onnx")
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.pair = {"strong": np.array(self.strong), "weak": np.array(self.weak)}

    def win_rate(self, prompt: str) -> float:
        ids = np.array([self.ids(prompt)], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), **self.pair}
        raw = float(self.session.run(["win_rate"], inputs)[0][0])
        return float(self.calibrated(np.log(raw / (1.0 - raw))))
