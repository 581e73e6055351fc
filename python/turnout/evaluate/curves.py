"""Call-performance curves: from win rates and outcomes to quality over the share of strong calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from turnout._core import InvalidInputError
from turnout.evaluate.metrics import Floats


@dataclass(frozen=True)
class Curve:
    """Quality over the share of strong calls, or a stack of such curves (one a resample) in the leading axes.

    Attributes:
        shares: ``[..., points]``, rising from 0 to 1. One point for every distinct win rate: prompts with equal win rates go to
            the same model, so no share between is reachable by a threshold.
        quality: ``[..., points]``, mean score of the routed answers.
        weak: ``[...]``, mean score of the weak model.
        strong: ``[...]``, mean score of the strong model.
    """

    shares: Floats
    quality: Floats
    weak: Floats
    strong: Floats


class Ranking:
    """Prompts in the order in which a falling threshold sends them to the strong model.

    Args:
        win_rates: One number a prompt.
        strong: Score of the strong model, one a prompt.
        weak: Score of the weak model, one a prompt.
    """

    def __init__(self, win_rates: ArrayLike, strong: ArrayLike, weak: ArrayLike) -> None:
        self.win_rates = np.asarray(win_rates, dtype=np.float64)
        strong, weak = np.asarray(strong, dtype=np.float64), np.asarray(weak, dtype=np.float64)
        if not (self.win_rates.shape == strong.shape == weak.shape and strong.ndim == 1 and len(strong)):
            raise InvalidInputError(
                f"win rates, strong and weak scores have shapes {self.win_rates.shape}, {strong.shape} and {weak.shape}, "
                "expected the same number of prompts, at least one"
            )
        for name, values in (("win rates", self.win_rates), ("strong scores", strong), ("weak scores", weak)):
            if not np.isfinite(values).all():
                raise InvalidInputError(f"{name} have values that are not finite")
        self.order = np.argsort(-self.win_rates, kind="stable")
        ranked = self.win_rates[self.order]
        self._ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self._gain = (strong - weak)[self.order]
        self._weak = weak[self.order]

    def curve(self, counts: NDArray[Any] | None = None) -> Curve:
        """The curve, or one for each row of ``counts``.

        Args:
            counts: How often each prompt occurs, ``[prompts]`` or ``[resamples, prompts]``; by default once.
        """
        weights = np.ones(len(self.order)) if counts is None else counts[..., self.order].astype(np.float64, copy=False)
        total = weights.sum(axis=-1, keepdims=True)
        start = np.zeros((*weights.shape[:-1], 1))
        calls = np.concatenate([start, np.cumsum(weights, axis=-1)[..., self._ends]], axis=-1)
        gain = np.concatenate([start, np.cumsum(weights * self._gain, axis=-1)[..., self._ends]], axis=-1)
        weak = (weights * self._weak).sum(axis=-1, keepdims=True) / total
        quality = weak + gain / total
        return Curve(calls / total, quality, weak[..., 0], quality[..., -1])


def oracle_curve(strong: ArrayLike, weak: ArrayLike) -> Curve:
    """The best that any router could do with *at most* this share of strong calls: the largest gains first, no losses.

    For 0/1 scores this is RouteLLM's ``get_optimal_accuracy``.
    """
    strong, weak = np.asarray(strong, dtype=np.float64), np.asarray(weak, dtype=np.float64)
    gain = np.sort(np.maximum(strong - weak, 0.0))[::-1]
    shares = np.arange(len(gain) + 1) / len(gain)
    quality = weak.mean() + np.concatenate([[0.0], np.cumsum(gain)]) / len(gain)
    return Curve(shares, quality, weak.mean(), strong.mean())


def random_curve(strong: ArrayLike, weak: ArrayLike) -> Curve:
    """The mean of random routing, analytically: a straight line from the weak to the strong model (section 3.2)."""
    ends = np.array([np.asarray(weak, dtype=np.float64).mean(), np.asarray(strong, dtype=np.float64).mean()])
    return Curve(np.array([0.0, 1.0]), ends, ends[0], ends[1])


def thinned(curve: Curve, points: int = 400) -> tuple[Floats, Floats]:
    """Shares and qualities of a single curve for a picture or a file: at most about this many points."""
    if len(curve.shares) <= points:
        return curve.shares, curve.quality
    shares = np.linspace(0.0, 1.0, points)
    return shares, np.interp(shares, curve.shares, curve.quality)
