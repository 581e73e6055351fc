"""The quantiles of the win rate that an artifact stores, by which a share of strong calls becomes a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: One for every hundredth, and both ends.
QUANTILES = 101


def weighted_quantiles(sources: Sequence[NDArray[Any]]) -> list[float]:
    """Win rates at 0, 1, ..., 100 per cent, every source with the same weight.

    Args:
        sources: Win rates of the prompts of each source; empty ones are passed over.

    Returns:
        ``QUANTILES`` numbers, never falling.
    """
    parts = [part for part in sources if len(part)]
    values = np.concatenate(parts)
    weights = np.concatenate([np.full(len(part), 1.0 / len(part)) for part in parts])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    indices = np.minimum(np.searchsorted(reached, np.linspace(0, 1, QUANTILES) - 1e-9), len(values) - 1)
    return [float(np.float32(value)) for value in values[order][indices]]
