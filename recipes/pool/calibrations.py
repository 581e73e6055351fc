"""Platt against isotonic calibration of each model's chances, on every table.

    python -m recipes.pool.calibrations --data DATA --artifact python/turnout/artifacts/mf --out calibrations.json

Chances are those of the shipped profiles on held-out prompts, and those that profiles from the table's own outcomes give to left-out prompts. Each prompt is
calibrated by maps that were fitted to the other folds; `picked` takes the isotonic map of a model where inner folds find its Brier score and its log loss
lower than Platt's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from turnout.artifact.calibration import logit
from turnout.pool.profiles import Doubles, sigmoid
from turnout.profiles.fitting import ELSEWHERE, calibrations
from turnout.profiles.folds import folds_of
from turnout.profiles.own import OUTER, candidates
from turnout.profiles.predictors import out_of_fold

from .each_table import Measured, measure_each

INNER, BINS = 3, 10
#: Fewest scores of a model that is measured.
MIN_SCORES = 50
#: What learns from the table's own outcomes.
OWN = "own and landmarks"
METHODS = ("before", "Platt", "isotonic", "picked")


def platt(logits: Doubles, scores: Doubles, rows: NDArray[np.bool_]) -> Doubles:
    """Calibrated chances of all prompts, fitted on some, float64 ``[prompts, models]``."""
    kept = [rows & ~np.isnan(column) for column in scores.T]
    columns = range(scores.shape[1])
    found = calibrations([logits[kept[c], c] for c in columns], [scores[kept[c], c] for c in columns], ELSEWHERE)
    slopes = np.array(found)
    return sigmoid(slopes[:, 0] * logits + slopes[:, 1])


def isotonic(logits: Doubles, scores: Doubles, rows: NDArray[np.bool_]) -> Doubles:
    """As :func:`platt`, by isotonic maps; their ends are kept from 0 and 1 by one success and one failure."""
    found = np.empty(scores.shape)
    for column in range(scores.shape[1]):
        kept = rows & ~np.isnan(scores[:, column])
        least = 1.0 / (kept.sum() + 2.0)
        fitted = IsotonicRegression(y_min=least, y_max=1.0 - least, out_of_bounds="clip")
        fitted.fit(logits[kept, column], scores[kept, column])
        found[:, column] = fitted.predict(logits[:, column])
    return found


def calibrated(logits: Doubles, scores: Doubles, prompts: Sequence[str]) -> tuple[dict[str, Doubles], int]:
    """Chances by every method, each prompt's from the other folds, and how often the isotonic map is picked."""
    found = {name: np.empty(scores.shape) for name in METHODS}
    found["before"] = sigmoid(logits)
    outer, picks = folds_of(prompts, OUTER, 0), 0
    for fold in range(OUTER):
        out = outer == fold
        inner = np.full(len(prompts), -1)
        inner[~out] = folds_of([prompt for prompt, one in zip(prompts, out, strict=True) if not one], INNER, 1)
        left_out = {method: np.full(scores.shape, np.nan) for method in (platt, isotonic)}
        for part in range(INNER):
            for method, into in left_out.items():
                into[inner == part] = method(logits, scores, (inner >= 0) & (inner != part))[inner == part]
        brier, loss = ({method: _losses(one, scores)[key] for method, one in left_out.items()} for key in (0, 1))
        better = (brier[isotonic] < brier[platt]) & (loss[isotonic] < loss[platt])
        found["Platt"][out], found["isotonic"][out] = (method(logits, scores, ~out)[out] for method in left_out)
        found["picked"][out] = np.where(better, found["isotonic"][out], found["Platt"][out])
        picks += int(better.sum())
    return found, picks


def _losses(success: Doubles, scores: Doubles) -> tuple[Doubles, Doubles]:
    """Brier score and log loss of each model."""
    clipped = np.clip(success, 1e-6, 1.0 - 1e-6)
    losses = -scores * np.log(clipped) - (1.0 - scores) * np.log(1.0 - clipped)
    return np.nanmean((success - scores) ** 2, axis=0), np.nanmean(losses, axis=0)


def _ece(success: Doubles, scores: Doubles) -> float:
    """Expected calibration error in bins of as many prompts."""
    known = ~np.isnan(scores)
    success, scores = success[known], scores[known]
    bins = np.array_split(np.argsort(success, kind="stable"), BINS)
    return float(sum(abs(success[one].mean() - scores[one].mean()) * len(one) for one in bins) / len(scores))


def measured(logits: Doubles, scores: Doubles, prompts: Sequence[str]) -> dict[str, Any] | None:
    """Figures of every method; ``None`` where no model has enough scores."""
    enough = (~np.isnan(scores)).sum(axis=0) >= MIN_SCORES
    if not enough.any():
        return None
    logits, scores = logits[:, enough], scores[:, enough]
    found, picks = calibrated(logits, scores, prompts)
    rows: dict[str, Any] = {"models": int(enough.sum()), "prompts": len(prompts), "isotonic picked": picks}
    for name, success in found.items():
        brier, loss = _losses(success, scores)
        ece = float(np.median([_ece(*pair) for pair in zip(success.T, scores.T, strict=True)]))
        rows[name] = {
            "ECE": round(ece, 4),
            "Brier": round(float(brier.mean()), 4),
            "log loss": round(float(loss.mean()), 4),
        }
    return rows


def measure(one: Measured) -> dict[str, Any]:
    """Figures of one table: of the shipped profiles, and of profiles from its own outcomes."""
    pool, known, held = one.pool, one.known, one.held.outcomes
    shared = [column for column, model in enumerate(pool.models) if model in known.names]
    of_known = [known.names.index(pool.models[column]) for column in shared]
    shipped = known.logits(held.embeddings)[:, of_known]
    own = candidates([], None)[OWN]
    success = out_of_fold({OWN: lambda seen, _, new: own(seen).success(new)}, pool.outcomes, OUTER, 0)[OWN]
    found = {
        "shipped": measured(shipped, held.scores[:, shared], held.prompts),
        "own": measured(logit(success, 1e-6), pool.outcomes.scores, pool.outcomes.prompts),
    }
    print(pool.name, json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    measure_each(str(__doc__), measure)
