"""Elo by similarity (``sw_ranking``) in NumPy, slow and plain: the specification that the core must agree with.

Battles near a prompt weigh more. With ``s_i`` the cosine of the prompt's embedding and the embedding of battle ``i``, and ``s_max``
the largest of them over the battles that count, battle ``i`` weighs ``10 * 10^(s_i / s_max)`` (arXiv 2406.18665, section 4.2); a
Bradley-Terry model of the tiers, fitted to the weighted battles, gives the win rate. Models stand in tiers of like strength;
battles inside a tier say nothing about tiers and do not count.

Where the cosines cannot rank (``s_max`` is zero, negative or no number, as for an embedding of zeros), every battle weighs 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Prompts of fewer characters (code points, blanks at both ends left out) are not learned from.
MIN_CHARACTERS = 16
#: Outcomes of a battle as artifacts store them.
A_WINS, B_WINS, TIE = 0, 1, 2
#: Elo points of a coefficient of one: a factor of ten in the odds is 400 points.
POINTS = 400.0 / np.log(10.0)
#: The model whose rating fixes the scale where it fought, and its rating, as in RouteLLM.
ANCHOR, ANCHOR_RATING = "llama-2-70b-chat", 1082.0
#: Mean rating where the anchor did not fight.
MEAN_RATING = 1000.0
#: Weight of the ridge as a part of the weight of all battles.
RIDGE = 1e-9


def long_enough(prompt: str) -> bool:
    """Whether a prompt is learned from.

    Example:
        >>> long_enough("  sixteen letters "), long_enough("sixteen letters!")
        (False, True)
    """
    return len(prompt.strip()) >= MIN_CHARACTERS


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

    The one regularisation is ``ridge * |x|^2 / 2`` beside the negative log likelihood, ``ridge`` being :data:`RIDGE` times the
    weight of all battles. It moves well-determined differences by less than a millionth and makes the others finite: a side that
    never won, or never lost, ends some 20 below or above the rest; groups that never met compare at their own centres; sides
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


@dataclass(frozen=True)
class Cells:
    """Groups of prompts, from which the far battles are estimated.

    Attributes:
        cell: Cell of every prompt, ``[prompts]``.
        means: Mean of the unit vectors of a cell, ``[cells, dim]``.
        spreads: Mean squared distance of the members to that mean, divided by ``dim``: the variance of a similarity along a
            direction that knows nothing of the cell; ``[cells]``.
    """

    cell: Integers
    means: Floats
    spreads: Floats


class SimilarityRanking:
    """Battles and their prompts, ready to judge an embedding.

    Args:
        vectors: Embeddings of distinct prompts, ``[prompts, dim]``, of any length.
        battle_prompt: Prompt of every battle, ``[battles]``.
        tier_a: Tier of one model of every battle.
        tier_b: Tier of the other.
        outcome: 0, 1 or 2 as in :func:`win_matrix`.
        tiers: Number of tiers.
        cells: For the approximation.
        precision: Of the vectors; float32 halves the memory and moves a win rate by less than a millionth.
    """

    def __init__(
        self,
        vectors: ArrayLike,
        battle_prompt: ArrayLike,
        tier_a: ArrayLike,
        tier_b: ArrayLike,
        outcome: ArrayLike,
        tiers: int,
        cells: Cells | None = None,
        precision: type[np.floating[Any]] = np.float64,
    ) -> None:
        self.vectors: NDArray[Any] = unit(vectors, precision)
        self.tiers = tiers
        self.cells = cells
        prompt, a, b = (np.asarray(part, dtype=np.int64) for part in (battle_prompt, tier_a, tier_b))
        across = a != b
        self.prompt, self.a, self.b = prompt[across], a[across], b[across]
        self.outcome = np.asarray(outcome, dtype=np.int64)[across]
        #: Whether a prompt has a battle that counts.
        self.counts = np.bincount(self.prompt, minlength=len(self.vectors)) > 0

    def similarities(self, embedding: ArrayLike) -> Floats:
        """Cosine with every prompt, float64 ``[prompts]``."""
        cosines: Floats = (self.vectors @ unit(embedding).astype(self.vectors.dtype)).astype(np.float64)
        return cosines

    def win_rate(self, embedding: ArrayLike, strong: int, weak: int, without: int | None = None) -> float:
        """Chance that tier ``strong`` is preferred to tier ``weak`` on a prompt of this embedding ``[dim]``.

        Args:
            embedding: ``[dim]``.
            strong: Tier.
            weak: Tier.
            without: A prompt whose battles are left out, to judge it as if it were new.
        """
        cosines = self.similarities(embedding)
        counts = self.counts.copy()
        if without is not None:
            counts[without] = False
        counted = cosines[counts]
        weights = np.where(counts, weights_of(cosines, float(counted.max()) if len(counted) else 0.0), 0.0)
        wins = win_matrix(self.a, self.b, self.outcome, weights[self.prompt], self.tiers)
        return pair_win_rate(bradley_terry(wins), strong, weak)

    def approximate_win_rate(
        self, embedding: ArrayLike, near: ArrayLike, strong: int, weak: int, without: int | None = None
    ) -> float:
        """:meth:`win_rate` from the battles of some near prompts and, for all others, the cells that they lie in.

        ``s_max`` is the largest similarity among the near prompts that count. A far battle of a cell weighs what it would on
        average if similarities in the cell were normal: ``10 * exp(a * mu + a^2 * spread / 2)`` with ``a = ln(10) / s_max`` and ``mu``
        the dot product of the embedding and the cell's mean, at most 100, which no battle exceeds.

        Args:
            embedding: ``[dim]``.
            near: Places of near prompts, as a search finds them.
            strong: Tier.
            weak: Tier.
            without: As in :meth:`win_rate`.
        """
        if self.cells is None:
            raise ValueError("the approximation needs cells")
        direction = unit(embedding)
        near = np.asarray(near, dtype=np.int64)
        near = near[near != without] if without is not None else near
        is_near = np.zeros(len(self.vectors), dtype=bool)
        is_near[near] = True
        cosines = (self.vectors[near] @ direction.astype(self.vectors.dtype)).astype(np.float64)
        known = cosines[self.counts[near]]
        top = float(known.max()) if len(known) else 0.0
        weights = np.empty(len(self.vectors))
        weights[near] = weights_of(cosines, top)
        far = expected_weights(self.cells.means @ direction, self.cells.spreads, top)
        weights[~is_near] = far[self.cells.cell[~is_near]]
        if without is not None:
            weights[without] = 0.0
        wins = win_matrix(self.a, self.b, self.outcome, weights[self.prompt], self.tiers)
        return pair_win_rate(bradley_terry(wins), strong, weak)


def weights_of(cosines: Floats, top: float) -> Floats:
    """``10 * 10^(s / s_max)`` of cosines; 10 throughout where ``s_max`` ranks nothing."""
    if not (np.isfinite(top) and top > 0):
        return np.full(len(cosines), 10.0)
    result: Floats = 10.0 * 10.0 ** (cosines / top)
    return result


def expected_weights(means: Floats, spreads: Floats, top: float) -> Floats:
    """Mean weight of a battle in every cell, from the mean and the variance of the similarity there."""
    if not (np.isfinite(top) and top > 0):
        return np.full(len(means), 10.0)
    slope = np.log(10.0) / top
    result: Floats = np.minimum(10.0 * np.exp(np.minimum(slope * means + slope**2 * spreads / 2, 50.0)), 100.0)
    return result


def pair_win_rate(coefficients: Floats, strong: int, weak: int) -> float:
    """Sigmoid of the difference of two tiers; one half within a tier."""
    return float(1.0 / (1.0 + np.exp(coefficients[weak] - coefficients[strong]))) if strong != weak else 0.5


def dequantised(tensors: Mapping[str, NDArray[Any]]) -> Floats:
    """The vectors of a ``battles.safetensors``, float64 ``[prompts, dim]``."""
    vectors = tensors["vectors"].astype(np.float64)
    if tensors["vectors"].dtype == np.int8:
        vectors *= tensors["scales"].astype(np.float64)[:, None]
    return vectors
