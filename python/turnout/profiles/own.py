"""Profiles from a user's own outcomes, and the answer whether routing by them pays at all.

Nested cross-validation: inner folds pick the candidate and the cost of an error, outer folds say what both are worth. The answer may be that
one model alone is as good and cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from turnout.pool.profiles import Doubles, Profiles, features
from turnout.profiles.fitting import ELSEWHERE, Rows, calibrated, calibrations, fit
from turnout.profiles.landmarks import fit_landmarks
from turnout.profiles.linear import Linear, blended
from turnout.profiles.new_model import ALIKE, MIN_KNOWN, prior_of
from turnout.profiles.predictors import Predictor, ScoredPrompts, out_of_fold
from turnout.profiles.regression import Gaussian, Graded, posterior

OUTER, INNER = 5, 3
#: The candidate that keeps known profiles and moves each by a slope and an intercept.
CALIBRATED = "mf, calibrated"

#: From what was learned to a model of every column.
Candidate = Callable[[ScoredPrompts], Linear]


def candidates(names: Sequence[str], known: Profiles | None) -> dict[str, Candidate]:
    """What is tried: kinds that the core can run.

    Args:
        names: Models of the columns, in canonical form.
        known: Profiles to start from; without, only the user's outcomes count. Refitted ones need at least eight of them.
    """
    own, landmarks = _Once(_own), _Once(_with_landmarks)
    found: dict[str, Candidate] = {
        "means": _means,
        "own": own,
        "landmarks": landmarks,
        # A quarter and three quarters: landmarks are the mean of three fits.
        "own and landmarks": lambda seen: blended(own(seen), landmarks(seen), weights=(0.25, 0.75)),
    }
    if known is None:
        return found
    whole = set(names) <= set(known.names)
    if whole:
        found[CALIBRATED] = lambda seen: _recalibrated(seen, known, names)
    if len(known.models) < MIN_KNOWN:
        # What starts from the spread of known models needs several of them.
        return found
    refitted = _Once(lambda seen: _refitted(seen, known, names))
    found["mf, refitted"] = refitted
    found["mf and own"] = lambda seen: blended(refitted(seen), own(seen))
    if known.landmarks is None:
        found["mf and landmarks"] = lambda seen: blended(refitted(seen), landmarks(seen))
    return found


class _Once:
    """A candidate that is fitted once to the same outcomes, though blends ask for it again."""

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._last: tuple[ScoredPrompts, Linear] | None = None

    def __call__(self, seen: ScoredPrompts) -> Linear:
        if self._last is None or self._last[0] is not seen:
            self._last = seen, self._candidate(seen)
        return self._last[1]


def _columns(seen: ScoredPrompts) -> list[Rows]:
    columns = [np.flatnonzero(~np.isnan(column)) for column in seen.scores.T]
    return [Rows(place, seen.scores[place, number]) for number, place in enumerate(columns)]


def _means(seen: ScoredPrompts) -> Linear:
    """The mean score of each model for every prompt."""
    models = []
    for rows in _columns(seen):
        good, number = rows.scores.sum() + 0.5, len(rows.scores) + 1.0
        odds = np.log(good / (number - good))
        models.append(Gaussian(np.array([0.0, odds]), np.diag([0.0, number / (good * (number - good))])))
    return Linear(np.zeros((seen.embeddings.shape[1], 1)), models)


def _own(seen: ScoredPrompts) -> Linear:
    """All directions of the embedding, with a prior that is fitted to these models."""
    fitted = fit(seen.embeddings, {str(number): rows for number, rows in enumerate(_columns(seen))}, rank=None)
    return Linear(fitted.basis, list(fitted.posteriors.values()))


def _recalibrated(seen: ScoredPrompts, known: Profiles, names: Sequence[str]) -> Linear:
    """Known profiles with a slope and an intercept each from the outcomes."""
    before = [Gaussian(one.mean, one.covariance) for one in map(known.find, names)]
    projected = features(seen.embeddings, known.basis, known.landmarks)
    columns = _columns(seen)
    logits = [projected[rows.place] @ one.mean for rows, one in zip(columns, before, strict=True)]
    folds = calibrations(logits, [rows.scores for rows in columns], ELSEWHERE)
    after = [calibrated(one, *fold) for one, fold in zip(before, folds, strict=True)]
    return Linear(known.basis, after, known.landmarks)


def _refitted(seen: ScoredPrompts, known: Profiles, names: Sequence[str]) -> Linear:
    """Posteriors from the outcomes; a known model starts from its profile, less certain, another from the spread of the known ones."""
    spread = prior_of(known)
    projected = features(seen.embeddings, known.basis, known.landmarks)
    models = []
    for name, rows in zip(names, _columns(seen), strict=True):
        one = next((one for one in known.models if one.name == name), None)
        prior = spread if one is None else Gaussian(one.mean, one.covariance + ALIKE * spread.covariance)
        models.append(posterior(prior, Graded(projected[rows.place], rows.scores)))
    return Linear(known.basis, models, known.landmarks)


def _with_landmarks(seen: ScoredPrompts) -> Linear:
    """A Gaussian process on the embedding; the means where nothing of the scores follows the prompts."""
    return fit_landmarks(seen) or _means(seen)


def log_loss(success: Doubles, scores: Doubles) -> float:
    """Mean over models of the log loss on the scores that are there."""
    clipped = np.clip(success, 1e-6, 1.0 - 1e-6)
    losses = -(scores * np.log(clipped) + (1.0 - scores) * np.log(1.0 - clipped))
    has_scores = ~np.isnan(losses).all(axis=0)
    return float(np.nanmean(losses[:, has_scores], axis=0).mean())


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


def pick(tried: Mapping[str, Candidate], seen: ScoredPrompts, seed: int) -> Picked:
    """Picks the candidate of the least log loss on left-out prompts.

    Args:
        tried: The candidates.
        seen: What to learn from.
        seed: Of the folds.
    """
    learned = {name: _predictor(candidate) for name, candidate in tried.items()}
    found = out_of_fold(learned, seen, INNER, seed)
    losses = {name: log_loss(success, seen.scores) for name, success in found.items()}
    name = min(losses, key=lambda one: losses[one])
    return Picked(name, losses, found[name])


def _predictor(candidate: Candidate) -> Predictor:
    return lambda seen, _, embeddings: candidate(seen).success(embeddings)
