"""Profiles from a user's own outcomes, and the answer whether routing by them pays at all.

Nested cross-validation: inner folds pick the candidate and the cost of an error, outer folds say what both are worth. The answer may be that
one model alone is as good and cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.pool.profiles import Doubles, Profiles, sigmoid
from turnout.profiles.fitting import ELSEWHERE, Rows, calibrated, calibrations, features, fit
from turnout.profiles.new_model import ALIKE, prior_of
from turnout.profiles.predictors import Lessons
from turnout.profiles.regression import Gaussian, Graded, posterior

OUTER, INNER = 5, 3


@dataclass(frozen=True)
class Linear:
    """Models whose log odds are linear in the embedding: what the core evaluates.

    Attributes:
        basis: float64 ``[dim, r]``.
        models: Weights and bias of each.
    """

    basis: Doubles
    models: Sequence[Gaussian]

    def success(self, embeddings: NDArray[np.float32]) -> Doubles:
        """P(success), float64 ``[prompts, models]``."""
        return sigmoid(features(embeddings, self.basis) @ np.stack([one.mean for one in self.models]).T)

    def spread(self) -> Linear:
        """The same over all numbers of the embedding."""
        size = len(self.basis)
        back = np.zeros((size + 1, self.basis.shape[1] + 1))
        back[:-1, :-1] = self.basis
        back[-1, -1] = 1.0
        return Linear(np.eye(size), [Gaussian(back @ one.mean, back @ one.covariance @ back.T) for one in self.models])


#: From what was learned to a model of every column.
Candidate = Callable[[Lessons], Linear]


def candidates(names: Sequence[str], known: Profiles | None) -> dict[str, Candidate]:
    """What is tried: kinds that the core can run.

    Args:
        names: Models of the columns, in canonical form.
        known: Profiles to start from; without, only the user's outcomes count.
    """
    found: dict[str, Candidate] = {"means": _means, "own": _own}
    if known is None:
        return found
    whole = set(names) <= set(known.names)
    if whole:
        found["mf, calibrated"] = lambda seen: _recalibrated(seen, known, names)
    found["mf, refitted"] = lambda seen: _refitted(seen, known, names)
    found["mf and own"] = lambda seen: _blend(_refitted(seen, known, names), _own(seen))
    return found


def _columns(seen: Lessons) -> list[Rows]:
    columns = [np.flatnonzero(~np.isnan(column)) for column in seen.scores.T]
    return [Rows(place, seen.scores[place, number]) for number, place in enumerate(columns)]


def _means(seen: Lessons) -> Linear:
    """The mean score of each model for every prompt."""
    models = []
    for rows in _columns(seen):
        good, number = rows.scores.sum() + 0.5, len(rows.scores) + 1.0
        odds = np.log(good / (number - good))
        models.append(Gaussian(np.array([0.0, odds]), np.diag([0.0, number / (good * (number - good))])))
    return Linear(np.zeros((seen.embeddings.shape[1], 1)), models)


def _own(seen: Lessons) -> Linear:
    """All directions of the embedding, with a prior that is fitted to these models."""
    fitted = fit(seen.embeddings, {str(number): rows for number, rows in enumerate(_columns(seen))}, rank=None)
    return Linear(fitted.basis, list(fitted.posteriors.values()))


def _recalibrated(seen: Lessons, known: Profiles, names: Sequence[str]) -> Linear:
    """Known profiles with a slope and an intercept each from the outcomes."""
    before = [Gaussian(one.mean, one.covariance) for one in map(known.find, names)]
    projected = features(seen.embeddings, known.basis)
    columns = _columns(seen)
    logits = [projected[rows.place] @ one.mean for rows, one in zip(columns, before, strict=True)]
    folds = calibrations(logits, [rows.scores for rows in columns], ELSEWHERE)
    return Linear(known.basis, [calibrated(one, *fold) for one, fold in zip(before, folds, strict=True)])


def _refitted(seen: Lessons, known: Profiles, names: Sequence[str]) -> Linear:
    """Posteriors from the outcomes; a known model starts from its profile, less certain, another from the spread of the known ones."""
    spread = prior_of(known)
    projected = features(seen.embeddings, known.basis)
    models = []
    for name, rows in zip(names, _columns(seen), strict=True):
        one = next((one for one in known.models if one.name == name), None)
        prior = spread if one is None else Gaussian(one.mean, one.covariance + ALIKE * spread.covariance)
        models.append(posterior(prior, Graded(projected[rows.place], rows.scores)))
    return Linear(known.basis, models)


def _blend(one: Linear, other: Linear) -> Linear:
    """The mean of both log odds; its variance is that of two that agree."""
    pairs = zip(one.spread().models, other.spread().models, strict=True)
    models = [Gaussian((a.mean + b.mean) / 2.0, (a.covariance + b.covariance) / 2.0) for a, b in pairs]
    return Linear(np.eye(len(one.basis)), models)


def log_loss(success: Doubles, scores: Doubles) -> float:
    """Mean over models of the log loss on the scores that are there."""
    clipped = np.clip(success, 1e-6, 1.0 - 1e-6)
    losses = -(scores * np.log(clipped) + (1.0 - scores) * np.log(1.0 - clipped))
    return float(np.nanmean(np.nanmean(losses, axis=0)))


def folds_of(prompts: Sequence[str], number: int, seed: int) -> NDArray[np.int64]:
    """Fold of each row, the same for equal prompts; int64 ``[rows]``."""
    _, inverse = np.unique(np.array(prompts, dtype=object), return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(int(inverse.max()) + 1) % number
    result: NDArray[np.int64] = drawn[inverse].astype(np.int64)
    return result


def left_out(candidate: Candidate, seen: Lessons, number: int, seed: int) -> Doubles:
    """P(success) of each prompt by what was learned from the other folds, float64 ``[prompts, models]``."""
    fold = folds_of(seen.prompts, number, seed)
    found = np.empty(seen.scores.shape)
    for one in range(number):
        out = fold == one
        found[out] = candidate(seen.rows(~out)).success(seen.embeddings[out])
    return found


@dataclass(frozen=True)
class Picked:
    """The candidate that inner folds pick.

    Attributes:
        name: Of the candidate.
        losses: Log loss on left-out prompts, by candidate.
        success: P(success) on left-out prompts by the candidate, float64 ``[prompts, models]``.
    """

    name: str
    losses: Mapping[str, float]
    success: Doubles


def pick(tried: Mapping[str, Candidate], seen: Lessons, seed: int) -> Picked:
    """Picks the candidate of the least log loss on left-out prompts.

    Args:
        tried: The candidates.
        seen: What to learn from.
        seed: Of the folds.
    """
    found = {name: left_out(candidate, seen, INNER, seed) for name, candidate in tried.items()}
    losses = {name: log_loss(success, seen.scores) for name, success in found.items()}
    name = min(losses, key=lambda one: losses[one])
    return Picked(name, losses, found[name])
