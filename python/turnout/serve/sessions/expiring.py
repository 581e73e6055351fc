"""A bounded memory whose entries expire."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ExpiringMap(Generic[K, V]):
    """Keeps entries until they were not used for a while; beyond a number, the least recently used ones go first.

    Args:
        most: Number of entries.
        ttl_s: Seconds after the last use.
        clock: Seconds that never run backwards, for tests.

    Example:
        >>> found = ExpiringMap(2, 60.0)
        >>> for key in "abc":
        ...     found.put(key, key.upper())
        >>> found.get("a"), found.get("c")
        (None, 'C')
    """

    def __init__(self, most: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value of a key, which counts as a use; ``None`` where there is none.

        Args:
            key: The key.
        """
        found = self._entries.get(key)
        if found is None:
            return None
        if found[1] < self._clock():
            del self._entries[key]
            return None
        self.put(key, found[0])
        return found[0]

    def put(self, key: K, value: V) -> None:
        """Keeps a value in place of the one before.

        Args:
            key: The key.
            value: The value.
        """
        self._entries[key] = (value, self._clock() + self._ttl_s)
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            self._entries.popitem(last=False)
