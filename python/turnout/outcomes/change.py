"""Notices that a sequence of numbers changes, such as outcomes or latencies of a model, with a stated rate of false alarms."""

from __future__ import annotations

import bisect
import math

from turnout.errors import ConfigError, InvalidInputError
from turnout.outcomes.draw import uniform

#: How strongly is bet on ranks that are too low or too high.
_BETS = (-0.9, -0.5, -0.2, 0.2, 0.5, 0.9)
#: Values that are compared with, at most: the older half is then forgotten.
MOST_VALUES = 50_000


class ChangeDetector:
    """A conformal test for a change, after Shiryaev and Roberts.

    As long as nothing changes, the rank of each value among all before it is uniform, whatever its distribution. Bets on ranks that are too
    low or too high then gain nothing on average, and the mean number of values until a false alarm is at least ``mean_values``. After a
    change the bets grow exponentially. Values whose level varies with the time of day are a change to this test.

    Args:
        mean_values: The mean number of values until a false alarm, at least.
        seed: Breaks ties between equal values.

    Raises:
        ConfigError: ``mean_values`` is below 10.

    Example:
        >>> detector = ChangeDetector(mean_values=1000)
        >>> any(detector.add(number % 5 > 0) for number in range(400))
        False
        >>> next(number for number in range(400) if detector.add(number % 5 == 0)) < 60
        True
    """

    def __init__(self, mean_values: float = 10_000, seed: int = 0) -> None:
        if not 10 <= mean_values < math.inf:
            raise ConfigError(f"mean_values is {mean_values}, expected a number of at least 10", option="mean_values")
        self._limit = float(mean_values)
        self._seed = seed
        self._number = 0
        #: The last values in order of size, and as they arrived.
        self._values: list[float] = []
        self._arrived: list[float] = []
        self._bets: list[float] = [0.0] * len(_BETS)

    @property
    def evidence(self) -> float:
        """The evidence for a change: an alarm at 1. Without a change its mean after ``n`` values is ``n / mean_values``."""
        return sum(self._bets) / len(_BETS) / self._limit

    def add(self, value: float) -> bool:
        """Takes the next value.

        Args:
            value: Any number; larger and smaller ones count, not by how much.

        Returns:
            Whether this is an alarm. The test then begins anew.

        Raises:
            InvalidInputError: The value is not a number.
        """
        value = float(value)
        if math.isnan(value):
            raise InvalidInputError("value is nan, expected a number", argument="value")
        if len(self._values) >= MOST_VALUES:
            # The newer half stays as what is usual, and so does the evidence: a change at this point is noticed like any other.
            self._arrived = self._arrived[MOST_VALUES // 2 :]
            self._values = sorted(self._arrived)
        below, upto = bisect.bisect_left(self._values, value), bisect.bisect_right(self._values, value)
        drawn = uniform(self._seed, self._number)
        rank = (below + drawn * (upto - below + 1)) / (len(self._values) + 1)
        self._number += 1
        self._values.insert(upto, value)
        self._arrived.append(value)
        self._bets = [(1 + gain) * (1 + bet * (2 * rank - 1)) for gain, bet in zip(self._bets, _BETS, strict=True)]
        if self.evidence < 1:
            return False
        self._reset()
        return True

    def _reset(self) -> None:
        self._values.clear()
        self._arrived.clear()
        self._bets = [0.0] * len(_BETS)
