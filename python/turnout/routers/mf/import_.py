"""Imports RouteLLM's matrix factorization checkpoints (the layout of ``routellm/mf_gpt4_augmented``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ArtifactError, ConfigError
from turnout.routers.mf.routellm_models import MODEL_NAMES

_KEYS = ("P.weight", "text_proj.0.weight", "classifier.0.weight")


def import_mf(
    checkpoint: str | Path,
    out: str | Path,
    *,
    strong: str = "gpt-4-1106-preview",
    weak: str = "mixtral-8x7b-instruct-v0.1",
    models: Sequence[str] | None = None,
    embedding_model: str = "text-embedding-3-small",
    threshold: float = 0.5,
    name: str = "routellm-mf",
) -> Path:
    """Writes an artifact that takes embeddings from the caller and gives RouteLLM's win rates.

    ``win_rate = sigmoid(w2 . ((v_strong - v_weak) * (W1 e)))`` with model vectors of unit length; the embedding is
    taken as it is, its
    length matters ("RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665, section 4.2, and RouteLLM's code).

    Args:
        checkpoint: Folder with ``model.safetensors`` (``P.weight``, ``text_proj.0.weight``, ``classifier.0.weight``) and
            ``config.json``.
        out: Artifact folder to write.
        strong: Strong model.
        weak: Weak model.
        models: Names of the rows of ``P``; by default RouteLLM's 64.
        embedding_model: Embedding model the checkpoint was trained with, for the record and for clients.
        threshold: Default threshold. RouteLLM's own thresholds hold here unchanged: 0.11593 sends half of the arena's prompts to
            the strong model with ``mf_gpt4_augmented``.
        name: Of the artifact.

    Returns:
        The artifact folder.

    Raises:
        ArtifactError: The checkpoint is not of this layout; names file and tensor.
        ConfigError: A model is not among the rows.
    """
    from turnout.artifact.manifest import Manifest
    from turnout.artifact.writer import write_artifact
    from turnout.graphs.static import MatrixFactorizationHead, external_graph

    checkpoint, out = Path(checkpoint), Path(out)
    head = MatrixFactorizationHead(**_weights(checkpoint))
    names = list(MODEL_NAMES if models is None else models)
    if len(names) != len(head.models):
        raise ConfigError(
            f"{checkpoint} has {len(head.models)} models, found {len(names)} names: give one name for each row"
        )
    for side, model in (("strong", strong), ("weak", weak)):
        if model not in names:
            raise ConfigError(f"the {side} model {model!r} is not among the {len(names)} models of {checkpoint}")
    spec = Manifest(
        name=name,
        models=names,
        strong=strong,
        weak=weak,
        encoder={"kind": "external", "dim": int(head.w1.shape[1])},
        default_threshold=threshold,
        provenance={
            "imported_from": f"RouteLLM matrix factorization checkpoint {checkpoint.name}",
            "embedding_model": embedding_model,
        },
    )
    return write_artifact(out, spec, graph=external_graph(head))


def _weights(checkpoint: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    file, config_file = checkpoint / "model.safetensors", checkpoint / "config.json"
    for needed in (file, config_file):
        if not needed.is_file():
            raise ArtifactError.at(needed, "missing, expected a checkpoint with model.safetensors and config.json")
    try:
        config = json.loads(config_file.read_text(encoding="utf-8-sig"))
        tensors = load_file(file)
    except (ValueError, RecursionError, SafetensorError) as error:
        raise ArtifactError.at(checkpoint, f"{error}") from error
    projected = bool(config.get("use_proj", True)) if isinstance(config, dict) else True
    keys = _KEYS if projected else (_KEYS[0], _KEYS[2])
    for key in keys:
        if key not in tensors:
            raise ArtifactError.at(file, f"tensor {key!r} is missing; found {', '.join(sorted(tensors))}")
        if tensors[key].ndim != 2 or not np.issubdtype(tensors[key].dtype, np.floating):
            raise ArtifactError.at(
                file, f"tensor {key!r} is {tensors[key].dtype} {list(tensors[key].shape)}, expected a float matrix"
            )
    rows, classifier = tensors["P.weight"], tensors["classifier.0.weight"]
    dim = rows.shape[1]
    w1 = tensors["text_proj.0.weight"] if projected else np.eye(dim)
    if w1.shape[0] != dim or classifier.shape != (1, dim):
        raise ArtifactError.at(
            file,
            f"P.weight {list(rows.shape)}, text_proj {list(w1.shape)} and classifier {list(classifier.shape)} "
            f"do not match: expected [models, d], [d, text], [1, d]",
        )
    stored = {"dim": dim, "num_models": rows.shape[0], "text_dim": w1.shape[1], "num_classes": 1}
    for field, value in stored.items():
        if isinstance(config, dict) and config.get(field, value) != value:
            raise ArtifactError.at(config_file, f"{field} is {config[field]}, but the tensors have {value}")
    found = {"w1": w1, "w2": classifier[0], "models": rows}
    return {name: np.asarray(array, dtype=np.float32) for name, array in found.items()}


def tiny_checkpoint(folder: str | Path, *, text_dim: int = 2, dim: int = 4, seed: int = 0) -> Path:
    """Writes a checkpoint of this layout with random weights, for examples and tests."""
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    count = len(MODEL_NAMES)
    shapes = {"P.weight": (count, dim), "text_proj.0.weight": (dim, text_dim), "classifier.0.weight": (1, dim)}
    tensors = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    config: dict[str, Any] = {"dim": dim, "num_classes": 1, "num_models": count, "text_dim": text_dim, "use_proj": True}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
