"""``router.json``: what an artifact says about itself. ``models/README.md`` is the contract; the core reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnout.artifact.text_rules import TEXT_RULES
from turnout.durable_files import replace_file
from turnout.graphs.precision import Precision

MANIFEST = "router.json"
GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Manifest:
    """The manifest of an artifact.

    Attributes:
        name: Name of the router, for people.
        kind: Kind of router: ``"mf"``, ``"sw_ranking"``, ``"bert"`` or ``"causal_llm"``.
        models: Models in the order of the graph's ``model_scores``.
        strong: Strong model of the trained pair.
        weak: Weak model of the trained pair.
        encoder: ``{"kind": "graph" | "external", "dim": d}``.
        graph: File of the ONNX graph; ``None`` for a kind that needs none with an external encoder.
        tokenizer: The section of that name; ``None`` where embeddings come from the caller.
        calibration: ``{"kind": "identity"}``, ``{"kind": "platt", ...}`` or ``{"kind": "isotonic", ...}``.
        default_threshold: Threshold on the win rate, in ``[0, 1]``.
        quantiles: Calibrated win rates at evenly spaced quantiles of calibration prompts, never falling; may be empty.
        provenance: Data, rows, licenses, recipe, scores.
        files: Size and SHA-256 of every file of the router, by name.
        ranking: The section of that name, for kind ``"sw_ranking"``.
        graph_precision: Of the graph's matrices; other than float32 for ``"bert"`` and ``"causal_llm"`` only.
        sections: Fields of this kind alone: ``labels`` of ``bert``, ``generation`` of ``causal_llm``.
    """

    name: str
    models: Sequence[str]
    strong: str
    weak: str
    encoder: Mapping[str, Any]
    kind: str = "mf"
    graph: str | None = None
    tokenizer: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] = field(default_factory=lambda: {"kind": "identity"})
    default_threshold: float = 0.5
    quantiles: Sequence[float] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ranking: Mapping[str, Any] | None = None
    graph_precision: Precision = "float32"
    sections: Mapping[str, Any] = field(default_factory=dict)

    @property
    def max_tokens(self) -> int | None:
        """Token limit of a prompt; ``None`` where embeddings come from the caller."""
        return None if self.tokenizer is None else int(self.tokenizer["max_tokens"])

    @property
    def reading(self) -> str:
        """What the router reads of long and of short prompts, in a sentence or two; empty where embeddings come from the caller."""
        if self.tokenizer is None:
            return ""
        limit = self.max_tokens or 0
        parts = "beginning"
        if self.tokenizer.get("truncation") == "head_tail":
            parts = f"first and the last {limit // 2}, so that a question before or after a document counts"
        long = f"Of a prompt longer than {limit} tokens it reads the {parts}."
        short = " Case and punctuation at the ends of a prompt of at most three words are ignored."
        polite = ' Greetings, polite words and labels such as "Answer:" at the ends of a prompt are not read.'
        rules = ((self.tokenizer.get("short_prompts") == "plain", short), ("courtesy" in self.tokenizer, polite))
        return long + "".join(text for declared, text in rules if declared)

    def to_json(self) -> dict[str, Any]:
        """The content of ``router.json``, as plain values."""
        # Version 2 is version 1 with the rules for text; the lowest version that says everything is read by most builds.
        has_rules = self.tokenizer is not None and not set(TEXT_RULES).isdisjoint(self.tokenizer)
        content = {
            "format_version": 2 if has_rules else 1,
            "name": self.name,
            "kind": self.kind,
            "models": list(self.models),
            "pair": {"strong": self.strong, "weak": self.weak},
            "encoder": dict(self.encoder),
            **self.sections,
            "graph": self.graph,
            "tokenizer": None if self.tokenizer is None else dict(self.tokenizer),
            "calibration": dict(self.calibration),
            "thresholds": {"default": self.default_threshold, "quantiles": list(self.quantiles)},
            "provenance": dict(self.provenance),
            "files": {name: dict(entry) for name, entry in self.files.items()},
        }
        if self.ranking is not None:
            content["ranking"] = dict(self.ranking)
        if self.graph_precision != "float32":
            content["graph_precision"] = self.graph_precision
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Manifest:
        """The inverse of :meth:`to_json`.

        Args:
            content: The content of a ``router.json`` that the core has accepted.
        """
        rest = dict(content)
        rest.pop("format_version")
        pair, thresholds = rest.pop("pair"), rest.pop("thresholds")
        known = {name: rest.pop(name) for name in _SAME_NAMES if name in rest}
        return cls(
            strong=pair["strong"],
            weak=pair["weak"],
            default_threshold=thresholds["default"],
            quantiles=thresholds["quantiles"],
            sections=rest,
            **known,
        )

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of an artifact folder.

        Args:
            folder: An artifact that the core accepts.
        """
        return cls.from_json(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))

    def write(self, folder: Path) -> Path:
        """Replaces ``router.json`` in one step.

        Args:
            folder: An artifact folder.

        Returns:
            The folder.
        """
        return rewrite_manifest(folder, self.to_json())


def rewrite_manifest(folder: Path, content: Mapping[str, Any]) -> Path:
    """Replaces ``router.json`` in one step.

    Args:
        folder: An artifact folder.
        content: All of it.

    Returns:
        The folder.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(folder / MANIFEST, (text + "\n").encode())
    return folder


_SAME_NAMES = (
    "name",
    "kind",
    "models",
    "encoder",
    "graph",
    "tokenizer",
    "calibration",
    "provenance",
    "files",
    "ranking",
    "graph_precision",
)
