"""Whether win rates are probabilities: expected calibration error and the reliability diagram's numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from turnout.evaluate.metrics import Floats


def strong_wins(strong: ArrayLike, weak: ArrayLike) -> Floats:
    """What a win rate predicts: 1 where the strong model's answer scored higher, 0 where lower, one half for a tie.

    Ties count half each way, as in the Bradley-Terry fits of "RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665, section 4.2.
    """
    difference = np.asarray(strong, dtype=np.float64) - np.asarray(weak, dtype=np.float64)
    result: Floats = 0.5 + 0.5 * np.sign(difference)
    return result


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram.

    Attributes:
        predicted: Mean win rate.
        observed: Mean outcome.
        prompts: How many.
    """

    predicted: float
    observed: float
    prompts: int


def bins_of_equal_count(win_rates: ArrayLike, bins: int = 10) -> NDArray[np.int64]:
    """Number of the bin of each prompt; equal win rates share a bin, so there may be fewer bins.

    Equal counts rather than equal widths: routers tend to use a narrow range of win rates, and empty bins measure nothing.
    """
    rates = np.asarray(win_rates, dtype=np.float64)
    edges = np.unique(np.quantile(rates, np.arange(1, bins) / bins))
    numbers = np.searchsorted(edges, rates, side="right")
    result: NDArray[np.int64] = np.unique(numbers, return_inverse=True)[1].astype(np.int64)
    return result


def reliability(win_rates: ArrayLike, outcome: ArrayLike, bins: int = 10) -> list[Bin]:
    """Bins of a reliability diagram."""
    rates, outcome = np.asarray(win_rates, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    numbers = bins_of_equal_count(rates, bins)
    return [
        Bin(float(rates[numbers == n].mean()), float(outcome[numbers == n].mean()), int((numbers == n).sum()))
        for n in range(numbers.max() + 1)
    ]


def ece(win_rates: ArrayLike, outcome: ArrayLike, bins: int = 10, counts: NDArray[Any] | None = None) -> Floats:
    """Expected calibration error: mean over prompts of ``|mean win rate - mean outcome|`` of their bin (Naeini et al. 2015).

    Args:
        win_rates: One a prompt.
        outcome: Of :func:`strong_wins`, one a prompt.
        bins: Bins of equal count.
        counts: How often each prompt occurs, ``[prompts]`` or ``[resamples, prompts]``; by default once. Bins stay those of the
            whole sample.
    """
    rates, outcome = np.asarray(win_rates, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    numbers = bins_of_equal_count(rates, bins)
    member = np.zeros((len(rates), numbers.max() + 1))
    member[np.arange(len(rates)), numbers] = 1.0
    weights = np.ones(len(rates)) if counts is None else counts.astype(np.float64, copy=False)
    error = np.abs((weights * (rates - outcome)) @ member).sum(axis=-1)
    result: Floats = error / weights.sum(axis=-1)
    return result
