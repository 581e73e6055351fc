"""The last decisions, for the strong share and for the playground."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

#: A receipt as :mod:`turnout.serve.receipts.receipts` makes it.
Receipt = dict[str, Any]


@dataclass
class Decided:
    """A decision, and later what came of it."""

    #: Without the prompt.
    receipt: Receipt
    #: Of all decisions since the start, from 1.
    number: int
    #: :attr:`RecentDecisions.revision` when it was added or last changed.
    revision: int


class RecentDecisions:
    """A ring of decisions. For one event loop.

    Args:
        size: Decisions that are kept.
    """

    def __init__(self, size: int = 1000) -> None:
        self._ring: deque[Decided] = deque(maxlen=size)
        self._waiters: set[asyncio.Future[None]] = set()
        #: Decisions since the start.
        self.count = 0
        #: Grows with every decision and with every change of one.
        self.revision = 0

    def add(self, receipt: Receipt) -> Decided:
        """Keeps one more."""
        self.count += 1
        decided = Decided(receipt, self.count, 0)
        self._ring.append(decided)
        self.changed(decided)
        return decided

    def changed(self, decided: Decided) -> None:
        """Notifies waiters in :meth:`next_revision` of a new or completed decision."""
        self.revision += 1
        decided.revision = self.revision
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def since(self, revision: int, most: int) -> list[Decided]:
        """Decisions that were added or changed after a revision, the oldest first.

        Args:
            revision: An earlier value of :attr:`revision`; 0 for all.
            most: Of how many of the last decisions.
        """
        last = list(self._ring)[-most:] if most > 0 else []
        return [decided for decided in last if decided.revision > revision]

    async def next_revision(self, revision: int) -> int:
        """Waits until :attr:`revision` is greater than this one, and gives it."""
        while self.revision <= revision:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        return self.revision

    def strong_share(self, router: str | None = None) -> float | None:
        """Share of strong decisions among those kept, of one router or of all; ``None`` before the first."""
        receipts = [decided.receipt for decided in self._ring]
        found = (one.get("is_strong") for one in receipts if router is None or one["router"] == router)
        # Decisions of pools have no strong model.
        strong = [one for one in found if one is not None]
        return sum(strong) / len(strong) if strong else None
