"""All figures of one router on one table, on the sample and on resamples of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from turnout._core import choose_strong
from turnout.evaluate import metrics
from turnout.evaluate.curves import Ranking
from turnout.evaluate.metrics import Floats, Prices
from turnout.evaluate.reliability import ece, strong_wins
from turnout.evaluate.routellm import apgr_of_resamples

#: Parts of the gap for which CPT is given, in per cent.
TARGETS = (20, 50, 80)
#: Parts of the gap for which the saving is given; 100 is the strong model's own quality.
SAVING_TARGETS = (50, 80, 100)

#: Figures in the order of tables, with a heading each.
HEADINGS = {
    "apgr": "APGR",
    "apgr_ten_point": "APGR ten-point",
    "apgr_routellm": "APGR RouteLLM",
    "cpt20": "CPT(20%)",
    "cpt50": "CPT(50%)",
    "cpt80": "CPT(80%)",
    "auc": "AUC",
    "ece": "ECE",
    "share_at_threshold": "strong share at threshold",
    "quality_at_threshold": "quality at threshold",
    "pgr_at_threshold": "PGR at threshold",
    "saving_over_strong_50": "saving at 50% of the gap",
    "saving_over_strong_80": "saving at 80% of the gap",
    "saving_over_strong_100": "saving at equal quality",
    "saving_over_random_50": "saving over random at 50%",
    "saving_over_random_80": "saving over random at 80%",
}


@dataclass(frozen=True)
class Figures:
    """Computes the figures of one router on one table.

    Attributes:
        win_rates: One a prompt.
        strong: Score of the strong model, one a prompt.
        weak: Score of the weak model, one a prompt.
        threshold: Threshold for the figures at a threshold; ``None`` leaves them out.
        probabilities: Whether win rates are meant as probabilities, so that calibration error says something.
        prices: Cost per request; ``None`` leaves savings out.
    """

    win_rates: Floats
    strong: Floats
    weak: Floats
    threshold: float | None = None
    probabilities: bool = True
    prices: Prices | None = None
    ranking: Ranking = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranking", Ranking(self.win_rates, self.strong, self.weak))

    def __call__(self, counts: NDArray[np.integer] | None = None) -> dict[str, Floats]:
        """Figures of the sample (one number each), or one number a resample.

        Args:
            counts: How often each prompt occurs, ``[resamples, prompts]``.
        """
        once = np.ones((1, len(self.win_rates)), dtype=np.int64) if counts is None else counts
        weights = once.astype(np.float64)
        curve = self.ranking.curve(weights)
        shape = (curve.shares, curve.quality, curve.weak, curve.strong)
        result = {
            "apgr": metrics.apgr(*shape),
            "apgr_ten_point": metrics.apgr_ten_point(*shape),
            "apgr_routellm": apgr_of_resamples(self.win_rates, self.strong, self.weak, once),
            **{f"cpt{target}": metrics.cpt(*shape, target / 100) for target in TARGETS},
            "auc": metrics.auc(curve.shares, curve.quality),
        }
        if self.probabilities:
            result["ece"] = ece(self.win_rates, strong_wins(self.strong, self.weak), counts=weights)
        if self.threshold is not None:
            result |= self._at_threshold(self.threshold, weights)
        if self.prices is not None:
            for target in SAVING_TARGETS:
                share = metrics.cpt(*shape, target / 100)
                result[f"saving_over_strong_{target}"] = metrics.saving_over_strong(share, self.prices)
                if target < 100:
                    result[f"saving_over_random_{target}"] = metrics.saving_over_random(
                        share, target / 100, self.prices
                    )
        return result

    def _at_threshold(self, threshold: float, counts: Floats) -> dict[str, Floats]:
        chosen = choose_strong(self.win_rates, threshold).astype(np.float64)
        total = counts.sum(axis=1)
        quality = counts @ np.where(chosen == 1, self.strong, self.weak) / total
        weak, strong = counts @ self.weak / total, counts @ self.strong / total
        return {
            "share_at_threshold": counts @ chosen / total,
            "quality_at_threshold": quality,
            "pgr_at_threshold": metrics.pgr(quality[:, None], weak, strong)[:, 0],
        }


def joint(
    parts: Mapping[str, Callable[[NDArray[np.int64]], dict[str, Floats]]],
) -> Callable[[NDArray[np.int64]], dict[str, Floats]]:
    """Figures of several routers on the same resamples, named ``router/figure``: what paired differences need."""
    return lambda counts: {
        f"{router}/{name}": values for router, figures in parts.items() for name, values in figures(counts).items()
    }
