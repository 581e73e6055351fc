"""From a trained transformer router to its artifact: quantise, pick quantiles, write the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import turnout
from turnout.artifact.card import bert_card
from turnout.artifact.origin import Origin
from turnout.artifact.quantiles import weighted_quantiles
from turnout.artifact.writer import ArtifactSpec, write_artifact
from turnout.graphs.static import MatrixFactorizationHead
from turnout.graphs.transformer import TransformerEncoder, TransformerLayer, transformer_graph
from turnout.routers.mf.export import tokenizer_of

if TYPE_CHECKING:
    from torch import nn

    from turnout.evaluate.dev import DevResult
    from turnout.graphs.transformer import Floats
    from turnout.routers.bert.train import TrainedBert


def bert_graph(trained: TrainedBert) -> bytes:
    """The router's ONNX graph; see :func:`turnout.graphs.transformer.transformer_graph`."""
    transformer = trained.transformer
    layers = [
        TransformerLayer(
            norms=_stacked(layer.before_attention, layer.before_inner),
            query_key_value=_linear(layer.query_key_value),
            mix=_linear(layer.mix),
            widen=_linear(layer.widen),
            narrow=_linear(layer.narrow),
        )
        for layer in transformer.layers
    ]
    encoder = TransformerEncoder(
        token_rows=transformer.tokens.weight.detach().numpy(),
        positions=transformer.positions.detach().numpy(),
        layers=layers,
        heads=transformer.config.heads,
        opinions=trained.opinions,
        counts=trained.counts,
        weight=trained.hidden.weight,
        bias=trained.hidden.bias,
    )
    head = MatrixFactorizationHead(trained.projection, trained.factor_weights, trained.model_vectors)
    return transformer_graph(encoder, head)


def write_bert(
    trained: TrainedBert,
    tokenizer: str,
    calibration_prompts: Sequence[Sequence[str]],
    origin: Origin,
    out: Path,
    *,
    beside: Mapping[str, Sequence[DevResult]] | None = None,
) -> Path:
    """Writes the artifact of a trained router.

    Args:
        trained: The router.
        tokenizer: The teacher's ``tokenizer.json``.
        calibration_prompts: Prompts by source, for the quantiles; see :func:`turnout.routers.mf.export.write_mf`.
        origin: For the card.
        out: Folder, made if it is missing.
        beside: Dev scores of other routers by name, for the card.

    Returns:
        The folder.
    """
    spec = ArtifactSpec(
        name=origin.name,
        kind="bert",
        models=trained.models,
        strong=trained.strong,
        weak=trained.weak,
        encoder={"kind": "graph", "dim": len(trained.hidden.bias)},
        max_tokens=trained.max_tokens,
        provenance=origin.provenance(trained.report),
    )
    graph = bert_graph(trained)
    write_artifact(out, spec, graph=graph, tokenizer=tokenizer_of(tokenizer))
    # The written router itself says its quantiles: they belong to the quantised weights.
    router = turnout.load(out)
    quantiles = weighted_quantiles([router.win_rates(prompts) for prompts in calibration_prompts])
    spec = replace(spec, quantiles=quantiles, default_threshold=quantiles[len(quantiles) // 2])
    card = bert_card(spec, trained.transformer.config, trained.dev, beside or {})
    return write_artifact(out, spec, graph=graph, tokenizer=tokenizer_of(tokenizer), documents={"README.md": card})


def _linear(layer: nn.Linear) -> tuple[Floats, Floats]:
    return layer.weight.detach().numpy().T, layer.bias.detach().numpy()


def _stacked(first: nn.LayerNorm, second: nn.LayerNorm) -> Floats:
    parts = [part.detach().numpy() for norm in (first, second) for part in (norm.weight, norm.bias)]
    return np.stack(parts).astype(np.float32)
