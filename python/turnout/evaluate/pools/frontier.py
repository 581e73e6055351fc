"""Cost-quality curves of methods that choose between N models, and the figures that are read from them.

Between two operating points a method may choose by a coin, so a curve is the non-decreasing convex hull of its points (RouterBench,
arXiv 2403.12031, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.evaluate.metrics import Floats

#: Costs of an error, in units of the mean cost of a request with the dearest model, at which a method makes its choices.
ERROR_COSTS = np.concatenate([np.geomspace(0.003, 3000.0, 60), [np.inf]])


@dataclass(frozen=True)
class Choices:
    """What a method gets at each of its settings.

    Attributes:
        scores: Of the chosen models, float64 ``[settings, prompts]``.
        costs: Of the chosen models, float64 ``[settings, prompts]``.
    """

    scores: Floats
    costs: Floats

    def and_single(self, scores: Floats, costs: Floats) -> Choices:
        """These choices, and one model for every prompt.

        Args:
            scores: Of the model, float64 ``[prompts]``.
            costs: Of the model, float64 ``[prompts]``.
        """
        return Choices(np.vstack([self.scores, scores]), np.vstack([self.costs, costs]))

    def points(self, counts: NDArray[Any]) -> tuple[Floats, Floats]:
        """Mean costs and mean scores, float64 ``[resamples, settings]`` each.

        Args:
            counts: How often each prompt occurs, ``[resamples, prompts]``.
        """
        weights = counts / counts.sum(axis=-1, keepdims=True)
        return weights @ self.costs.T, weights @ self.scores.T


def chosen(success: Floats, expected: Floats, error_cost: float) -> NDArray[np.int64]:
    """The model of the least expected cost, an error included, for each prompt; of equals the cheaper, then the first.

    Args:
        success: P(success), float64 ``[prompts, models]``.
        expected: Expected cost, float64 ``[prompts, models]``.
        error_cost: Cost of an error; infinite for the most likely model.

    Returns:
        int64 ``[prompts]``.
    """
    if np.isinf(error_cost):
        best = success >= success.max(axis=1, keepdims=True) - 1e-12
    else:
        total = expected + error_cost * (1.0 - success)
        best = total <= total.min(axis=1, keepdims=True) + 1e-15
    result: NDArray[np.int64] = np.where(best, expected, np.inf).argmin(axis=1)
    return result


def sweep(success: Floats, expected: Floats, scores: Floats, costs: Floats) -> Choices:
    """Choices by P(success) at every cost of an error.

    Args:
        success: P(success) by the method, float64 ``[prompts, models]``.
        expected: Expected costs that the method goes by, float64 ``[prompts, models]``.
        scores: What the models got, float64 ``[prompts, models]``.
        costs: What they cost, float64 ``[prompts, models]``.
    """
    scale = float(expected.mean(axis=0).max())
    rows = np.arange(len(success))
    found = [chosen(success, expected, error * scale) for error in ERROR_COSTS]
    return Choices(np.stack([scores[rows, one] for one in found]), np.stack([costs[rows, one] for one in found]))


def singles(scores: Floats, costs: Floats) -> Choices:
    """One model for every prompt, a setting a model; its curve is that of routing at random."""
    return Choices(scores.T, costs.T)


def hull(costs: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """The non-decreasing convex hull of points, from the cheapest to the best.

    Args:
        costs: float64 ``[points]``.
        quality: float64 ``[points]``.

    Returns:
        Costs and qualities of its corners, both rising.

    Example:
        >>> hull(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 0.9, 1.0, 0.5]))
        (array([1., 2., 3.]), array([0. , 0.9, 1. ]))
    """
    corners: list[int] = []
    for at in np.lexsort((-quality, costs)).tolist():
        if corners and quality[at] <= quality[corners[-1]]:
            continue
        while len(corners) > 1:
            a, b = corners[-2:]
            rise = (quality[b] - quality[a]) * (costs[at] - costs[a])
            if rise > (quality[at] - quality[a]) * (costs[b] - costs[a]):
                break
            corners.pop()
        corners.append(at)
    return costs[corners], quality[corners]


@dataclass(frozen=True)
class Figures:
    """Figures of a method, one of each a resample.

    Attributes:
        cost: Cost at the quality of the best single model, as a part of that model's cost; NaN where it is not reached.
        quality: Quality at the cost of the best single model.
        aiq: Mean quality over costs from the cheapest to the dearest model, nothing below the method's cheapest point (RouterBench, section 3).
        best: Highest quality.
    """

    cost: Floats
    quality: Floats
    aiq: Floats
    best: Floats


def figures(choices: Choices, single: Choices, models: Choices, counts: NDArray[Any]) -> Figures:
    """Figures of a method on resamples of the prompts.

    Args:
        choices: Of the method.
        single: The best single model: one setting.
        models: Every model: a setting each, for the range of costs.
        counts: How often each prompt occurs, ``[resamples, prompts]``.
    """
    costs, quality = choices.points(counts)
    single_cost, single_quality = (part[:, 0] for part in single.points(counts))
    range_costs = models.points(counts)[0]
    found = [
        _read(*hull(*point), *rest)
        for point, rest in zip(
            zip(costs, quality, strict=True),
            zip(single_cost, single_quality, range_costs.min(axis=1), range_costs.max(axis=1), strict=True),
            strict=True,
        )
    ]
    return Figures(*np.array(found).T)


def _read(
    costs: Floats, quality: Floats, single_cost: float, single_quality: float, low: float, high: float
) -> tuple[float, float, float, float]:
    """Cost, quality, AIQ and best quality of one hull."""
    reached = quality[-1] >= single_quality - 1e-12
    cost = float(np.interp(single_quality, quality, costs)) / single_cost if reached else np.nan
    # Below its cheapest point a method has nothing to offer.
    at = np.unique(np.concatenate([costs[(costs > low) & (costs < high)], [max(low, costs[0]), max(high, costs[0])]]))
    values = np.interp(at, costs, quality)
    area = float((np.diff(at) * (values[1:] + values[:-1])).sum() / 2.0)
    aiq = area / (high - low) if high > low else float(values[0])
    return cost, float(np.interp(single_cost, costs, quality)), aiq, float(quality[-1])
