"""What a pool's budget has counted for a request, until its cost is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnout.pool.budget import PoolBudget


@dataclass(frozen=True)
class Charge:
    """A request of a pool with a budget, whichever rule chose its model."""

    budget: PoolBudget
    #: What the budget has counted, in its units.
    expected: float

    def settle(self, cost: float) -> None:
        """Corrects a budget of cost.

        Args:
            cost: Of the answer, in the pool's currency.
        """
        if self.budget.resource == "cost":
            self.budget.spend(cost - self.expected)
