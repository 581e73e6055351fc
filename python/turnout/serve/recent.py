"""The last decisions, for the strong share and for the playground."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

#: A receipt as :mod:`turnout.serve.receipts` makes it.
Receipt = dict[str, Any]


class RecentDecisions:
    """A ring of receipts. For one event loop.

    Args:
        size: Receipts that are kept.
    """

    def __init__(self, size: int = 1000) -> None:
        self._ring: deque[Receipt] = deque(maxlen=size)
        self._waiters: set[asyncio.Future[None]] = set()
        #: Decisions since the start.
        self.count = 0

    def add(self, receipt: Receipt) -> None:
        """Keeps one more and wakes whoever waits in :meth:`changed`."""
        self._ring.append(receipt)
        self.count += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def last(self, count: int) -> list[Receipt]:
        """At most this many, the oldest first."""
        return list(self._ring)[-count:] if count > 0 else []

    async def changed(self, since: int) -> int:
        """Waits until there are more than ``since`` decisions; gives :attr:`count`."""
        while self.count <= since:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        return self.count

    def strong_share(self, router: str | None = None) -> float | None:
        """Share of strong decisions among those kept, of one router or of all; ``None`` before the first."""
        strong = [one["is_strong"] for one in self._ring if router is None or one["router"] == router]
        return sum(strong) / len(strong) if strong else None
