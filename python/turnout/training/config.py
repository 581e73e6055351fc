"""Settings of the vectors of models that recipes fit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MfConfig:
    """How a recipe fits a vector for every model.

    Attributes:
        strong: Strong model of the pair, in canonical form.
        weak: Weak model of the pair.
        factors: Dimensions of a model vector.
        factor_steps: Steps of the model vectors.
        min_battles: A model with fewer battles than this gets no vector.
        seed: Seed of everything random.
    """

    strong: str = "gpt-4-1106-preview"
    weak: str = "mixtral-8x7b-instruct-v0.1"
    factors: int = 16
    factor_steps: int = 600
    min_battles: int = 1000
    seed: int = 0
