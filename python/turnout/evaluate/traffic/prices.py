"""What the answers of a decision log cost by their tokens."""

from __future__ import annotations

import numpy as np

from turnout.evaluate.metrics import Floats
from turnout.token_prices import TokenPrices

#: Columns of tokens.
TOKENS = ("input_tokens", "output_tokens", "cached_tokens", "written_tokens", "written_1h_tokens")


def costs(prices: TokenPrices, tokens: Floats) -> Floats:
    """What answers cost.

    Args:
        prices: Of the model.
        tokens: Columns :data:`TOKENS`, ``[rows, 5]``: cached and written ones are part of the input, those of an hour of the written.

    Returns:
        float64 ``[rows]``, NaN where tokens are.

    Example:
        >>> costs(TokenPrices(10, 30, cached=1), np.array([[1_000_000.0, 0.0, 900_000.0, 0.0, 0.0]])).tolist()
        [1.9]
    """
    inputs, outputs, cached, written, written_1h = tokens.T
    cached = np.minimum(cached, inputs)
    written = np.minimum(written, inputs - cached)
    return prices.cost(inputs, outputs, cached, written, np.minimum(written_1h, written))
