"""What may be spent on a day, kept in the database of outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from turnout.outcomes.store import Outcomes

_DAY_S = 86_400
_SPENT = "SELECT coalesce(sum(amount), 0) FROM spent WHERE day = ?"
_ADD = "INSERT INTO spent VALUES (?, max(?, 0)) ON CONFLICT (day) DO UPDATE SET amount = max(amount + ?, 0)"


class Reservation(NamedTuple):
    """An amount that may be spent.

    Attributes:
        day: Days since 1970, UTC.
        amount: In the currency of the budget.

    Example:
        >>> Reservation(20_000, 0.25).amount
        0.25
    """

    day: int
    amount: float


class Spending:
    """Keeps what is spent on a day (UTC) within a limit, durably. Processes that have the database open share it.

    An amount is reserved before it is spent and settled when it is known. After a crash a reservation counts as spent.

    Args:
        outcomes: The database.
        clock: Seconds since 1970.

    Example:
        >>> spending = Spending(Outcomes(":memory:"), clock=lambda: 0.0)
        >>> first = spending.reserve(0.75, limit=1.0)
        >>> spending.reserve(0.5, limit=1.0) is None
        True
        >>> spending.settle(first, paid=0.25)
        >>> spending.today
        0.25
    """

    def __init__(self, outcomes: Outcomes, clock: Callable[[], float] = time.time) -> None:
        self._outcomes = outcomes
        self._clock = clock

    def reserve(self, amount: float, limit: float) -> Reservation | None:
        """Reserves an amount of today's.

        Args:
            amount: What is expected to be spent.
            limit: Of a day.

        Returns:
            ``None`` where it would exceed the limit.

        Raises:
            OutcomesError: The database is damaged, or was opened before a fork.
            OverloadedError: Other processes are writing, for longer than 10 s.
        """
        day = self._day()
        with self._outcomes.writing() as connection:
            (spent,) = connection.execute(_SPENT, (day,)).fetchone()
            if spent + amount > limit:
                return None
            connection.execute(_ADD, (day, amount, amount))
        return Reservation(day, amount)

    def settle(self, reservation: Reservation, paid: float) -> None:
        """Counts what was spent in place of what was reserved.

        Args:
            reservation: Of :meth:`reserve`.
            paid: What was spent.

        Raises:
            OutcomesError: As :meth:`reserve`.
            OverloadedError: Likewise.
        """
        change = paid - reservation.amount
        with self._outcomes.writing() as connection:
            connection.execute(_ADD, (reservation.day, change, change))

    @property
    def today(self) -> float:
        """What is spent and reserved today."""
        with self._outcomes.writing() as connection:
            return float(connection.execute(_SPENT, (self._day(),)).fetchone()[0])

    def _day(self) -> int:
        return int(self._clock() // _DAY_S)
