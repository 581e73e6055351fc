"""What the answers of a decision log cost by their tokens."""

from __future__ import annotations

import numpy as np

from turnout.evaluate.metrics import Floats
from turnout.token_prices import TokenPrices

#: Columns of tokens.
TOKENS = ("input_tokens", "output_tokens", "cached_tokens", "written_tokens")


def costs(prices: TokenPrices, tokens: Floats) -> Floats:
    """What answers cost.

    Args:
        prices: Of the model.
        tokens: Input, output, cached and written tokens ``[rows, 4]``; cached and written ones are part of the input.

    Returns:
        float64 ``[rows]``, NaN where tokens are.

    Example:
        >>> costs(TokenPrices(10, 30, cached=1), np.array([[1_000_000.0, 0.0, 900_000.0, 0.0]])).tolist()
        [1.9]
    """
    inputs, outputs, cached, written = tokens.T
    cached = np.minimum(cached, inputs)
    return prices.cost(inputs, outputs, cached, np.minimum(written, inputs - cached))
