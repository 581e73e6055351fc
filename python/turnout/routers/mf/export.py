"""From a trained matrix-factorisation router to its artifact: fold, quantise, pick quantiles, write the card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import turnout
from turnout.artifact.card import model_card
from turnout.artifact.origin import Origin
from turnout.artifact.quantiles import weighted_quantiles
from turnout.artifact.writer import ArtifactSpec, write_artifact
from turnout.graphs.fold import fold_first_layer
from turnout.graphs.static import MatrixFactorizationHead, static_graph

if TYPE_CHECKING:
    from turnout.routers.mf.model import TrainedMf


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
        provenance=origin.provenance(trained.report),
    )
    graph = static_graph(encoder, head)
    write_artifact(out, spec, graph=graph, tokenizer=tokenizer_of(tokenizer))
    # The written router itself says its quantiles: they belong to the quantised weights.
    router = turnout.load(out)
    quantiles = weighted_quantiles([router.win_rates(prompts) for prompts in calibration_prompts])
    spec = replace(spec, quantiles=quantiles, default_threshold=quantiles[len(quantiles) // 2])
    card = model_card(spec, trained.dev)
    return write_artifact(out, spec, graph=graph, tokenizer=tokenizer_of(tokenizer), documents={"README.md": card})
