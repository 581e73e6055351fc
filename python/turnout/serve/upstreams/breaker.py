"""A circuit breaker: a model that keeps failing is not called for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

#: Circuit breakers of an upstream. Names of models that pass through come from clients, so that there may be any number.
_MOST_BREAKERS = 1000


class CircuitBreaker:
    """Opens after failures in a row, allows one request when the pause is over, and closes when that one succeeds.

    Results of requests that were allowed before it opened are ignored: they say nothing about the model as it is now.

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
        self._generation = 0

    @property
    def is_open(self) -> bool:
        """Whether requests are refused."""
        return self._failures >= self._limit

    def remaining_s(self) -> float:
        """Seconds until a request is allowed; 0 if one is allowed now."""
        if not self.is_open:
            return 0.0
        return max(0.0, self._open_until - self._clock())

    def allow(self) -> int | None:
        """Whether a request may be sent.

        Returns:
            A token, with which the caller must call ``succeeded``, ``failed`` or ``abandoned``; ``None`` if it may not.
        """
        if self.is_open:
            if self._probing or self._clock() < self._open_until:
                return None
            self._probing = True
            self._generation += 1
        return self._generation

    def succeeded(self, token: int) -> None:
        """The model answered."""
        if token == self._generation:
            self._failures = 0
            self._probing = False

    def failed(self, token: int) -> None:
        """The model gave no answer."""
        if token != self._generation:
            return
        self._failures += 1
        self._probing = False
        if self.is_open:
            self._open_until = self._clock() + self._open_s
            self._generation += 1

    def abandoned(self, token: int) -> None:
        """The result says nothing about the model: the client left, or the request was at fault."""
        if token == self._generation:
            self._probing = False


class Breakers:
    """The circuit breakers of an upstream, one a model. Beyond 1,000 the one that is unused for longest is dropped, open ones last.

    Args:
        failures: As for :class:`CircuitBreaker`.
        open_s: Likewise.
    """

    def __init__(self, failures: int, open_s: float) -> None:
        self._failures = failures
        self._open_s = open_s
        self._by_model: OrderedDict[str, CircuitBreaker] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_model)

    def of(self, model: str) -> CircuitBreaker:
        """The circuit breaker of a model, made if there is none.

        Args:
            model: What the upstream calls it.
        """
        found = self._by_model.get(model)
        if found is not None:
            self._by_model.move_to_end(model)
            return found
        if len(self._by_model) >= _MOST_BREAKERS:
            closed = (name for name, one in self._by_model.items() if not one.is_open)
            del self._by_model[next(closed, next(iter(self._by_model)))]
        self._by_model[model] = found = CircuitBreaker(self._failures, self._open_s)
        return found
