"""From a trained transformer router to its artifact: quantize, pick quantiles, write the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from turnout.artifact.finish import finish
from turnout.artifact.manifest import Manifest
from turnout.artifact.origin import Origin
from turnout.artifact.staged import staged
from turnout.artifact.text_rules import TEXT_RULES
from turnout.artifact.tokenizer import tokenizer_of
from turnout.artifact.writer import write_artifact
from turnout.graphs.static import MatrixFactorizationHead
from turnout.graphs.transformer import TransformerEncoder, TransformerLayer, transformer_graph
from turnout.routers.bert.card import bert_card

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
    manifest = Manifest(
        name=origin.name,
        kind="bert",
        models=trained.models,
        strong=trained.strong,
        weak=trained.weak,
        encoder={"kind": "graph", "dim": len(trained.hidden.bias)},
        provenance=origin.provenance(trained.report),
    )
    sizes = trained.transformer.config
    with staged(out) as folder:
        write_artifact(
            folder,
            manifest,
            graph=bert_graph(trained),
            tokenizer=tokenizer_of(tokenizer),
            max_tokens=trained.max_tokens,
            text_rules=TEXT_RULES,
        )
        finish(
            folder,
            calibration_prompts,
            lambda _: trained.dev,
            lambda written, dev: bert_card(written, sizes, dev, beside or {}),
        )
    return out


def _linear(layer: nn.Linear) -> tuple[Floats, Floats]:
    return layer.weight.detach().numpy().T, layer.bias.detach().numpy()


def _stacked(first: nn.LayerNorm, second: nn.LayerNorm) -> Floats:
    parts = [part.detach().numpy() for norm in (first, second) for part in (norm.weight, norm.bias)]
    return np.stack(parts).astype(np.float32)
