"""Elo weighted by similarity: the specification of ``sw_ranking``.

The code lives with the kind, because training also measures an approximate index against it. It is collected here so that tests and
parity read every specification from one place.
"""

from turnout.data.battle_outcomes import A_WINS, B_WINS, MIN_CHARACTERS, TIE, long_enough
from turnout.routers.sw_ranking.elo import (
    ANCHOR,
    ANCHOR_RATING,
    MEAN_RATING,
    POINTS,
    RIDGE,
    Floats,
    Integers,
    bradley_terry,
    ratings_of,
    tiers_of,
    unit,
    win_matrix,
)
from turnout.routers.sw_ranking.similarity import (
    Cells,
    SimilarityRanking,
    dequantized,
    expected_weights,
    pair_win_rate,
    weights_of,
)

__all__ = [
    "ANCHOR",
    "ANCHOR_RATING",
    "A_WINS",
    "B_WINS",
    "MEAN_RATING",
    "MIN_CHARACTERS",
    "POINTS",
    "RIDGE",
    "TIE",
    "Cells",
    "Floats",
    "Integers",
    "SimilarityRanking",
    "bradley_terry",
    "dequantized",
    "expected_weights",
    "long_enough",
    "pair_win_rate",
    "ratings_of",
    "tiers_of",
    "unit",
    "weights_of",
    "win_matrix",
]
