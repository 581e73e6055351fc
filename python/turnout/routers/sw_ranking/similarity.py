"""Elo by similarity (``sw_ranking``) in NumPy, slow and plain: the specification that the core must agree with.

Battles with similar prompts have larger weights. With ``s_i`` the cosine of the prompt's embedding and the embedding of battle ``i``, and ``s_max``
the largest of them over the battles that count, battle ``i`` weighs ``10 * 10^(s_i / s_max)`` ("RouteLLM: Learning to Route LLMs with Preference Data", arXiv 2406.18665, section 4.2); a
Bradley-Terry model of the tiers, fitted to the weighted battles, gives the win rate. Models stand in tiers of like strength;
battles inside a tier say nothing about tiers and do not count.

Where the cosines cannot rank (``s_max`` is zero, negative or no number, as for an embedding of zeros), every battle weighs 10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from turnout.routers.sw_ranking.elo import Floats, Integers, bradley_terry, unit, win_matrix


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
        self, embedding: ArrayLike, neighbors: ArrayLike, strong: int, weak: int, without: int | None = None
    ) -> float:
        """:meth:`win_rate` from the battles of the given neighbors and, for all others, from their cells.

        ``s_max`` is the largest similarity among the neighbors that count. A distant battle of a cell weighs what it would on
        average if similarities in the cell were normal: ``10 * exp(a * mu + a^2 * spread / 2)`` with ``a = ln(10) / s_max`` and ``mu``
        the dot product of the embedding and the cell's mean, at most 100, which no battle exceeds.

        Args:
            embedding: ``[dim]``.
            neighbors: int64 ``[k]``: indices of the most similar prompts.
            strong: Tier.
            weak: Tier.
            without: As in :meth:`win_rate`.
        """
        if self.cells is None:
            raise ValueError("the approximation needs cells")
        direction = unit(embedding)
        neighbors = np.asarray(neighbors, dtype=np.int64)
        neighbors = neighbors[neighbors != without] if without is not None else neighbors
        is_neighbor = np.zeros(len(self.vectors), dtype=bool)
        is_neighbor[neighbors] = True
        cosines = (self.vectors[neighbors] @ direction.astype(self.vectors.dtype)).astype(np.float64)
        known = cosines[self.counts[neighbors]]
        top = float(known.max()) if len(known) else 0.0
        weights = np.empty(len(self.vectors))
        weights[neighbors] = weights_of(cosines, top)
        far = expected_weights(self.cells.means @ direction, self.cells.spreads, top)
        weights[~is_neighbor] = far[self.cells.cell[~is_neighbor]]
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


def dequantized(tensors: Mapping[str, NDArray[Any]]) -> Floats:
    """The vectors of a ``battles.safetensors``, float64 ``[prompts, dim]``."""
    vectors = tensors["vectors"].astype(np.float64)
    if tensors["vectors"].dtype == np.int8:
        vectors *= tensors["scales"].astype(np.float64)[:, None]
    return vectors
