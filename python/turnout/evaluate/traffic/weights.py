"""What each verdict of shadow evaluation stands for: the requests that were as likely to be drawn."""

from __future__ import annotations

import numpy as np

from turnout.evaluate.metrics import Floats


def verdict_weights(verdicts: Floats, chances: Floats) -> Floats:
    """Weights of verdicts: the inverse of the chance with which each was drawn.

    Args:
        verdicts: float64 ``[rows]``, NaN where there is none.
        chances: float64 ``[rows]``; NaN for verdicts that were not drawn by chance, which count only where all are such.

    Returns:
        float64 ``[rows]``; 0 for rows that do not count.

    Example:
        >>> verdict_weights(np.array([1.0, 0.0, np.nan]), np.array([0.5, 0.1, np.nan])).tolist()
        [2.0, 10.0, 0.0]
    """
    by_chance = not np.isnan(chances).all()
    known = ~np.isnan(chances if by_chance else verdicts)
    found: Floats = np.where(known, 1.0 / chances if by_chance else 1.0, 0.0)
    return found


def effective_size(weights: Floats) -> float:
    """How many rows of equal weight say as much (Kish's effective sample size).

    Args:
        weights: float64 ``[rows]``.

    Example:
        >>> effective_size(np.array([2.0, 2.0, 0.0])), round(effective_size(np.array([10.0, 0.1])), 2)
        (2.0, 1.02)
    """
    total = float(weights.sum())
    return total**2 / float(weights @ weights) if total else 0.0
