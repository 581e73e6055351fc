"""From battles and an encoder to the artifact of a router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError, InvalidInputError
from turnout.artifact.quantiles import weighted_quantiles
from turnout.data import Outcomes
from turnout.evaluate.dev import DevResult, dev_results
from turnout.extras import require
from turnout.progress import ProgressCallback, silent
from turnout.routers.sw_ranking.ann_index import (
    JUDGED,
    AnnIndex,
    Judge,
    faiss_module,
    make_ann_index,
    make_cells,
    ranking_of,
)
from turnout.routers.sw_ranking.card import card
from turnout.routers.sw_ranking.encoder import Encoder
from turnout.routers.sw_ranking.export import SwRanking, write_sw_ranking
from turnout.routers.sw_ranking.rating import Rating, rate
from turnout.routers.sw_ranking.table import BattleTable
from turnout.routers.sw_ranking.vectors import Storage, restored, stored

#: Prompts of the battles that are judged for the quantiles, each without its own battles; fewer where battles are so many that
#: this many weighings would take minutes.
CALIBRATION_PROMPTS, WEIGHINGS = 1000, 100_000_000


@dataclass(frozen=True)
class Options:
    """How to build.

    Attributes:
        strong: Strong model of the pair.
        weak: Weak model of it.
        name: Name of the router.
        tiers: Number of tiers.
        storage: What vectors are kept in.
        index: FAISS factory string; ``None`` for a router that is always exact.
        search: Search parameters; by default by the kind of index.
        neighbors: Number of exactly weighted prompts; by default the smallest number with a small error.
        keep_prompts: Whether texts of prompts are kept, for explanations.
        unknown_tiers: Tiers of models that did not fight.
        calibration: Prompts by source for the quantiles, each source with the same weight; by default those of the battles.
        provenance: Data, license, recipe, notes.
    """

    strong: str
    weak: str
    name: str = "sw-ranking"
    tiers: int = 10
    storage: Storage = "f16"
    index: str | None = None
    search: str | None = None
    neighbors: int | None = None
    keep_prompts: bool = False
    unknown_tiers: Mapping[str, int] = field(default_factory=dict)
    calibration: Sequence[Sequence[str]] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


class Built:
    """A router in the reference, before it is written.

    Attributes:
        rating: Battles, ratings, tiers.
        vectors: Unit vectors as they will be read back, float32.
    """

    def __init__(self, rating: Rating, vectors: NDArray[np.float32], encoder: Encoder, strong: str, weak: str) -> None:
        self.rating, self.vectors, self.encoder = rating, vectors, encoder
        self.strong, self.weak, self.threshold = strong, weak, 0.5
        models = rating.table.models
        self.pair = (int(rating.tiers[models.index(strong)]), int(rating.tiers[models.index(weak)]))
        self._ranking = ranking_of(rating, vectors)

    def win_rates(self, prompts: Sequence[str], /) -> NDArray[np.float64]:
        """Exact win rates, one a prompt."""
        return np.array([self._ranking.win_rate(row, *self.pair) for row in self.encoder.embed(prompts)])

    def own_win_rates(self, number: int, report: ProgressCallback = silent, seed: int = 0) -> NDArray[np.float64]:
        """Exact win rates of some prompts of the battles, each judged without its own battles."""
        count = len(self.vectors)
        chosen = np.sort(np.random.default_rng(seed).choice(count, min(number, count), replace=False))
        rates = np.empty(len(chosen))
        for done, position in enumerate(chosen, start=1):
            rates[done - 1] = self._ranking.win_rate(self.vectors[position], *self.pair, without=int(position))
            report("quantiles", done, len(chosen))
        return rates


def build(
    table: BattleTable,
    encoder: Encoder,
    options: Options,
    out: Path,
    *,
    vectors: NDArray[np.float32] | None = None,
    dev: Sequence[Outcomes] = (),
    report: ProgressCallback = silent,
) -> tuple[SwRanking, list[DevResult]]:
    """Builds a router and writes its artifact.

    Args:
        table: Battles.
        encoder: Of prompts.
        options: How.
        out: Folder, made if it is missing.
        vectors: Embeddings of the table's prompts, ``[prompts, dim]``, where the encoder is external.
        dev: Tables of outcomes to judge the router on.
        report: Called with the progress.

    Returns:
        What was written, and its scores.

    Raises:
        ConfigError: The pair, the tiers or the index cannot be had.
        InvalidInputError: The vectors do not fit.
    """
    if not 1 <= options.tiers <= 64:
        raise ConfigError(f"tiers is {options.tiers}, expected 1..=64")
    if options.index is not None:
        faiss_module()
    require("eval", "safetensors", purpose="an artifact of kind sw_ranking")
    rating = rate(table, options.tiers)
    missing = [name for name in (options.strong, options.weak) if name not in table.models]
    if missing:
        best = ", ".join(rating.table.models[:8])
        raise ConfigError(
            f"no battles of {' and '.join(map(repr, missing))}: choose --strong and --weak among the models with battles "
            f"(the best: {best}), or give the model a tier with --unknown-tier"
        )
    if vectors is None:
        count = len(table.prompts)
        vectors = encoder.embed(table.prompts, lambda done: report("embeddings", done, count))
    if vectors.shape != (len(table.prompts), encoder.dim) or not np.isfinite(vectors).all():
        raise InvalidInputError(
            f"embeddings have the shape {vectors.shape}, expected {(len(table.prompts), encoder.dim)}, all finite"
        )
    tensors = stored(vectors, options.storage)
    router = Built(rating, restored(tensors), encoder, options.strong, options.weak)
    ann_index = None if options.index is None else _ann_index(router, options, report)
    report("dev tables", 0, 1)
    scores = dev_results(dev, router.win_rates, (options.strong, options.weak))
    report("dev tables", 1, 1)
    quantiles = _quantiles(router, options, report)
    written = SwRanking(
        rating=rating,
        tensors=tensors,
        encoder=encoder,
        strong=options.strong,
        weak=options.weak,
        name=options.name,
        ann_index=ann_index,
        unknown_tiers=options.unknown_tiers,
        keep_prompts=options.keep_prompts,
        quantiles=quantiles,
        threshold=quantiles[len(quantiles) // 2],
        provenance={**options.provenance, "scores": [score.to_json() for score in scores]},
    )
    write_sw_ranking(written, out, documents={"README.md": card(written, scores)})
    return written, scores


def _ann_index(router: Built, options: Options, report: ProgressCallback) -> AnnIndex:
    report("index", 0, 1)
    cells = make_cells(router.vectors)
    judge = Judge(
        router.rating,
        router.vectors,
        cells,
        router.pair,
        lambda done: report("exact win rates", done, min(JUDGED, len(cells.cell))),
    )
    fixed = {} if options.neighbors is None else {"neighbors": (options.neighbors,)}
    ann_index = make_ann_index(router.vectors, judge, options.index or "", options.search, **fixed)
    report("index", 1, 1)
    return ann_index


def _quantiles(router: Built, options: Options, report: ProgressCallback) -> list[float]:
    """Win rates at 0, 1, ..., 100 per cent of the calibration prompts, every source with the same weight."""
    parts = [router.win_rates(prompts) for prompts in options.calibration if prompts]
    if not parts:
        affordable = max(100, WEIGHINGS // len(router.rating.table))
        parts = [router.own_win_rates(min(CALIBRATION_PROMPTS, affordable), report)]
    return weighted_quantiles(parts)
