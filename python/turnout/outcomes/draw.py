"""Random numbers that can be drawn again: each depends on a seed and a name alone."""

from __future__ import annotations

import hashlib


def uniform(seed: int, name: int | str) -> float:
    """A number in ``[0, 1)``.

    Args:
        seed: Of all draws.
        name: Of this one, such as its number.

    Example:
        >>> uniform(0, 1) == uniform(0, 1), uniform(0, 1) == uniform(0, 2)
        (True, False)
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    # 53 bits: more would round up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53
