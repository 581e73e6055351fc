"""Random numbers that can be drawn again: each depends on a seed and a number alone."""

from __future__ import annotations

import hashlib


def uniform(seed: int, number: int) -> float:
    """A number in ``[0, 1)``.

    Args:
        seed: Of the sequence.
        number: Its place in the sequence.

    Example:
        >>> uniform(0, 1) == uniform(0, 1), uniform(0, 1) == uniform(0, 2)
        (True, False)
    """
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    # 53 bits: more would round up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53
