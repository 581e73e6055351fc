"""Figures of a call-performance curve: how much of the gap between two models a router recovers for how many strong calls.

Sections are those of "RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665v4. With ``c`` the share of calls
that go to the strong model, ``q(c)`` the mean score of the routed answers, ``q_w`` and ``q_s`` the mean scores of the two models:

- PGR, performance gap recovered (section 3.2): ``(q(c) - q_w) / (q_s - q_w)``.
- APGR (section 3.2): the mean of PGR over ``c`` in ``[0, 1]``. Random routing has 0.5 exactly. Three ways to compute it are here
  and in :mod:`turnout.evaluate.routellm`: the integral, the paper's sum over ten shares, and RouteLLM's code.
- CPT(x), call-performance threshold (section 3.2): the smallest ``c`` at which PGR reaches ``x``.

Functions take curves in the last axis, so that one call does for one curve or for a thousand bootstrap resamples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from turnout._core import InvalidInputError

Floats = NDArray[np.float64]

#: Shares of the paper's sum, ``c_i = i / 10`` for ``i`` in 1..10.
TEN_SHARES = np.arange(1, 11) / 10


def pgr(quality: ArrayLike, weak: ArrayLike, strong: ArrayLike) -> Floats:
    """Performance gap recovered (section 3.2); NaN if the two models have equal scores, because there is no gap.

    Args:
        quality: Mean scores ``[..., points]`` of routed answers.
        weak: Mean score of the weak model, ``[...]``.
        strong: Mean score of the strong model, ``[...]``.
    """
    weak, strong = np.asarray(weak, dtype=np.float64)[..., None], np.asarray(strong, dtype=np.float64)[..., None]
    gap = np.where(strong == weak, np.nan, strong - weak)
    result: Floats = (np.asarray(quality, dtype=np.float64) - weak) / gap
    return result


def auc(shares: ArrayLike, quality: ArrayLike) -> Floats:
    """Area under the quality over the share of strong calls, by trapezoids: exact for the piecewise linear curve."""
    x, y = np.asarray(shares, dtype=np.float64), np.asarray(quality, dtype=np.float64)
    # Written out because NumPy 1 and 2 disagree on the name of the function.
    result: Floats = (np.diff(x) * (y[..., 1:] + y[..., :-1])).sum(axis=-1) / 2
    return result


def apgr(shares: ArrayLike, quality: ArrayLike, weak: ArrayLike, strong: ArrayLike) -> Floats:
    """Average performance gap recovered as the exact integral ``int_0^1 PGR(c) dc`` (section 3.2).

    Between two reachable shares the curve is a straight line: the mean over a coin that picks one of the two thresholds, which is
    also the mean over all orders of prompts with equal win rates. Ties therefore need no tie-breaking.
    """
    return auc(shares, pgr(quality, weak, strong))


def apgr_ten_point(shares: Floats, quality: Floats, weak: ArrayLike, strong: ArrayLike) -> Floats:
    """APGR as the paper's sum, ``1/10 sum_i PGR(c_i)`` with ``c_i = i/10`` (section 3.2).

    The sum takes the right end of each tenth, the last of which is the strong model alone, so random routing has 0.55 here.
    """
    recovered = pgr(quality, weak, strong)
    result: Floats = np.mean(at_shares(shares, recovered, TEN_SHARES), axis=-1)
    return result


def at_shares(shares: Floats, values: Floats, targets: Floats) -> Floats:
    """Values of curves at shares that they need not reach, by linear interpolation."""
    flat_shares, flat_values = shares.reshape(-1, shares.shape[-1]), values.reshape(-1, values.shape[-1])
    rows = [np.interp(targets, x, y) for x, y in zip(flat_shares, flat_values, strict=True)]
    return np.array(rows).reshape(*shares.shape[:-1], len(targets))


def cpt(shares: Floats, quality: Floats, weak: ArrayLike, strong: ArrayLike, target: float) -> Floats:
    """Call-performance threshold: the smallest share of strong calls at which PGR reaches ``target`` (section 3.2).

    The first crossing counts, whatever the curve does later; between reachable shares the curve is a straight line. NaN where the
    curve never gets there, or where there is no gap.

    Args:
        shares: ``[..., points]``, rising from 0 to 1.
        quality: ``[..., points]``.
        weak: ``[...]``.
        strong: ``[...]``.
        target: Part of the gap, such as 0.5.
    """
    recovered = pgr(quality, weak, strong)
    reached = recovered >= target - 1e-12
    first = np.argmax(reached, axis=-1)
    before = np.maximum(first - 1, 0)
    x0, x1, y0, y1 = (
        np.take_along_axis(array, index[..., None], axis=-1)[..., 0]
        for array in (shares, recovered)
        for index in (before, first)
    )
    rise = y1 - y0
    part = np.where(rise > 0, (target - y0) / np.where(rise > 0, rise, 1.0), 0.0)
    share = np.where(first == 0, x1, x0 + np.clip(part, 0.0, 1.0) * (x1 - x0))
    result: Floats = np.where(reached.any(axis=-1), share, np.nan)
    return result


@dataclass(frozen=True)
class Prices:
    """Mean cost of one request with each model, in any currency.

    Attributes:
        strong: Cost of a request that the strong model answers.
        weak: Cost of a request that the weak model answers.

    Raises:
        InvalidInputError: The weak model costs more than the strong one, or a cost is negative.

    Example:
        >>> float(Prices(strong=10.0, weak=1.0).cost(0.5))
        5.5
    """

    strong: float
    weak: float

    def __post_init__(self) -> None:
        if not (0 <= self.weak <= self.strong and self.strong > 0):
            raise InvalidInputError(
                f"prices are strong {self.strong} and weak {self.weak}, expected 0 <= weak <= strong, strong > 0"
            )

    def cost(self, share: ArrayLike) -> Floats:
        """Mean cost per request at a share of strong calls.

        Args:
            share: Share of strong calls in ``[0, 1]``, float ``[...]``.

        Returns:
            Costs, float64 of the same shape ``[...]``.
        """
        c = np.asarray(share, dtype=np.float64)
        return c * self.strong + (1.0 - c) * self.weak


def saving_over_strong(share: ArrayLike, prices: Prices) -> Floats:
    """Part of the cost saved compared with sending every prompt to the strong model."""
    result: Floats = 1.0 - prices.cost(share) / prices.strong
    return result


def saving_over_random(share: ArrayLike, target: float, prices: Prices) -> Floats:
    """Part of the cost saved compared with random routing of equal quality, which needs a share of ``target`` (section 5.4).

    Args:
        share: The router's CPT(target).
        target: Part of the gap.
        prices: Cost per request.
    """
    result: Floats = 1.0 - prices.cost(share) / prices.cost(target)
    return result
