"""The only writer of artifact folders. ``models/README.md`` is the contract; the core's ``artifact.rs`` reads it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ArtifactSpec:
    """What ``router.json`` says about a router, without the hashes, which :func:`write_artifact` computes.

    Attributes:
        name: Name of the router, for people.
        kind: Kind of router: ``"mf"``, ``"bert"`` or ``"causal_llm"``.
        models: Models in the order of the graph's ``model_scores``.
        strong: Strong model of the trained pair.
        weak: Weak model of the trained pair.
        encoder: ``{"kind": "graph" | "external", "dim": d}``.
        max_tokens: Token limit; ``None`` where embeddings come from the caller.
        default_threshold: Threshold on the win rate, in ``[0, 1]``.
        quantiles: Calibrated win rates at evenly spaced quantiles of calibration prompts, never falling; may be empty.
        calibration: ``{"kind": "identity"}``, ``{"kind": "platt", ...}`` or ``{"kind": "isotonic", ...}``.
        provenance: Data, rows, licences, recipe, scores.
        sections: Fields of this kind alone: ``labels`` of ``bert``, ``generation`` of ``causal_llm``.
    """

    name: str
    models: Sequence[str]
    strong: str
    weak: str
    encoder: Mapping[str, Any]
    kind: str = "mf"
    max_tokens: int | None = None
    default_threshold: float = 0.5
    quantiles: Sequence[float] = ()
    calibration: Mapping[str, Any] = field(default_factory=lambda: {"kind": "identity"})
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sections: Mapping[str, Any] = field(default_factory=dict)


def write_artifact(
    folder: Path,
    spec: ArtifactSpec,
    *,
    graph: bytes,
    tokenizer: bytes | None = None,
    documents: Mapping[str, str] | None = None,
    data: Path | None = None,
) -> Path:
    """Writes an artifact folder; the manifest comes last and in one step, so a reader never sees half an artifact.

    Args:
        folder: Made if it is missing. Files of the same names are replaced.
        spec: What was trained.
        graph: Serialised ONNX model.
        tokenizer: Text of a ``tokenizer.json``; needed unless the encoder is external.
        documents: Further texts by file name, such as ``README.md``; not listed in the manifest.
        data: File in the folder, already written, that holds weights of the graph.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {"model.onnx": graph}
    if tokenizer is not None:
        contents["tokenizer.json"] = tokenizer
    for name, content in contents.items():
        _replace(folder / name, content)
    for name, text in (documents or {}).items():
        _replace(folder / name, text.encode())
    manifest = {
        "format_version": FORMAT_VERSION,
        "name": spec.name,
        "kind": spec.kind,
        "models": list(spec.models),
        "pair": {"strong": spec.strong, "weak": spec.weak},
        "encoder": dict(spec.encoder),
        **spec.sections,
        "graph": "model.onnx",
        "tokenizer": None if tokenizer is None else {"file": "tokenizer.json", "max_tokens": spec.max_tokens},
        "calibration": dict(spec.calibration),
        "thresholds": {"default": spec.default_threshold, "quantiles": list(spec.quantiles)},
        "provenance": dict(spec.provenance),
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        }
        | ({data.name: _entry_of(data)} if data else {}),
    }
    return rewrite_manifest(folder, manifest)


def rewrite_manifest(folder: Path, manifest: Mapping[str, Any]) -> Path:
    """Replaces ``router.json`` in one step.

    Args:
        folder: An artifact folder.
        manifest: The whole manifest.

    Returns:
        The folder.
    """
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    _replace(folder / "router.json", (text + "\n").encode())
    return folder


def _entry_of(file: Path) -> dict[str, Any]:
    """Size and hash of a file that may be larger than memory."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
