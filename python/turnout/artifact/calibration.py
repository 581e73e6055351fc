"""The calibration map of an artifact, from logits to win rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def sigmoid(logit: Floats | float) -> Floats:
    """The logistic function."""
    result: Floats = 1.0 / (1.0 + np.exp(-np.asarray(logit, dtype=np.float64)))
    return result


def logit(chances: ArrayLike, clip: float = 1e-7) -> Floats:
    """Inverse of the logistic function.

    Args:
        chances: float ``[...]``.
        clip: They are clipped to this distance from 0 and 1 first, because rounding produces both. The largest float32 below 1 is 1 - 6e-8.

    Returns:
        float64 ``[...]``.

    Example:
        >>> logit([0.5, 0.0], clip=0.5).tolist()
        [0.0, 0.0]
    """
    p = np.clip(np.asarray(chances, dtype=np.float64), clip, 1 - clip)
    result: Floats = np.log(p / (1 - p))
    return result


def calibrate(logit: Floats | float, calibration: Mapping[str, Any]) -> Floats:
    """Calibrated win rate of a logit.

    Args:
        logit: Score of the strong model minus score of the weak one.
        calibration: The manifest's ``calibration``.

    Returns:
        float64 of the logit's shape.
    """
    if calibration["kind"] == "platt":
        return sigmoid(calibration["slope"] * np.asarray(logit) + calibration["intercept"])
    if calibration["kind"] == "isotonic":
        result: Floats = np.interp(sigmoid(logit), calibration["x"], calibration["y"])
        return result
    return sigmoid(logit)
