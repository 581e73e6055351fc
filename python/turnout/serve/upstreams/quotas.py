"""Quotas: how many requests a minute a model gets."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_MINUTE_S = 60.0


class Quota:
    """Counts the requests of the last minute. For one event loop.

    Args:
        name: Of the model or effort.
        limit: Requests in any 60 seconds.
        clock: A monotonic clock in seconds, for tests.

    Example:
        >>> now = 0.0
        >>> quota = Quota("small", 1, lambda: now)
        >>> quota.take(), quota.take(), quota.remaining_s()
        (True, False, 60.0)
    """

    def __init__(self, name: str, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.limit = limit
        self._clock = clock
        self._sent: deque[float] = deque()

    def remaining_s(self) -> float:
        """Seconds until a request may be sent; 0 if one may be sent now."""
        now = self._clock()
        while self._sent and self._sent[0] <= now - _MINUTE_S:
            self._sent.popleft()
        return 0.0 if len(self._sent) < self.limit else self._sent[0] + _MINUTE_S - now

    def take(self) -> bool:
        """Counts a request, if one may be sent."""
        if self.remaining_s() > 0.0:
            return False
        self._sent.append(self._clock())
        return True

    def give_back(self) -> None:
        """Takes back the last request that was counted, which was not sent."""
        if self._sent:
            self._sent.pop()
