"""Ridge regression with its leave-one-out predictions, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.progress import ProgressCallback, silent

Doubles = NDArray[np.float64]

#: Penalties to choose from, for columns whose variances sum to about one a block.
PENALTIES = tuple(float(10.0**power) for power in np.arange(-1.0, 4.1, 0.5))
#: Rows whose leverages are computed together.
_PART = 4096


@dataclass(frozen=True)
class Ridge:
    """``y ~ x @ weights + intercept``.

    Attributes:
        weights: float64 ``[columns, outputs]``.
        intercept: float64 ``[outputs]``.
        left_out: Prediction of every row by the fit without that row, float64 ``[rows, outputs]``.
        penalty: The penalty with the least squared leave-one-out error.
    """

    weights: Doubles
    intercept: Doubles
    left_out: Doubles
    penalty: float

    def predict(self, x: NDArray[np.floating]) -> Doubles:
        """Predictions, float64 ``[rows, outputs]``."""
        return np.asarray(x @ self.weights + self.intercept)


def fit_ridge(
    x: NDArray[np.floating], y: Doubles, penalties: tuple[float, ...] = PENALTIES, report: ProgressCallback = silent
) -> Ridge:
    """Fits all outputs with the penalty whose leave-one-out errors are least.

    The leave-one-out residual of a row is ``residual / (1 - leverage)`` (Hastie, Tibshirani and Friedman, *The Elements of Statistical
    Learning*, section 7.10.1), so one eigendecomposition of the smaller Gram matrix serves all penalties and all rows.

    Args:
        x: ``[rows, columns]``.
        y: float64 ``[rows, outputs]``.
        penalties: To choose from.
        report: Called with the progress.

    Example:
        >>> x = np.linspace(-1, 1, 50)[:, None]
        >>> fit = fit_ridge(x, 2 * x + 1)
        >>> fit.weights.round(1).tolist(), fit.intercept.round(1).tolist()
        ([[2.0]], [1.0])
    """
    center, mean = x.mean(axis=0, dtype=np.float64), y.mean(axis=0)
    x, centered = x - center.astype(x.dtype), y - mean
    report("ridge", 0, 1)
    if len(x) > x.shape[1]:
        values, vectors = np.linalg.eigh((x.T @ x).astype(np.float64))
        scores = x @ vectors.astype(x.dtype)
    else:
        values, vectors = np.linalg.eigh((x @ x.T).astype(np.float64))
        scores = vectors * np.sqrt(np.maximum(values, 0.0))
    shrinkage = 1.0 / (np.maximum(values, 0.0)[:, None] + np.array(penalties))
    projected = scores.T @ centered
    # In parts, because the square of all scores would be another matrix of the size of x.
    parts = np.array_split(scores, -(-len(scores) // _PART))
    leverage = np.concatenate([(part**2) @ shrinkage for part in parts]) + 1.0 / len(x)

    def residuals(index: int) -> Doubles:
        return np.asarray(centered - scores @ (projected * shrinkage[:, index, None]), dtype=np.float64)

    def left_out_residuals(index: int) -> Doubles:
        return residuals(index) / np.maximum(1.0 - leverage[:, index, None], 1e-6)

    best = int(np.argmin([(left_out_residuals(index) ** 2).mean() for index in range(len(penalties))]))
    residual, left_out_residual, penalty = residuals(best), left_out_residuals(best), float(penalties[best])
    weights = np.asarray(x.T @ residual, dtype=np.float64) / penalty
    report("ridge", 1, 1)
    return Ridge(weights, mean - center @ weights, y - left_out_residual, penalty)
