"""A circuit breaker: a model that keeps failing is not called for a while."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after failures in a row, allows one request when the pause is over, and closes when that one succeeds.

    For one event loop; not for several threads.

    Args:
        failures: Failures in a row that open it.
        open_s: Seconds that it stays open.
        clock: A monotonic clock in seconds, for tests.
    """

    def __init__(self, failures: int, open_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether requests are refused."""
        return self._failures >= self._limit

    def remaining_s(self) -> float:
        """Seconds until a request is allowed; 0 if one is allowed now."""
        if not self.is_open:
            return 0.0
        return max(0.0, self._open_until - self._clock())

    def allow(self) -> bool:
        """Whether a request may be sent. After ``True`` the caller must call ``succeeded``, ``failed`` or ``abandoned``."""
        if not self.is_open:
            return True
        if self._probing or self._clock() < self._open_until:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The model answered."""
        self._failures = 0
        self._probing = False

    def failed(self) -> None:
        """The model gave no answer."""
        self._failures += 1
        self._probing = False
        if self.is_open:
            self._open_until = self._clock() + self._open_s

    def abandoned(self) -> None:
        """The result says nothing about the model: the client left, or the request was at fault."""
        self._probing = False
