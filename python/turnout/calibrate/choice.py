"""A chosen threshold with its measured value, and the distinct thresholds of a sample of win rates."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from turnout._core import InvalidInputError

Floats = NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Choice:
    """A threshold chosen for a target.

    Attributes:
        target: ``"strong_share"``, ``"cost_per_request"`` or ``"quality"``.
        asked: The requested value of the target.
        threshold: The strong model is chosen when ``win_rate >= threshold``.
        achieved: The value at this threshold on the sample itself.
        low: Lower end of the 95 % interval of the value on further prompts like these.
        high: Upper end.
        strong_share: Share of strong calls at this threshold on the sample.
        prompts: Size of the sample.
        warnings: Limits of the choice, with numbers.
        details: Further numbers by name.

    Example:
        >>> from turnout.calibrate import threshold_for_share
        >>> choice = threshold_for_share([0.1, 0.2, 0.3, 0.4], 0.5, precision=1)
        >>> choice.target, choice.asked, choice.achieved
        ('strong_share', 0.5, 0.5)
    """

    target: str
    asked: float
    threshold: float
    achieved: float
    low: float
    high: float
    strong_share: float
    prompts: int
    warnings: list[str] = field(default_factory=list)
    details: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the choice as JSON values.

        Returns:
            The fields by name; numbers that are not finite are ``None``.
        """
        return {
            key: None if isinstance(value, float) and not np.isfinite(value) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True)
class CandidateThresholds:
    """All thresholds that divide a sample differently, from no strong call to all strong calls.

    Attributes:
        thresholds: Falling; the first is above every win rate if there is room up to 1, the last is 0.
        calls: Prompts at or above each threshold, rising.
        order: Prompts by falling win rate.
    """

    thresholds: Floats
    calls: NDArray[np.int64]
    order: NDArray[np.int64]

    @property
    def shares(self) -> Floats:
        """Share of strong calls at each threshold."""
        result: Floats = self.calls / len(self.order)
        return result


def candidate_thresholds(win_rates: ArrayLike) -> CandidateThresholds:
    """All thresholds that divide a sample differently.

    They are halfway between neighboring distinct win rates, so that rounding changes no decision. The first and last are exact:
    0 sends every prompt to the strong model, 1 only win rates of exactly 1.

    Example:
        >>> made = candidate_thresholds([0.2, 0.4, 0.4])
        >>> [round(float(threshold), 2) for threshold in made.thresholds], made.calls.tolist()
        ([1.0, 0.3, 0.0], [0, 2, 3])
    """
    rates = np.asarray(win_rates, dtype=np.float64)
    if rates.ndim != 1 or not len(rates):
        raise InvalidInputError(f"win rates have shape {rates.shape}, expected at least one prompt")
    if not ((rates >= 0) & (rates <= 1)).all():
        raise InvalidInputError("win rates have values outside 0..=1")
    order = np.argsort(-rates, kind="stable")
    ranked = rates[order]
    ends = np.flatnonzero(ranked[1:] != ranked[:-1])
    middle = (ranked[ends] + ranked[ends + 1]) / 2
    inner = np.where(middle > ranked[ends + 1], middle, ranked[ends])  # adjacent doubles have no value between them
    thresholds = np.concatenate([[1.0], inner, [0.0]])
    calls = np.concatenate([[(rates >= 1.0).sum()], ends + 1, [len(rates)]]).astype(np.int64)
    return CandidateThresholds(thresholds, calls, order)


def plateau_warning(made: CandidateThresholds, index: int, asked_share: float) -> list[str]:
    """A warning if equal win rates leave no threshold close to the requested share."""
    shares = made.shares
    gap = abs(float(shares[index]) - asked_share)
    if gap <= 1.0 / len(made.order) + 1e-12:
        return []
    above, below = shares[shares > asked_share], shares[shares <= asked_share]
    nearest = " or ".join(f"{value:.4f}" for value in [*below[-1:], *above[:1]])
    count = round((float(above[0]) - float(below[-1])) * len(made.order)) if len(above) and len(below) else 0
    return [
        f"{count} prompts share one win rate: no threshold gives a share of {asked_share:.4f}, the nearest are {nearest}"
    ]
