"""The figures exactly as RouteLLM's evaluation computes them (github lm-sys/RouteLLM at 0b64fda, ``routellm/evals/evaluate.py``).

Its thresholds are the eleven edges of ten bins of equal count (``pandas.qcut``, linear quantiles). A win rate equal to the threshold
goes to the strong model, except at the last edge. Areas are trapezoids over these eleven points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from turnout._core import InvalidInputError
from turnout.evaluate.metrics import Floats, auc

TARGETS = (20, 50, 80)


@dataclass(frozen=True)
class RouteLLMMetrics:
    """RouteLLM's figures for one router and benchmark.

    Attributes:
        thresholds: Edges, rising.
        strong_percentage: Share of strong calls in per cent at each threshold, in their order (falling).
        accuracy: Mean score of routed answers, times ``scale``, in the same order.
        weak_accuracy: Of the weak model alone, times ``scale``.
        strong_accuracy: Of the strong model alone, times ``scale``.
        auc: Area under accuracy over the share of strong calls.
        apgr: ``(auc - weak area) / (strong area - weak area)``; NaN without a gap.
        cpt_unrounded: Percentage of strong calls by target in per cent.
    """

    thresholds: Floats
    strong_percentage: Floats
    accuracy: Floats
    weak_accuracy: float
    strong_accuracy: float
    auc: float
    apgr: float
    cpt_unrounded: dict[int, float]

    @property
    def cpt(self) -> dict[int, str]:
        """CPT as RouteLLM prints it."""
        return {target: f"{value:.2f}%" for target, value in self.cpt_unrounded.items()}


def routellm_metrics(
    win_rates: ArrayLike,
    strong: ArrayLike,
    weak: ArrayLike,
    *,
    bins: int = 10,
    scale: float = 100.0,
    repeated_edges: bool = False,
) -> RouteLLMMetrics:
    """Computes the figures as RouteLLM's code does.

    Args:
        win_rates: Win rates, float ``[prompts]``.
        strong: Scores of the strong model, float ``[prompts]``.
        weak: Scores of the weak model, float ``[prompts]``.
        bins: Number of bins of equal count.
        scale: 100 for scores of 0 and 1, as RouteLLM reports MMLU and GSM8K; 1 for MT-Bench.
        repeated_edges: Allow equal edges, which result from many equal win rates and which RouteLLM refuses.

    Returns:
        The figures. If accuracy does not increase with the share of strong calls, CPT depends on the segment that ``numpy.interp``
        selects, as in RouteLLM.

    Raises:
        InvalidInputError: Two edges are equal and ``repeated_edges`` is false.

    Example:
        >>> rates = np.linspace(0, 1, 100)
        >>> round(routellm_metrics(rates, np.ones(100), rates < 0.5).apgr, 2)
        0.75
    """
    rates = np.asarray(win_rates, dtype=np.float64)
    strong, weak = np.asarray(strong, dtype=np.float64), np.asarray(weak, dtype=np.float64)
    thresholds = np.quantile(rates, np.linspace(0, 1, bins + 1))
    if not repeated_edges and (np.diff(thresholds) == 0).any():
        raise InvalidInputError(
            "bin edges are not unique: RouteLLM cannot evaluate a router with so many equal win rates"
        )
    shares, accuracy = [], []
    for index, threshold in enumerate(thresholds):
        selection = rates >= threshold if index < bins else rates > threshold
        shares.append(selection.mean() * 100)
        accuracy.append(np.where(selection, strong, weak).mean() * scale)
    percentage, accuracies = np.array(shares), np.array(accuracy)
    weak_accuracy, strong_accuracy = float(weak.mean() * scale), float(strong.mean() * scale)
    x, y = percentage[::-1], accuracies[::-1]
    area = float(auc(x / 100, y))
    width = float(x[-1] - x[0]) / 100
    gap = strong_accuracy - weak_accuracy
    apgr = (area - weak_accuracy * width) / (gap * width) if gap else float("nan")
    cpt = {target: float(np.interp(target / 100 * gap + weak_accuracy, y, x)) for target in TARGETS}
    return RouteLLMMetrics(thresholds, percentage, accuracies, weak_accuracy, strong_accuracy, area, apgr, cpt)


def calibrated_threshold(win_rates: ArrayLike, strong_share: float) -> float:
    """Threshold of RouteLLM's ``calibrate_threshold.py``: the linear quantile at ``1 - strong_share``."""
    return float(np.quantile(np.asarray(win_rates, dtype=np.float64), 1 - strong_share))


def apgr_of_resamples(
    win_rates: ArrayLike, strong: ArrayLike, weak: ArrayLike, counts: NDArray[np.integer], bins: int = 10
) -> Floats:
    """APGR as :func:`routellm_metrics` computes it, for resamples; repeated edges are let pass.

    Args:
        win_rates: One a prompt.
        strong: Score of the strong model, one a prompt.
        weak: Score of the weak model, one a prompt.
        counts: How often each prompt occurs, ``[resamples, prompts]``.
        bins: Bins of equal count.

    Returns:
        One number a resample.
    """
    rates = np.asarray(win_rates, dtype=np.float64)
    strong, weak = np.asarray(strong, dtype=np.float64), np.asarray(weak, dtype=np.float64)
    order = np.argsort(rates, kind="stable")
    result = np.empty(len(counts))
    for row, count in enumerate(counts):
        drawn = np.repeat(order, count[order])
        rising, gain = rates[drawn], (strong - weak)[drawn]
        total = len(drawn)
        position = np.arange(bins + 1) / bins * (total - 1)
        below = np.minimum(position.astype(np.int64), total - 2 if total > 1 else 0)
        above = np.minimum(below + 1, total - 1)
        edges = rising[below] + (rising[above] - rising[below]) * (position - below)
        first = np.searchsorted(rising, edges, side="left")
        first[-1] = total
        recovered = np.concatenate([[0.0], np.cumsum(gain[::-1])])[total - first]
        shares = (total - first) / total
        whole = recovered[0]
        width = shares[0] - shares[-1]
        area = float(auc(shares[::-1], recovered[::-1]))
        result[row] = area / (whole * width) if whole and width else np.nan
    return result
