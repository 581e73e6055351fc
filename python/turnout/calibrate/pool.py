"""Calibration of a pool on a table of outcomes: a slope and an intercept for each model, and whether the table is like the fitted one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2

from turnout._core import InvalidInputError
from turnout.artifact.calibration import logit
from turnout.evaluate.success import SuccessScores, success_scores
from turnout.pool.profiles import Doubles, Profile, Profiles, sigmoid
from turnout.profiles.fitting import ELSEWHERE, calibrated, calibrations
from turnout.profiles.folds import folds_of
from turnout.profiles.linear import Linear, joined

#: Error of the first kind of the tests, for all models of a pool together.
LEVEL = 0.01
#: Fewest prompts with a score of a model.
MIN_PROMPTS = 50
_FOLDS = 5


@dataclass(frozen=True)
class ModelCalibration:
    """One model on the table.

    Attributes:
        slope: Of the logit.
        intercept: Of the logit.
        before: Figures of the chances as they were.
        after: Figures of the calibrated chances, each prompt's from the other folds.
        p_value: Of the likelihood-ratio test of the chances as they were against slope and intercept (chi-squared, two degrees of freedom),
            times the number of models (Bonferroni), at most 1.
    """

    slope: float
    intercept: float
    before: SuccessScores
    after: SuccessScores
    p_value: float

    @property
    def is_unlike(self) -> bool:
        """Whether the chances as they were do not fit the table."""
        return self.p_value < LEVEL


@dataclass(frozen=True)
class Shift:
    """How the prompts of a table differ from those that the profiles were fitted on, along the directions of the profiles.

    Attributes:
        distance: Length of the difference of the means, in standard deviations of the fitted prompts.
        radius: KL divergence of a normal distribution with that mean from the fitted one, in nats; less what the mean of as many fitted prompts has
            by chance.
        p_value: Of the chi-squared test of the mean.
    """

    distance: float
    radius: float
    p_value: float


@dataclass(frozen=True)
class PoolCalibration:
    """A pool's calibration.

    Attributes:
        models: By name.
        shift: Of the prompts; ``None`` where the artifact does not say what its profiles were fitted on.
        prompts: How many.
    """

    models: Mapping[str, ModelCalibration]
    shift: Shift | None
    prompts: int

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "prompts": self.prompts,
            "shift": None if self.shift is None else asdict(self.shift),
            "models": {name: {**asdict(one), "is_unlike": one.is_unlike} for name, one in self.models.items()},
        }


def calibrate_pool(
    success: Doubles, scores: Doubles, names: Sequence[str], prompts: Sequence[str], *, seed: int = 0
) -> dict[str, ModelCalibration]:
    """Fits slope and intercept of each model's logit, drawn to those of the other models.

    Args:
        success: P(success), float64 ``[prompts, models]``.
        scores: In 0..1, float64 ``[prompts, models]``; NaN where a model has none.
        names: Of the models.
        prompts: The prompts, for the folds.
        seed: Of the folds and of the bootstrap.

    Raises:
        InvalidInputError: A model has too few prompts with a score.
    """
    known = ~np.isnan(scores)
    few = [name for name, column in zip(names, known.T, strict=True) if column.sum() < MIN_PROMPTS]
    if few:
        raise InvalidInputError(f"fewer than {MIN_PROMPTS} prompts with a score of {', '.join(few)}")
    logits = logit(success, 1e-6)
    whole = _fitted(logits, scores, np.ones(len(prompts), dtype=bool))
    after = np.full(scores.shape, np.nan)
    fold = folds_of(prompts, _FOLDS, seed)
    for number in range(_FOLDS):
        out = fold == number
        for column, (slope, intercept) in enumerate(_fitted(logits, scores, ~out)):
            after[out, column] = sigmoid(slope * logits[out, column] + intercept)
    found = {}
    for column, (name, (slope, intercept)) in enumerate(zip(names, whole, strict=True)):
        rows = known[:, column]
        before, score = logits[rows, column], scores[rows, column]
        ratio = 2.0 * (_likelihood(slope * before + intercept, score) - _likelihood(before, score))
        found[name] = ModelCalibration(
            slope,
            intercept,
            success_scores(success[rows, column], score, seed=seed),
            success_scores(after[rows, column], score, seed=seed),
            float(min(chi2.sf(max(ratio, 0.0), 2) * len(names), 1.0)),
        )
    return found


def raised_target(target: float, radius: float) -> float:
    """The chance whose worst case, over all distributions within a Kullback-Leibler divergence, is the target.

    Args:
        target: In 0..1.
        radius: In nats, 0 or more.

    Example:
        >>> round(raised_target(0.85, 0.02), 3)
        0.912
    """
    highest = float(np.nextafter(1.0, 0.0))

    def beyond(chance: float) -> float:
        return target * log(target / chance) + (1.0 - target) * log((1.0 - target) / (1.0 - chance)) - radius

    if radius == 0.0 or not 0.0 < target < highest:
        return target
    return float(brentq(beyond, target, highest)) if beyond(highest) > 0.0 else 1.0


def _fitted(logits: Doubles, scores: Doubles, rows: Any) -> list[tuple[float, float]]:
    columns = [rows & ~np.isnan(column) for column in scores.T]
    return calibrations(
        [logits[kept, number] for number, kept in enumerate(columns)],
        [scores[kept, number] for number, kept in enumerate(columns)],
        ELSEWHERE,
    )


def _likelihood(logits: Doubles, scores: Doubles) -> float:
    return float(np.sum(scores * logits - np.logaddexp(0.0, logits)))


def shift_of(profiles: Profiles, embeddings: Any) -> Shift | None:
    """How prompts differ from the fitted ones.

    Args:
        profiles: Of the artifact, with the mean of the fitted prompts; their projections have variance 1 and no correlation.
        embeddings: Of the prompts, float32 ``[prompts, dim]``.
    """
    if profiles.center is None:
        return None
    away = profiles.features(embeddings)[:, :-1].mean(axis=0) - profiles.center
    squared, rank, count = float(away @ away), len(away), len(embeddings)
    by_chance = rank / count
    return Shift(float(np.sqrt(squared)), max(squared - by_chance, 0.0) / 2.0, float(chi2.sf(squared * count, rank)))


def calibrated_profiles(
    models: Mapping[str, Linear],
    found: Mapping[str, ModelCalibration],
    embedding: str,
    output_tokens: Mapping[str, float],
) -> Profiles:
    """Profiles with slope and intercept folded in.

    Args:
        models: Of each model of the pool, one each, as it was.
        found: The calibration.
        embedding: SHA-256 of the graph.
        output_tokens: Mean output tokens of an answer by model, where they are known.
    """
    profiles = []
    whole = joined(models)
    for name, one in zip(models, whole.models, strict=True):
        moved = calibrated(one, found[name].slope, found[name].intercept)
        facts = {"ece": found[name].after.ece.value, "brier": found[name].after.brier.value}
        facts |= {"output_tokens": output_tokens[name]} if name in output_tokens else {}
        profiles.append(Profile(name, moved.mean, moved.covariance, found[name].before.prompts, ["calibration"], facts))
    return Profiles(whole.basis, profiles, embedding, landmarks=whole.landmarks)
