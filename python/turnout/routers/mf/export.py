"""From a trained matrix-factorization router to its artifact: fold, quantize, pick quantiles, write the card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.artifact.finish import finish
from turnout.artifact.manifest import Manifest
from turnout.artifact.origin import Origin
from turnout.artifact.staged import staged
from turnout.artifact.text_rules import TEXT_RULES
from turnout.artifact.tokenizer import tokenizer_of
from turnout.artifact.writer import write_artifact
from turnout.graphs.fold import fold_first_layer
from turnout.graphs.static import MatrixFactorizationHead, static_graph
from turnout.routers.mf.card import mf_card

if TYPE_CHECKING:
    from turnout.training.matrix_factorization import TrainedMf


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
    manifest = Manifest(
        name=origin.name,
        models=trained.models,
        strong=trained.strong,
        weak=trained.weak,
        encoder={"kind": "graph", "dim": len(trained.encoder.hidden.bias)},
        provenance=origin.provenance(trained.report),
    )
    with staged(out) as folder:
        write_artifact(
            folder,
            manifest,
            graph=static_graph(encoder, head),
            tokenizer=tokenizer_of(tokenizer),
            max_tokens=trained.max_tokens,
            text_rules=TEXT_RULES,
        )
        finish(folder, calibration_prompts, lambda _: trained.dev, mf_card)
    return out
