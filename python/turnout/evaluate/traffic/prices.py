"""What answers cost by their tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from turnout.evaluate.metrics import Floats


@dataclass(frozen=True)
class Prices:
    """Prices of a model per million tokens.

    Attributes:
        input: Of input tokens.
        output: Of output tokens.
        cached: Of input tokens that the provider has cached; ``None`` where it is that of the others.
    """

    input: float
    output: float
    cached: float | None = None

    def cost(self, tokens: Floats) -> Floats:
        """What requests cost.

        Args:
            tokens: Input, output and cached tokens ``[rows, 3]``; cached ones are part of the input.

        Returns:
            float64 ``[rows]``, NaN where tokens are.

        Example:
            >>> Prices(10, 30, cached=1).cost(np.array([[1_000_000.0, 0.0, 900_000.0]])).tolist()
            [1.9]
        """
        inputs, outputs, cached = tokens.T
        saved = np.minimum(cached, inputs) * (0.0 if self.cached is None else self.input - self.cached)
        found: Floats = (inputs * self.input + outputs * self.output - saved) / 1e6
        return found
