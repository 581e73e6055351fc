"""What answers cost by their tokens: the one formula of receipts, budgets and reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

#: A number, or one for each of many answers.
_Amount = TypeVar("_Amount", float, NDArray[np.float64])


@dataclass(frozen=True)
class TokenPrices:
    """Prices of a model per million tokens.

    Attributes:
        input: Of input tokens.
        output: Of output tokens.
        cached: Of input tokens that the provider reads from its cache; ``None`` where it is that of the others.
        written: Of input tokens that it writes there; likewise.
        written_1h: Of those that it keeps there for an hour; ``None`` where it is that of the other written ones.
    """

    input: float
    output: float
    cached: float | None = None
    written: float | None = None
    written_1h: float | None = None

    def cost(
        self, inputs: _Amount, outputs: _Amount, cached: _Amount, written: _Amount, written_1h: _Amount
    ) -> _Amount:
        """What answers cost.

        Args:
            inputs: Input tokens, with those that are read from the cache and written to it.
            outputs: Output tokens.
            cached: Of the input, those that are read.
            written: Of the input, those that are written.
            written_1h: Of the written ones, those that are kept for an hour.

        Returns:
            In the currency of the prices.

        Example:
            >>> TokenPrices(10, 30, cached=1, written=12.5, written_1h=20).cost(1_000_000, 0, 800_000, 100_000, 40_000)
            3.35
        """
        saved = cached * (0.0 if self.cached is None else self.input - self.cached)
        price = self.input if self.written is None else self.written
        price_1h = price if self.written_1h is None else self.written_1h
        added = written * (price - self.input) + written_1h * (price_1h - price)
        return (inputs * self.input + outputs * self.output - saved + added) / 1e6
