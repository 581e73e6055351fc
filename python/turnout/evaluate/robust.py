"""The worst case of a chance of success when prompts shift: closed forms for a shift by a Kullback-Leibler divergence.

For an outcome that is good or bad, the worst distribution within a divergence weighs all good outcomes alike and all bad ones alike, so the bound
is that of two coins (the dual of the expectation under a KL ball, Hu and Hong 2013; as a target of a router in arXiv 2605.10805, which could not be
consulted here).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from turnout._core import InvalidInputError


def divergence(one: float, other: float) -> float:
    """KL divergence of a coin from another, in nats.

    Args:
        one: Chance of the one, in ``[0, 1]``.
        other: Chance of the other, in ``(0, 1)``.

    Example:
        >>> round(divergence(0.7, 0.8), 4)
        0.0282
    """
    parts = [(one, other), (1.0 - one, 1.0 - other)]
    return float(sum(p * np.log(p / q) for p, q in parts if p > 0.0))


def worst_case(success: float, radius: float) -> float:
    """The least chance of success of any distribution within a divergence of this one.

    Args:
        success: Chance of success, in ``[0, 1]``.
        radius: KL divergence in nats, at least 0.

    Example:
        >>> round(worst_case(0.8, 0.02825), 2)
        0.7
    """
    _check(success, radius)
    if success in (0.0, 1.0) or radius == 0.0:
        return success
    if divergence(0.0, success) <= radius:
        return 0.0
    return float(brentq(lambda at: divergence(at, success) - radius, 0.0, success))


def robust_target(target: float, radius: float) -> float:
    """The least chance of success whose worst case within a divergence reaches a target.

    Args:
        target: Chance of success to keep, in ``[0, 1]``.
        radius: KL divergence in nats, at least 0.

    Example:
        >>> round(robust_target(0.7, 0.02825), 2)
        0.8
    """
    _check(target, radius)
    if target in (0.0, 1.0) or radius == 0.0:
        return target
    top = 1.0 - 1e-12
    if divergence(target, top) <= radius:
        return 1.0
    return float(brentq(lambda at: divergence(target, at) - radius, target, top))


def _check(chance: float, radius: float) -> None:
    if not 0.0 <= chance <= 1.0:
        raise InvalidInputError(f"a chance is {chance:g}, expected a number in 0..1")
    if not 0.0 <= radius < np.inf:
        raise InvalidInputError(f"radius is {radius:g}, expected 0 or more")
