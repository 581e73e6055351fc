"""The budget of a pool over reloads, and what it has counted for a request until its cost is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnout.pool.budget import PoolBudget


@dataclass
class Account:
    """Where the requests of a pool are counted: a reload changes the budget, and those in flight are counted in the one that runs.

    For one event loop.
    """

    budget: PoolBudget
    #: File of its state; empty for none.
    path: str = ""

    def go_on_with(self, budget: PoolBudget, path: str) -> None:
        """Goes on with another budget of the same resource.

        Args:
            budget: Gets the state of the one before.
            path: File of its state.
        """
        budget.restore(self.budget.state())
        self.budget, self.path = budget, path


@dataclass(frozen=True)
class Charge:
    """A request of a pool with a budget, whichever rule chose its model."""

    account: Account
    #: What the budget has counted, in its units.
    expected: float

    def settle(self, cost: float) -> None:
        """Corrects a budget of cost.

        Args:
            cost: Of the answer, in the pool's currency.
        """
        if self.account.budget.resource == "cost":
            self.account.budget.spend(cost - self.expected)
