"""One limit for the bytes that requests make the server hold: bodies in flight, and prompts that wait to be logged."""

from __future__ import annotations

import threading


class ByteBudget:
    """Bytes that may be held at a time. For several threads.

    Args:
        limit: The number of bytes.

    Example:
        >>> budget = ByteBudget(100)
        >>> budget.take(60), budget.take(60)
        (True, False)
        >>> budget.give_back(60)
        >>> budget.take(60)
        True
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        #: Bytes that are held now.
        self.used = 0

    def take(self, size: int) -> bool:
        """Whether so many more may be held. Who gets a yes must give them back."""
        with self._lock:
            if self.used + size > self._limit:
                return False
            self.used += size
            return True

    def give_back(self, size: int) -> None:
        """Releases bytes."""
        with self._lock:
            self.used -= size
