"""A threshold for a share of strong calls."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from turnout._core import InvalidInputError
from turnout.calibrate.choice import CONFIDENCE, Choice, Floats, cuts, plateau_warning


def threshold_for_share(win_rates: ArrayLike, strong_share: float, *, precision: float = 0.02) -> Choice:
    """Chooses the threshold whose share of strong calls on these prompts is nearest to the one asked for.

    The interval is that of Clopper and Pearson (1934) for the share of further prompts at or above the threshold. It
    holds for any
    distribution and sample size when prompts are drawn alike and independently; for win rates without ties it contains the exact
    interval of the order statistic that was chosen, whose share is Beta distributed (David and Nagaraja 2003, section 2.1).

    Args:
        win_rates: Of prompts like those to come.
        strong_share: Share asked for, in ``[0, 1]``.
        precision: Half width of the interval that is precise enough; a wider one gives a warning with the sample it would take.

    Returns:
        The choice; ``achieved`` is what the sample gives, which ties can keep away from what was asked.

    Example:
        >>> choice = threshold_for_share([0.1, 0.2, 0.3, 0.4], 0.5, precision=1)
        >>> round(choice.threshold, 2), choice.achieved
        (0.25, 0.5)
    """
    if not 0 <= strong_share <= 1:
        raise InvalidInputError(f"strong_share is {strong_share}, expected a number in 0..=1")
    made = cuts(win_rates)
    shares = made.shares
    place = int(np.argmin(np.abs(shares - strong_share)))
    count, achieved = len(made.order), float(shares[place])
    low, high = clopper_pearson(int(made.calls[place]), count)
    warnings = plateau_warning(made, place, strong_share)
    half = (high - low) / 2
    if half > precision:
        needed = prompts_for_precision(strong_share, precision)
        warnings.append(
            f"{count} prompts give the share to within {half:.3f}, {precision:g} was asked: that takes about {needed:,} prompts"
        )
    return Choice(
        "strong_share", strong_share, float(made.thresholds[place]), achieved, low, high, achieved, count, warnings
    )


def clopper_pearson(successes: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper and Pearson 1934).

    Example:
        >>> [round(end, 3) for end in clopper_pearson(3, 10)]
        [0.067, 0.652]
    """
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, count - successes + 1))
    high = 1.0 if successes == count else float(beta.ppf(1 - tail, successes + 1, count - successes))
    return low, high


def prompts_for_precision(share: float, precision: float) -> int:
    """Prompts for an interval of half width ``precision`` around a share, by the normal approximation."""
    variance = max(share * (1 - share), 0.25 * precision)
    return math.ceil(1.96**2 * variance / precision**2)


def quantile_table(win_rates: ArrayLike, points: int = 1001) -> Floats:
    """Win rates at evenly spaced quantiles from 0 to 1, never falling: what ``route(strong_share=...)`` looks shares up in."""
    rates = np.asarray(win_rates, dtype=np.float64)
    if not len(rates):
        raise InvalidInputError("no prompts to take quantiles of")
    result: Floats = np.maximum.accumulate(np.quantile(rates, np.linspace(0, 1, points)))
    return result
