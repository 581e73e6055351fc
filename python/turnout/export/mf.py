"""From a trained matrix-factorisation router to its artifact: fold, quantise, pick quantiles, write the card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import turnout
from turnout.export.artifact import ArtifactSpec, write_artifact
from turnout.export.card import model_card
from turnout.export.fold import fold_first_layer
from turnout.export.onnx import MatrixFactorizationHead, static_graph

if TYPE_CHECKING:
    from turnout.train import TrainedMf

#: Quantiles of the win rate that an artifact stores: one for every hundredth, and both ends.
QUANTILES = 101


@dataclass(frozen=True)
class Origin:
    """Where a router comes from, for its card and its manifest.

    Attributes:
        name: Name of the router.
        licence: Licence of the weights, an SPDX expression.
        recipe: Command that made it.
        data: One entry a training file: ``file``, ``rows``, ``sha256``.
        dev_data: The same for the dev tables, which were not trained on.
        notes: Markdown on the origin and the licences of the data and of the teacher.
    """

    name: str
    licence: str
    recipe: str
    data: Sequence[Mapping[str, Any]]
    dev_data: Sequence[Mapping[str, Any]]
    notes: str


def tokenizer_of(text: str) -> bytes:
    """A ``tokenizer.json`` without the parts that the router does not use: special tokens around a text, padding, truncation.

    Args:
        text: The teacher's ``tokenizer.json``.

    Returns:
        The text of the artifact's.
    """
    document = json.loads(text)
    for part in ("truncation", "padding", "post_processor", "decoder"):
        document[part] = None
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def write_mf(
    trained: TrainedMf, tokenizer: str, calibration_prompts: Sequence[Sequence[str]], origin: Origin, out: Path
) -> Path:
    """Writes the artifact of a trained router.

    Args:
        trained: The router.
        tokenizer: The teacher's ``tokenizer.json``.
        calibration_prompts: Prompts by source. The quantiles of the win rate are taken over all of them, each source with the
            same weight; the default threshold is their median.
        origin: For the card.
        out: Folder, made if it is missing.

    Returns:
        The folder.
    """
    encoder = fold_first_layer(
        trained.encoder.token_rows,
        trained.encoder.count_table,
        trained.encoder.hidden.weight,
        trained.encoder.hidden.bias,
        trained.activation,
    )
    head = MatrixFactorizationHead(trained.projection, trained.factor_weights, trained.model_vectors)
    spec = ArtifactSpec(
        name=origin.name,
        models=trained.models,
        strong=trained.strong,
        weak=trained.weak,
        encoder={"kind": "graph", "dim": len(trained.encoder.hidden.bias)},
        max_tokens=trained.max_tokens,
        provenance={
            "licence": origin.licence,
            "recipe": origin.recipe,
            "data": [dict(entry) for entry in origin.data],
            "dev_data": [dict(entry) for entry in origin.dev_data],
            "notes": origin.notes,
            "training": dict(trained.report),
        },
    )
    graph = static_graph(encoder, head)
    write_artifact(out, spec, graph=graph, tokenizer=tokenizer_of(tokenizer))
    # The written router itself says its quantiles: they belong to the quantised weights.
    quantiles = win_rate_quantiles(turnout.load(out), calibration_prompts)
    spec = replace(spec, quantiles=quantiles, default_threshold=quantiles[len(quantiles) // 2])
    card = model_card(spec, trained.dev)
    return write_artifact(out, spec, graph=graph, tokenizer=tokenizer_of(tokenizer), documents={"README.md": card})


def win_rate_quantiles(router: turnout.Router, sources: Sequence[Sequence[str]]) -> list[float]:
    """Win rates at 0, 1, ..., 100 per cent of prompts, every source with the same weight.

    Args:
        router: The router.
        sources: Prompts by source.

    Returns:
        ``QUANTILES`` numbers, never falling.
    """
    win_rates = [router.win_rates(prompts) for prompts in sources if prompts]
    values = np.concatenate(win_rates)
    weights = np.concatenate([np.full(len(part), 1.0 / len(part)) for part in win_rates])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    places = np.minimum(np.searchsorted(reached, np.linspace(0, 1, QUANTILES) - 1e-9), len(values) - 1)
    return [float(value) for value in values[order][places]]
