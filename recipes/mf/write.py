"""From the trained student to the artifact: quantize, fit the vectors of all models, calibrate, write the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from turnout.artifact.card import PLANTED_WORDS, DevScore, model_card
from turnout.artifact.manifest import Manifest
from turnout.artifact.origin import Origin
from turnout.artifact.staged import staged
from turnout.artifact.text_rules import text_rules
from turnout.artifact.tokenizer import tokenizer_of
from turnout.artifact.writer import write_artifact
from turnout.data import file_record
from turnout.graphs.fold import quantize_rows
from turnout.graphs.static import MatrixFactorizationHead, StaticEncoder, View, static_graph
from turnout.training.tables import pair_examples

from .completion import complete
from .data import Data
from .student import FIRST, LAST, Student, StudentConfig, log_counts
from .vectors import VectorConfig, fit_vectors

MAX_TOKENS = 512
NOTES = Path(__file__).parent / "notes.md"


def write(
    out: Path,
    data: Data,
    student: Student,
    settings: StudentConfig,
    tokenizer: Path,
    counts: NDArray[np.float32],
    ids: dict[str, NDArray[np.int64]],
    files: Sequence[Path],
    dev: Sequence[Path],
) -> dict[str, Any]:
    """Writes the artifact and its card; returns scores on held-out prompts."""
    config = VectorConfig()
    examples = pair_examples(
        data.tables, data.battles, per_table=config.examples, min_battles=config.min_battles, seed=config.seed
    )
    known = np.array([prompt in ids for prompt in examples.prompts])
    examples = type(examples)(
        [prompt for prompt, kept in zip(examples.prompts, known, strict=True) if kept],
        examples.first[known],
        examples.second[known],
        examples.outcome[known],
        examples.models,
    )
    distinct = list(dict.fromkeys(examples.prompts))
    rows = [ids[prompt] for prompt in distinct]
    with torch.no_grad():
        parts = [
            student.embed(rows[at : at + 512], log_counts(rows[at : at + 512], counts)).numpy()
            for at in range(0, len(rows), 512)
        ]
        direction = student.direction.weight[0].numpy()
    row_of = {prompt: row for row, prompt in enumerate(distinct)}
    embedded = np.concatenate(parts)[[row_of[prompt] for prompt in examples.prompts]]
    projection, factor_weights, vectors, models = fit_vectors(direction, embedded, examples, config)

    table, scale = quantize_rows(student.rows())
    feature_weight, bias = student.folded_counts()
    gains = [gain.detach().numpy() for gain in (student.first_gain, student.last_gain)]
    encoder = StaticEncoder(
        token_table=table,
        row_scale=scale,
        count_table=counts.astype(np.int8),
        feature_weight=feature_weight,
        bias=bias,
        activation="gelu",
        views=(View(FIRST, gains[0]), View(LAST, gains[1])),
    )
    origin = Origin(
        name="turnout-mf",
        licence="Apache-2.0",
        recipe="make train-mf DATA=folder OUT=folder",
        data=[file_record(path) for path in files],
        dev_data=[file_record(path) for path in dev],
        notes=NOTES.read_text(encoding="utf-8"),
    )
    training = {"config": {"student": asdict(settings), "models": asdict(config)}}
    manifest = Manifest(
        name=origin.name,
        models=models,
        strong=config.strong,
        weak=config.weak,
        encoder={"kind": "graph", "dim": len(bias)},
        calibration={"kind": "identity"},
        provenance=origin.provenance(training),
    )
    content = tokenizer_of(tokenizer.read_text(encoding="utf-8"))
    with staged(out) as folder:
        write_artifact(
            folder,
            manifest,
            graph=static_graph(encoder, MatrixFactorizationHead(projection, factor_weights, vectors)),
            tokenizer=content,
            max_tokens=MAX_TOKENS,
            text_rules=text_rules(content),
        )
        return complete(folder, data, card, training)


def card(spec: Manifest, dev: Sequence[DevScore]) -> str:
    """Markdown of the card."""
    what = (
        f"static embeddings of at most {spec.max_tokens} tokens, {spec.encoder['dim']} numbers long, under RouteLLM's "
        f"matrix-factorization head (arXiv 2406.18665, section 4.2) with {len(spec.models)} models"
    )
    limits = f"sees no letter case and no line breaks, and judges the prompt alone, not a conversation. {spec.reading}"
    return model_card(
        spec,
        what,
        f"{limits} {PLANTED_WORDS}",
        dev,
        chosen="Settings were chosen on held-out prompts of the training tables and on graded ones, not on these.",
        reads="orders prompts of eleven languages about equally well",
    )
