"""Elo ratings and tiers from battles: win matrix, Bradley-Terry fit, ratings, tiers ("RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Elo points of a coefficient of one: a factor of ten in the odds is 400 points.
POINTS = 400.0 / np.log(10.0)
#: The model whose rating fixes the scale where it fought, and its rating, as in RouteLLM.
ANCHOR, ANCHOR_RATING = "llama-2-70b-chat", 1082.0
#: Mean rating where the anchor did not fight.
MEAN_RATING = 1000.0
#: Weight of the ridge as a part of the weight of all battles.
RIDGE = 1e-9


def win_matrix(a: ArrayLike, b: ArrayLike, outcome: ArrayLike, weight: ArrayLike, count: int) -> Floats:
    """Weight of wins: element ``[i, j]`` is that of ``i`` over ``j``; a tie is half a win each way.

    Args:
        a: One side, ``[battles]``, each in ``0..count``.
        b: The other side.
        outcome: 0 where ``a`` won, 1 where ``b`` did, 2 for a tie.
        weight: ``[battles]``, or one number.
        count: Number of sides.

    Returns:
        float64 ``[count, count]``; the diagonal is zero, for a battle against oneself says nothing.
    """
    first, second = np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64)
    share = np.array([1.0, 0.0, 0.5])[np.asarray(outcome, dtype=np.int64)]
    weights = np.broadcast_to(np.asarray(weight, dtype=np.float64), share.shape)
    size = count * count
    wins = np.bincount(first * count + second, weights * share, size).astype(np.float64)
    wins += np.bincount(second * count + first, weights * (1.0 - share), size)
    matrix: Floats = np.asarray(wins.reshape(count, count), dtype=np.float64)
    np.fill_diagonal(matrix, 0.0)
    return matrix


def bradley_terry(wins: Floats) -> Floats:
    """Coefficients ``x`` with ``P(i beats j) = sigmoid(x_i - x_j)`` of greatest likelihood, by Newton's method.

    The only regularization is ``ridge * |x|^2 / 2``, added to the negative log likelihood, ``ridge`` being :data:`RIDGE` times the
    weight of all battles. It moves well-determined differences by less than a millionth and makes the others finite: a side that
    never won, or never lost, ends some 20 below or above the rest; groups that never met compare at their own centers; sides
    without a battle stand at zero. The mean is zero.

    Args:
        wins: ``[sides, sides]`` as :func:`win_matrix` gives it.

    Returns:
        float64 ``[sides]``.

    Example:
        >>> x = bradley_terry(np.array([[0.0, 3.0], [1.0, 0.0]]))
        >>> round(float(np.exp(x[0] - x[1])), 6)
        3.0
    """
    met = wins + wins.T
    total = float(wins.sum())
    x = np.zeros(len(wins))
    if not total > 0:
        return x
    ridge = RIDGE * total

    def cost(at: Floats) -> float:
        likelihood = (wins * np.logaddexp(0.0, at[None, :] - at[:, None])).sum()
        return float(likelihood + ridge * (at @ at) / 2)

    now = cost(x)
    for _ in range(200):
        chance = 1.0 / (1.0 + np.exp(np.clip(x[None, :] - x[:, None], -700, 700)))
        gradient = (wins - met * chance).sum(axis=1) - ridge * x
        curvature = met * chance * (1.0 - chance)
        hessian = np.diag(curvature.sum(axis=1) + ridge) - curvature
        step = np.linalg.solve(hessian, gradient)
        # The cost would fall by half of this: below rounding, it can no longer guide.
        if gradient @ step <= 1e-15 * total:
            x = x + step
            break
        # Newton's step is too long where the curvature is still that of even chances: shorten it until the cost falls.
        length = 1.0
        while (after := cost(x + length * step)) > now and length > 1e-12:
            length /= 2
        x = x + length * step
        if np.abs(length * step).max() < 1e-10 or after > now:
            break
        now = after
    return np.asarray(x - x.mean(), dtype=np.float64)


def ratings_of(wins: Floats, models: Sequence[str]) -> Floats:
    """Elo ratings of models: the mean is 1000, or ``llama-2-70b-chat`` has 1082 where it is among them.

    Args:
        wins: ``[models, models]``.
        models: Names.

    Returns:
        float64 ``[models]``.
    """
    ratings: Floats = POINTS * bradley_terry(wins) + MEAN_RATING
    if ANCHOR in models:
        ratings += ANCHOR_RATING - ratings[list(models).index(ANCHOR)]
    return ratings


def tiers_of(ratings: ArrayLike, count: int) -> Integers:
    """Tiers of models, 0 the strongest: the cut of the sorted ratings with the least sum of the tiers' variances.

    The variances are those of the population and are not weighted by the tiers' sizes; of equal cuts the first wins. Dynamic
    programming over the ratings, best first. No more tiers are made than there are models.

    Args:
        ratings: ``[models]``.
        count: Number of tiers.

    Returns:
        int64 ``[models]``.

    Example:
        >>> tiers_of([1000.0, 1190.0, 1010.0, 1200.0, 800.0], 3).tolist()
        [1, 0, 1, 0, 2]
    """
    values = np.asarray(ratings, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    ranked = values[order] - values.mean()
    number = len(ranked)
    parts = min(count, number)
    sums, squares = (np.concatenate([[0.0], np.cumsum(ranked**power)]) for power in (1, 2))
    best = np.full((parts + 1, number + 1), np.inf)
    best[0, 0] = 0.0
    cut = np.zeros((parts + 1, number + 1), dtype=np.int64)
    for end in range(1, number + 1):
        sizes = np.arange(end, 0, -1)
        means = (sums[end] - sums[:end]) / sizes
        # A tier of one has no variance; the sums would leave a rounding error there.
        variances = np.maximum((squares[end] - squares[:end]) / sizes - means**2, 0.0)
        variances[-1] = 0.0
        for part in range(1, parts + 1):
            costs = best[part - 1, :end] + variances
            cut[part, end] = int(np.argmin(costs))
            best[part, end] = costs[cut[part, end]]
    tiers = np.empty(number, dtype=np.int64)
    end = number
    for part in range(parts, 0, -1):
        start = int(cut[part, end])
        tiers[order[start:end]] = part - 1
        end = start
    return tiers


def unit(vectors: ArrayLike, precision: type[np.floating[Any]] = np.float64) -> NDArray[Any]:
    """Rows scaled to length one; rows of zeros stay. ``[..., dim]``."""
    rows = np.asarray(vectors, dtype=precision)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: NDArray[Any] = rows / np.where(length > 0, length, 1).astype(precision)
    return scaled
