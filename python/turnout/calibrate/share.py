"""A threshold for a share of strong calls."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from turnout._core import InvalidInputError
from turnout.calibrate.choice import CONFIDENCE, Choice, Floats, candidate_thresholds, plateau_warning


def threshold_for_share(win_rates: ArrayLike, strong_share: float, *, precision: float = 0.02) -> Choice:
    """Chooses the threshold whose share of strong calls on these prompts is closest to the requested share.

    The interval is the Clopper-Pearson interval (1934) for the share of further prompts at or above the threshold. It holds for any
    distribution and sample size if prompts are independent and identically distributed. For win rates without ties it contains the
    exact interval of the chosen order statistic, whose share is Beta distributed (David and Nagaraja 2003, section 2.1).

    Args:
        win_rates: Win rates of a sample of your prompts, float ``[prompts]``.
        strong_share: Requested share, in ``[0, 1]``.
        precision: Largest half width of the interval that gives no warning; the warning says how many prompts would be enough.

    Returns:
        The choice; ``achieved`` is the share on the sample, which can differ from the request where win rates are equal.

    Raises:
        InvalidInputError: The share or a win rate is outside ``[0, 1]``, or there are no prompts.

    Example:
        >>> choice = threshold_for_share([0.1, 0.2, 0.3, 0.4], 0.5, precision=1)
        >>> round(choice.threshold, 2), choice.achieved
        (0.25, 0.5)
    """
    if not 0 <= strong_share <= 1:
        raise InvalidInputError(f"strong_share is {strong_share}, expected a number in 0..=1")
    made = candidate_thresholds(win_rates)
    shares = made.shares
    index = int(np.argmin(np.abs(shares - strong_share)))
    count, achieved = len(made.order), float(shares[index])
    low, high = clopper_pearson(int(made.calls[index]), count)
    warnings = plateau_warning(made, index, strong_share)
    half = (high - low) / 2
    if half > precision:
        needed = prompts_for_precision(strong_share, precision)
        warnings.append(
            f"{count} prompts give the share to within {half:.3f}; {precision:g} needs about {needed:,} prompts"
        )
    return Choice(
        "strong_share", strong_share, float(made.thresholds[index]), achieved, low, high, achieved, count, warnings
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
    """Number of prompts for an interval of half width ``precision`` around a share, by the normal approximation."""
    variance = max(share * (1 - share), 0.25 * precision)
    return math.ceil(1.96**2 * variance / precision**2)


def quantile_table(win_rates: ArrayLike, points: int = 1001) -> Floats:
    """Win rates at evenly spaced quantiles from 0 to 1, never falling; ``route(strong_share=...)`` reads its thresholds from it."""
    rates = np.asarray(win_rates, dtype=np.float64)
    if not len(rates):
        raise InvalidInputError("quantiles need at least one prompt")
    result: Floats = np.maximum.accumulate(np.quantile(rates, np.linspace(0, 1, points)))
    return result
