"""The random router: the baseline that every other has to beat."""

from __future__ import annotations

import threading

#: Win rates are float32, and numbers of 24 bits are exact there: none is rounded up to 1.
_BITS = 24


class RandomRouter:
    """Win rates drawn evenly from ``[0, 1)``, whatever the prompt; a share of ``s`` is the threshold ``1 - s``.

    Args:
        seed: The same seed gives the same win rates in the same order; without one they differ from run to run.

    Example:
        >>> RandomRouter(seed=7).win_rate("a") == RandomRouter(seed=7).win_rate("b")
        True
    """

    is_microseconds = True
    quantiles = (0.0, 1.0)

    def __init__(self, seed: int | None = None) -> None:
        import random

        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def win_rate(self, prompt: str) -> float:
        """The next draw."""
        with self._lock:
            return self._random.getrandbits(_BITS) / (1 << _BITS)
