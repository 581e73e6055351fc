"""Global ratings of models, their tiers, and who can be compared with whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.routers.sw_ranking.elo import Floats, Integers, ratings_of, tiers_of, win_matrix
from turnout.routers.sw_ranking.table import BattleTable


@dataclass(frozen=True)
class Rating:
    """What battles say of models, all prompts weighing alike.

    Attributes:
        table: The battles, models in the order of their ratings, best first.
        ratings: Elo of every model; see :func:`turnout.routers.sw_ranking.elo.ratings_of`.
        tiers: Tier of every model, 0 the strongest.
        groups: Group of every model, 0 the largest: within a group each has met each, directly or through others. Ratings of
            different groups stand at their own centers and do not compare.
    """

    table: BattleTable
    ratings: Floats
    tiers: Integers
    groups: Integers

    @property
    def across(self) -> NDArray[np.bool_]:
        """Which battles count: those between tiers."""
        different: NDArray[np.bool_] = self.tiers[self.table.a] != self.tiers[self.table.b]
        return different


def rate(table: BattleTable, tiers: int) -> Rating:
    """Rates the models of a table and cuts them into tiers.

    Args:
        table: Battles.
        tiers: Number of tiers at most.
    """
    ratings = ratings_of(win_matrix(table.a, table.b, table.outcome, 1.0, len(table.models)), table.models)
    order = np.argsort(-ratings, kind="stable")
    table = table.with_models([table.models[index] for index in order])
    ratings = ratings[order]
    return Rating(table, ratings, tiers_of(ratings, tiers), groups_of(table))


def groups_of(table: BattleTable) -> Integers:
    """Groups of models that met, directly or through others, the one with most battles first; int64 ``[models]``."""
    label = np.arange(len(table.models))
    pairs = np.unique(np.stack([table.a, table.b], axis=1), axis=0)
    changed = True
    while changed:
        low = np.minimum(label[pairs[:, 0]], label[pairs[:, 1]])
        spread = label.copy()
        np.minimum.at(spread, pairs[:, 0], low)
        np.minimum.at(spread, pairs[:, 1], low)
        changed = bool((spread != label).any())
        label = spread
    fought = np.bincount(label[table.a], minlength=len(label))
    names, which = np.unique(label, return_inverse=True)
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(-fought[names], kind="stable")] = np.arange(len(names))
    found: Integers = rank[which]
    return found


def largest_group(table: BattleTable) -> BattleTable:
    """The battles of the largest group of models alone."""
    groups = groups_of(table)
    return table.only(groups[table.a] == 0, "models without battles with the largest group")
