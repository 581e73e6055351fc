"""From the trained student to the artifact: quantize, fit the vectors of all models, calibrate, write the card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from turnout.artifact.finish import finish
from turnout.artifact.manifest import Manifest
from turnout.artifact.origin import Origin
from turnout.artifact.staged import staged
from turnout.artifact.text_rules import TEXT_RULES
from turnout.artifact.tokenizer import tokenizer_of
from turnout.artifact.writer import write_artifact
from turnout.data import file_record
from turnout.evaluate.dev import dev_results
from turnout.graphs.fold import quantize_rows
from turnout.graphs.static import MatrixFactorizationHead, StaticEncoder, View, static_graph
from turnout.routers.mf.card import mf_card
from turnout.training.config import MfConfig
from turnout.training.matrix_factorization import fit_models
from turnout.training.tables import EXAMPLES_A_TABLE, pair_examples

from .calibration import fit_platt, held_out_chances
from .data import Data
from .student import FIRST, LAST, Student, log_counts

MAX_TOKENS = 512
NOTES = Path(__file__).parent / "notes.md"


def write(
    out: Path,
    data: Data,
    student: Student,
    tokenizer: Path,
    counts: NDArray[np.float32],
    ids: dict[str, NDArray[np.int64]],
    logits: Callable[[Sequence[str]], NDArray[np.float64]],
    report: dict[str, Any],
    files: Sequence[Path],
    dev: Sequence[Path],
) -> None:
    """Writes the artifact and its card."""
    config = MfConfig()
    examples = pair_examples(
        data.tables, data.battles, per_table=EXAMPLES_A_TABLE, min_battles=config.min_battles, seed=config.seed
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
    place = {prompt: row for row, prompt in enumerate(distinct)}
    embedded = np.concatenate(parts)[[place[prompt] for prompt in examples.prompts]]
    projection, factor_weights, vectors, models = fit_models(direction, embedded, examples, config)

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
        recipe="make train-mf",
        data=[file_record(path) for path in files],
        dev_data=[file_record(path) for path in dev],
        notes=NOTES.read_text(encoding="utf-8"),
    )
    prompts, chance, _ = held_out_chances(data)
    slope, intercept = fit_platt(logits(prompts), chance)
    manifest = Manifest(
        name=origin.name,
        models=models,
        strong=config.strong,
        weak=config.weak,
        encoder={"kind": "graph", "dim": len(bias)},
        calibration={"kind": "platt", "slope": slope, "intercept": intercept},
        provenance=origin.provenance(report),
    )
    pair = (config.strong, config.weak)
    sources = [table.prompts for table in data.tables] + [data.battles.prompts, data.grades.prompts]
    with staged(out) as folder:
        write_artifact(
            folder,
            manifest,
            graph=static_graph(encoder, MatrixFactorizationHead(projection, factor_weights, vectors)),
            tokenizer=tokenizer_of(tokenizer.read_text(encoding="utf-8")),
            max_tokens=MAX_TOKENS,
            text_rules=TEXT_RULES,
        )
        finish(
            folder,
            [list(dict.fromkeys(source)) for source in sources],
            lambda router: dev_results(data.dev, router.win_rates, pair),
            mf_card,
        )
