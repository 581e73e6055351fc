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

from turnout.graphs.precision import Precision

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ArtifactSpec:
    """What ``router.json`` says about a router, without the hashes, which :func:`write_artifact` computes.

    Attributes:
        name: Name of the router, for people.
        kind: Kind of router: ``"mf"``, ``"sw_ranking"``, ``"bert"`` or ``"causal_llm"``.
        models: Models in the order of the graph's ``model_scores``.
        strong: Strong model of the trained pair.
        weak: Weak model of the trained pair.
        encoder: ``{"kind": "graph" | "external", "dim": d}``.
        max_tokens: Token limit; ``None`` where embeddings come from the caller.
        default_threshold: Threshold on the win rate, in ``[0, 1]``.
        quantiles: Calibrated win rates at evenly spaced quantiles of calibration prompts, never falling; may be empty.
        calibration: ``{"kind": "identity"}``, ``{"kind": "platt", ...}`` or ``{"kind": "isotonic", ...}``.
        provenance: Data, rows, licences, recipe, scores.
        ranking: The section of that name, for kind ``"sw_ranking"``.
        graph_precision: Of the graph's matrices; other than float32 for ``"bert"`` and ``"causal_llm"`` alone.
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
    ranking: Mapping[str, Any] | None = None
    graph_precision: Precision = "float32"
    sections: Mapping[str, Any] = field(default_factory=dict)


def write_artifact(
    folder: Path,
    spec: ArtifactSpec,
    *,
    graph: bytes | None,
    tokenizer: bytes | None = None,
    files: Mapping[str, bytes] | None = None,
    documents: Mapping[str, str] | None = None,
    data: Path | None = None,
) -> Path:
    """Writes an artifact folder; the manifest comes last and in one step, so a reader never sees half an artifact.

    Args:
        folder: Made if it is missing. Files of the same names are replaced.
        spec: What was trained.
        graph: Serialised ONNX model; ``None`` for a kind that needs none with an external encoder.
        tokenizer: Text of a ``tokenizer.json``; needed unless the encoder is external.
        files: Further files of the router by name, listed in the manifest.
        documents: Further texts by file name, such as ``README.md``; not listed in the manifest.
        data: File in the folder, already written, that holds weights of the graph.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = dict(files or {})
    if graph is not None:
        contents["model.onnx"] = graph
    if tokenizer is not None:
        contents["tokenizer.json"] = tokenizer
    for name, content in contents.items():
        replace_file(folder / name, content)
    for name, text in (documents or {}).items():
        replace_file(folder / name, text.encode())
    manifest = {
        "format_version": FORMAT_VERSION,
        "name": spec.name,
        "kind": spec.kind,
        "models": list(spec.models),
        "pair": {"strong": spec.strong, "weak": spec.weak},
        "encoder": dict(spec.encoder),
        **spec.sections,
        "graph": None if graph is None else "model.onnx",
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
    if spec.ranking is not None:
        manifest["ranking"] = dict(spec.ranking)
    if spec.graph_precision != "float32":
        manifest["graph_precision"] = spec.graph_precision
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
    replace_file(folder / "router.json", (text + "\n").encode())
    return folder


def _entry_of(file: Path) -> dict[str, Any]:
    """Size and hash of a file that may be larger than memory."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return {"bytes": file.stat().st_size, "sha256": digest.hexdigest()}


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file in one step: a reader, or a crash, finds the old content or the new, never a part.

    Args:
        path: The file.
        content: All of it; on the disk when this returns.
    """
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


def sync_folder(folder: Path) -> None:
    """Makes renames and new names in a folder survive a crash; nothing to do where folders cannot be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
