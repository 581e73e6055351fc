"""Scores of the two sides of a comparison, each the mean of the models that match its patterns."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from turnout.data import Outcomes

Doubles = NDArray[np.float64]


def gains(table: Outcomes, strong: Sequence[str], weak: Sequence[str]) -> Doubles:
    """Mean score of the strong side less that of the weak side, float64 ``[rows]``; NaN where one side has no score."""
    return mean_score(table, strong) - mean_score(table, weak)


def mean_score(table: Outcomes, patterns: Sequence[str]) -> Doubles:
    """Mean score of the matching models a row, NaN where none has one; float64 ``[rows]``."""
    columns = [scores for model, scores in table.scores.items() if matches(model, patterns)]
    if not columns:
        return np.full(len(table), np.nan)
    scores = np.stack(columns)
    known = ~np.isnan(scores)
    total, number = np.where(known, scores, 0.0).sum(axis=0), known.sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name matches one of the shell patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
