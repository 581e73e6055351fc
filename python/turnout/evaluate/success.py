"""How good predicted chances of success are: order (AUC), probability (ECE, Brier score), each with an interval over prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from turnout.evaluate.bootstrap import Estimate, bootstrap, interval
from turnout.evaluate.metrics import Floats
from turnout.evaluate.reliability import ece


@dataclass(frozen=True)
class SuccessScores:
    """Figures of one model's chances on held-out prompts.

    Attributes:
        prompts: How many.
        mean: Mean score.
        auc: Chance that a prompt with a good answer has the higher P(success) than one with a bad answer; 0.5 is a coin.
        ece: Expected calibration error in ten bins of equal count.
        noise: ECE that a perfectly calibrated model would have on as many prompts, by simulation.
        brier: Mean squared error of the chances.
        constant: Brier score of the mean score for every prompt.
    """

    prompts: int
    mean: float
    auc: Estimate
    ece: Estimate
    noise: float
    brier: Estimate
    constant: float


def auc(chances: ArrayLike, scores: ArrayLike, counts: NDArray[Any] | None = None) -> Floats:
    """Area under the ROC curve; a score between 0 and 1 counts as that part of a success, equal chances count half.

    Args:
        chances: P(success), float ``[prompts]``.
        scores: In 0..1, float ``[prompts]``.
        counts: How often each prompt occurs, ``[prompts]`` or ``[resamples, prompts]``; by default once.

    Returns:
        float64 scalar or ``[resamples]``; NaN without a success or without a failure.

    Example:
        >>> float(auc([0.9, 0.4, 0.6], [1, 0, 1])), float(auc([0.5, 0.5], [1, 0]))
        (1.0, 0.5)
    """
    chances, scores = np.asarray(chances, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    weights = np.ones(len(scores)) if counts is None else np.asarray(counts, dtype=np.float64)
    levels, level = np.unique(chances, return_inverse=True)
    order = np.argsort(level, kind="stable")
    first = np.searchsorted(level[order], np.arange(len(levels)))
    good = np.add.reduceat((weights * scores)[..., order], first, axis=-1)
    bad = np.add.reduceat((weights * (1.0 - scores))[..., order], first, axis=-1)
    below = np.cumsum(bad, axis=-1) - bad / 2.0
    pairs = good.sum(axis=-1) * bad.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = (good * below).sum(axis=-1) / pairs
    return result


def success_scores(chances: ArrayLike, scores: ArrayLike, *, resamples: int = 200, seed: int = 0) -> SuccessScores:
    """Figures of one model's chances.

    Args:
        chances: P(success), float ``[prompts]``.
        scores: In 0..1, float ``[prompts]``.
        resamples: Of the bootstrap; 0 for no intervals.
        seed: Of the bootstrap.

    Returns:
        The figures, with 95 % intervals.
    """
    chances, scores = np.asarray(chances, dtype=np.float64), np.asarray(scores, dtype=np.float64)

    def figures(counts: NDArray[np.int64]) -> dict[str, Floats]:
        squared = counts @ (chances - scores) ** 2 / counts.sum(axis=-1)
        return {"auc": auc(chances, scores, counts), "ece": ece(chances, scores, counts=counts), "brier": squared}

    drawn = bootstrap(figures, [str(row) for row in range(len(scores))], resamples=resamples, seed=seed)
    once = figures(np.ones((1, len(scores)), dtype=np.int64))
    found = {
        name: interval(float(value[0]), drawn[name]) if drawn else Estimate(float(value[0]), np.nan, np.nan)
        for name, value in once.items()
    }
    generator = np.random.default_rng(seed)
    perfect = [float(ece(chances, generator.random(len(chances)) < chances)) for _ in range(30)]
    return SuccessScores(
        len(scores),
        float(scores.mean()),
        found["auc"],
        found["ece"],
        float(np.mean(perfect)),
        found["brier"],
        float(np.mean((scores - scores.mean()) ** 2)),
    )
