"""Fits the calibration that the core applies: a monotone map from raw win rates to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from turnout._core import InvalidInputError
from turnout.artifact.calibration import calibrate, logit
from turnout.calibrate.choice import Floats

#: Weight of the identity in isotonic fits. It gives every flat piece this slope, so that distinct scores stay distinct.
SLOPE = 0.01


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration.

    Attributes:
        manifest: The entry ``calibration`` of ``router.json``.
        log_loss: Cross-validated log loss in nats by kind; ``identity`` is no calibration.
        prompts: Size of the sample.
        warnings: Limits of the fit, with numbers.

    Example:
        >>> platt = Calibration({"kind": "platt", "slope": 1.0, "intercept": 0.0}, {}, 0, [])
        >>> [round(float(rate), 2) for rate in platt.apply([0.25, 0.5])]
        [0.25, 0.5]
    """

    manifest: dict[str, Any]
    log_loss: dict[str, float]
    prompts: int
    warnings: list[str]

    def apply(self, raw: ArrayLike) -> Floats:
        """Calibrates win rates.

        Args:
            raw: Raw win rates, float ``[...]``.

        Returns:
            Calibrated win rates, float64 of the same shape ``[...]``.
        """
        return calibrate(logit(raw), self.manifest)


def fit_calibration(
    raw: ArrayLike,
    outcome: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    folds: int = 5,
    seed: int = 0,
    kind: str = "auto",
) -> Calibration:
    """Fits Platt scaling and an isotonic map and keeps the one with the lower cross-validated log loss.

    Platt scaling is ``sigmoid(slope * logit + intercept)`` with a positive slope (Platt, "Probabilistic Outputs for Support Vector
    Machines", 1999). The isotonic map pools adjacent violators and is then centered ("Centered Isotonic Regression: Point and Interval
    Estimation for Dose-Response Studies", arXiv 1701.05964, section 2): each flat piece becomes its weighted center, with straight
    lines between the centers. One percent of the identity is added, so that the map is strictly increasing and creates no ties.

    Args:
        raw: Raw win rates, float ``[prompts]``, before any calibration; see :func:`turnout.calibrate.raw_win_rates`.
        outcome: float ``[prompts]``: 1 where the strong model's answer was better, 0 where the weak model's was, 0.5 for a tie.
        weights: Positive float ``[prompts]``, how many prompts each stands for; by default all alike.
        folds: Number of cross-validation folds.
        seed: Seed of the folds.
        kind: ``"auto"``, or ``"platt"`` or ``"isotonic"`` to fit only that.

    Returns:
        The better calibration, with the log loss of each.

    Raises:
        InvalidInputError: Too few prompts, only one outcome, or win rates that decrease where outcomes increase: a monotone map cannot
            correct a router that ranks in the wrong order.

    Example:
        >>> raw = np.linspace(0.2, 0.8, 100)
        >>> fit_calibration(raw, np.random.default_rng(0).random(100) < raw, kind="platt").manifest["kind"]
        'platt'
    """
    p, y = np.asarray(raw, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    if p.shape != y.shape or p.ndim != 1:
        raise InvalidInputError(f"win rates and outcomes have shapes {p.shape} and {y.shape}, expected the same number")
    w = np.ones(len(p)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != p.shape or not (np.isfinite(w) & (w > 0)).all():
        raise InvalidInputError(f"weights have the shape {w.shape}, expected {p.shape} of positive numbers")
    if len(p) < 10 * folds:
        raise InvalidInputError(f"{len(p)} prompts, expected at least {10 * folds} to fit and compare calibrations")
    if not ((y >= 0) & (y <= 1)).all() or y.min() == y.max():
        raise InvalidInputError("outcomes must lie in 0..=1 and not all be the same")
    fits = {"platt": fit_platt, "isotonic": fit_isotonic}
    if kind not in ("auto", *fits):
        raise InvalidInputError(f"calibration is {kind!r}, expected 'auto', 'platt' or 'isotonic'")
    fold = np.random.default_rng(seed).permutation(np.arange(len(p)) % folds)
    losses = {"identity": _log_loss(p, y, w)}
    fitted: dict[str, dict[str, Any]] = {}
    refused: list[InvalidInputError] = []
    for name in fits if kind == "auto" else [kind]:
        try:
            fitted[name] = fits[name](p, y, w)
            losses[name] = _held_out_loss(fits[name], p, y, w, fold)
        except InvalidInputError as error:
            refused.append(error)
    tried = [name for name in fitted if name in losses]
    if not tried:
        raise refused[0]
    best = min(tried, key=lambda name: losses[name])
    warnings = []
    if losses["identity"] < losses[best]:
        warnings.append(
            f"no calibration has a lower log loss ({losses['identity']:.4f}) than {best} ({losses[best]:.4f})"
        )
    return Calibration(fitted[best], losses, len(p), warnings)


def _held_out_loss(
    fit: Callable[[Floats, Floats, Floats], dict[str, Any]],
    raw: Floats,
    outcome: Floats,
    weights: Floats,
    fold: NDArray[np.int64],
) -> float:
    total = 0.0
    for one in np.unique(fold):
        held = fold == one
        found = calibrate(logit(raw[held]), fit(raw[~held], outcome[~held], weights[~held]))
        total += _log_loss(found, outcome[held], weights[held]) * weights[held].sum()
    return float(total / weights.sum())


def fit_platt(raw: Floats, outcome: Floats, weights: Floats | None = None) -> dict[str, Any]:
    """Platt scaling of the logit, by logistic regression without penalty; ``weights`` say how many rows each stands for."""
    from sklearn.linear_model import LogisticRegression

    x = logit(raw)
    # A tie is half a win and half a loss: each row enters twice, weighted by its outcome and by the rest.
    features = np.concatenate([x, x])[:, None]
    labels = np.concatenate([np.ones(len(x)), np.zeros(len(x))])
    shares = np.concatenate([outcome, 1 - outcome])
    if weights is not None:
        # Without penalty their scale has no meaning, and large numbers are hard to optimize.
        shares = shares * np.tile(weights / weights.mean(), 2)
    model = LogisticRegression(C=1e10, max_iter=1000).fit(features, labels, sample_weight=shares)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if not slope > 0:
        raise InvalidInputError(
            f"platt slope is {slope:.4g}: on these prompts win rates fall where the strong model does better; "
            "a calibration keeps the order and cannot correct that"
        )
    return {"kind": "platt", "slope": slope, "intercept": intercept}


def fit_isotonic(raw: Floats, outcome: Floats, weights: Floats | None = None) -> dict[str, Any]:
    """Centered isotonic regression, strictly increasing; ``weights`` say how many rows each stands for."""
    from sklearn.isotonic import IsotonicRegression

    order = np.argsort(raw, kind="stable")
    x, w = raw[order], np.ones(len(raw)) if weights is None else weights[order]
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(raw, outcome, sample_weight=weights)
    y = fitted.predict(x)
    _, piece = np.unique(y, return_inverse=True)
    size = np.bincount(piece, w)
    center, level = np.bincount(piece, x * w) / size, np.bincount(piece, y * w) / size
    if len(level) == 1:
        raise InvalidInputError("the isotonic fit is flat: on these prompts win rates do not rise with the outcome")
    # The core reads float32: merge points that are equal at that precision.
    points = np.concatenate([[0.0], center, [1.0]]).astype(np.float32).astype(np.float64)
    levels = np.concatenate([[level[0]], level, [level[-1]]])
    mixed = (1 - SLOPE) * levels + SLOPE * points
    keep = np.concatenate([[True], np.diff(points) > 0])
    return {"kind": "isotonic", "x": points[keep].tolist(), "y": np.clip(mixed[keep], 0.0, 1.0).tolist()}


def invert(win_rates: ArrayLike, calibration: Mapping[str, Any]) -> Floats:
    """Raw win rates of calibrated ones; on flat pieces of an old isotonic map, some raw win rate that maps there."""
    p = np.asarray(win_rates, dtype=np.float64)
    if calibration["kind"] == "platt":
        result: Floats = 1 / (1 + np.exp(-(logit(p, 1e-15) - calibration["intercept"]) / calibration["slope"]))
        return result
    if calibration["kind"] == "isotonic":
        interpolated: Floats = np.interp(p, calibration["y"], calibration["x"])
        return interpolated
    return p


def _log_loss(p: Floats, outcome: Floats, weights: Floats) -> float:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return float(-np.average(outcome * np.log(p) + (1 - outcome) * np.log(1 - p), weights=weights))
