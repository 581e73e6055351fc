"""Closed-form experts: a ridge regression from a prompt's tokens to the gain of the strong model, on one kind of prompt.

An expert is a Gaussian process whose kernel is a sum of linear ones: over the mean bag of tokens, over a few directions of
difficulty that other tables teach, and over log counts (Rasmussen and Williams, *Gaussian Processes for Machine Learning*,
section 4.2.4). All are linear in the tokens, so an expert ends up as one number a token and one a counting column.

Few rows have the pair's own outcomes, and those are zeros, ones and minus ones. That is why the directions matter: what weak
models get wrong on six thousand other questions says more about a question than fifteen hundred coin flips do.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from turnout.data import Outcomes
from turnout.training.config import ExpertConfig, Slice
from turnout.training.features import LENGTH, Bags, Floats, Ids, bags, mean_bags
from turnout.training.pair import Tell
from turnout.training.tables import Doubles, matches, mean_score, rows_of, table_named

#: Ridge of a direction of difficulty, on rows of unit length.
_DIRECTION_RIDGE = 3.0


@dataclass(frozen=True)
class Expert:
    """``gain ~ (mean(token_weights[ids]) + log1p(counts) @ count_weights - center) / scale``, standardised on its own rows.

    Attributes:
        token_weights: float64 ``[vocabulary]``.
        count_weights: float64 ``[counting columns]``.
        center: Mean before standardising.
        scale: Standard deviation before standardising.
    """

    token_weights: Doubles
    count_weights: Doubles
    center: float = 0.0
    scale: float = 1.0

    def score(self, ids: Sequence[Ids], counts: Floats) -> Doubles:
        """Standardised gain of prompts, float64 ``[prompts]``."""
        counted = bags(ids, len(self.token_weights))
        raw = mean_bags(counted) @ self.token_weights + np.log1p(counted @ counts) @ self.count_weights
        return np.asarray((raw - self.center) / self.scale, dtype=np.float64)


def presence(counted: Bags, frequency: Floats) -> Bags:
    """Which tokens occur, weighted by inverse document frequency, rows of unit length: sparse ``[prompts, vocabulary]``."""
    return normalize(((counted > 0).astype(np.float32) @ sp.diags(frequency)).tocsr())


def difficulty_directions(
    tables: Sequence[Outcomes],
    slices: Sequence[Slice],
    calculation: Slice,
    bags_of: dict[str, Bags],
    frequency: Floats,
    tell: Tell = warnings.warn,
) -> Floats:
    """Token weights that tell hard prompts from easy ones, and calculation from knowledge.

    Args:
        tables: Correctness tables.
        slices: One direction each: the regression of the mean error of the slice's models on tokens.
        calculation: A further direction: which rows of its table are in its categories.
        bags_of: :func:`turnout.training.features.bags` of each table, by name.
        frequency: Inverse document frequencies.
        tell: Told of directions without rows, a line a table.

    Returns:
        float32 ``[vocabulary, directions]``: one a slice that has rows.
    """
    directions: list[Doubles] = []
    absent: Counter[str] = Counter()
    for part in [*slices, calculation]:
        table = table_named(tables, part.table)
        if table is None:
            absent[part.table] += 1
            continue
        belongs = np.array([matches(c, part.categories) for c in table.categories or [""] * len(table)], dtype=bool)
        if part is calculation:
            target, keep = belongs.astype(np.float64), np.ones(len(table), dtype=bool)
        else:
            target = 1.0 - mean_score(table, part.models)
            keep = belongs & ~np.isnan(target)
        if not (keep & belongs).any():
            absent[part.table] += 1
            continue
        regression = Ridge(alpha=_DIRECTION_RIDGE).fit(presence(bags_of[part.table][keep], frequency), target[keep])
        directions.append(regression.coef_)
    for name, number in absent.items():
        tell(f"{number} directions of difficulty less: no rows for them in a table {name}")
    return np.stack(directions, axis=1).astype(np.float32) if directions else np.zeros((len(frequency), 0), np.float32)


def fit_expert(
    config: ExpertConfig, ids: Sequence[Ids], gain: Doubles, *, frequency: Floats, counts: Floats, directions: Floats
) -> Expert:
    """Fits an expert to the gains of its prompts.

    Args:
        config: Prior variances and the ridge.
        ids: Token ids of the prompts.
        gain: float64 ``[prompts]``.
        frequency: Inverse document frequencies, ``[vocabulary]``.
        counts: Counting columns, ``[vocabulary, columns]``.
        directions: Directions of difficulty, ``[vocabulary, directions]``.

    Returns:
        The expert, standardised on these prompts.
    """
    counted = bags(ids, len(frequency))
    weighted = (mean_bags(counted) @ sp.diags(frequency)).tocsr()
    weighted = weighted / np.sqrt(weighted.multiply(weighted).sum() / len(ids))
    unit = float(weighted.sum() / max((mean_bags(counted) @ frequency).sum(), 1e-12))
    difficulty, difficulty_scale = _standard(weighted @ directions)
    logs, log_scale = _standard(np.log1p(counted @ counts))
    prior = np.full(counts.shape[1], config.count_weight / max(counts.shape[1] - 1, 1))
    prior[LENGTH] = config.length_weight

    kernel = config.bag_weight * (weighted @ weighted.T).toarray()
    difficulty_weight = config.difficulty_weight / max(directions.shape[1], 1)
    kernel += difficulty_weight * difficulty @ difficulty.T
    kernel += (logs * prior) @ logs.T
    dual = np.linalg.solve(kernel + config.ridge * np.eye(len(ids)), gain - gain.mean())

    along = difficulty_weight * (difficulty.T @ dual) / difficulty_scale
    on_bag = config.bag_weight * (weighted.T @ dual) + directions @ along
    token_weights = np.asarray(on_bag * frequency * unit, dtype=np.float64)
    expert = Expert(token_weights, prior * (logs.T @ dual) / log_scale)
    raw = expert.score(ids, counts)
    return Expert(expert.token_weights, expert.count_weights, float(raw.mean()), float(raw.std()) or 1.0)


def _standard(columns: NDArray[np.floating]) -> tuple[Doubles, Doubles]:
    columns = np.asarray(columns, dtype=np.float64)
    scale = columns.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    return (columns - columns.mean(axis=0)) / scale, scale


def expert_rows(tables: Sequence[Outcomes], config: ExpertConfig) -> tuple[list[str], Doubles]:
    """Prompts of an expert and their gains; rows without a gain are left out. Without its table there are none."""
    table = rows_of(tables, config.rows)
    if table is None:
        return [], np.empty(0)
    gain = mean_score(table, config.strong) - mean_score(table, config.weak)
    known = ~np.isnan(gain)
    return [prompt for prompt, keep in zip(table.prompts, known, strict=True) if keep], gain[known]
