"""A profile of a model that nobody trained on: from graded prompts, from scores on known tables, or from a model that is alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from turnout._core import InvalidInputError
from turnout.artifact.calibration import logit
from turnout.pool.profiles import Z90, Doubles, Profiles, sigmoid
from turnout.profiles.folds import folds_of
from turnout.profiles.regression import Gaussian, Graded, inverse, population, posterior

#: Fewest graded prompts that are taken.
MIN_GRADED = 30
#: Known models that a regression on leaderboard scores needs.
MIN_KNOWN = 8
#: Part of the variance between models that is between two that a user calls alike. `recipes/pool/notes.md` says where it comes from.
ALIKE = 0.25
#: Mean scores are at least this far from 0 and 1.
_CLIP = 0.01
_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def prior_of(profiles: Profiles, without: Sequence[str] = ()) -> Gaussian:
    """What is known of a model before anything is: the spread of the known ones.

    Args:
        profiles: Of the known models.
        without: Models to leave out, for measuring.
    """
    known = [Gaussian(one.mean, one.covariance) for one in profiles.models if one.name not in without]
    if len(known) < MIN_KNOWN:
        raise InvalidInputError(f"{len(known)} profiles of known models, expected at least {MIN_KNOWN}")
    means = np.stack([one.mean for one in known])
    center = Gaussian(means.mean(axis=0), np.cov(means.T) + np.mean([one.covariance for one in known], axis=0))
    return population(known, center)


def from_outcomes(prior: Gaussian, features: Doubles, scores: Doubles) -> Gaussian:
    """Posterior from graded prompts.

    Args:
        prior: Of :func:`prior_of`, :func:`from_leaderboard` or :func:`from_alike`.
        features: Of the prompts, as :meth:`turnout.pool.profiles.Profiles.features` gives them, float64 ``[prompts, r + 1]``.
        scores: In 0..1, float64 ``[prompts]``.

    Raises:
        InvalidInputError: Fewer than 30 prompts, or a score outside 0..1.
    """
    if len(scores) < MIN_GRADED:
        raise InvalidInputError(f"{len(scores)} graded prompts, expected at least {MIN_GRADED}")
    outside = scores[(scores < 0.0) | (scores > 1.0)]
    if len(outside):
        raise InvalidInputError(f"a score is {outside[0]:g}, expected scores in 0..1")
    return posterior(prior, Graded(features, scores))


def from_alike(profiles: Profiles, name: str) -> Gaussian:
    """The profile of a known model, less certain by a part of the spread between models.

    Raises:
        InvalidInputError: No such model; the message has names that are close.
    """
    known = profiles.find(name)
    return Gaussian(known.mean, known.covariance + ALIKE * prior_of(profiles).covariance)


@dataclass(frozen=True)
class FromLeaderboard:
    """A profile from leaderboard scores.

    Attributes:
        found: The profile.
        tables: Tables that were used.
        models: Known models that have scores on all of them.
        penalty: Of the ridge regression.
    """

    found: Gaussian
    tables: Sequence[str]
    models: int
    penalty: float


def from_leaderboard(profiles: Profiles, scores: Mapping[str, float], without: Sequence[str] = ()) -> FromLeaderboard:
    """Ridge regression from the known models' mean scores on tables to their profiles.

    Tables that too few known models share are left out, the least known first. The penalty is the one with the least squared error on
    models that were left out one at a time; those errors give the covariance.

    Args:
        profiles: Of the known models, with their means by table.
        scores: Mean scores in 0..1 of the new model, by name of table.
        without: Models to leave out, for measuring.

    Raises:
        InvalidInputError: A table is unknown, a score is outside 0..1, or too few models have scores on any of the tables.
    """
    known = [one for one in profiles.models if one.name not in without]
    counts = {table: sum(table in one.facts.get("means", {}) for one in known) for table in scores}
    for table, score in scores.items():
        if not counts[table]:
            tables = sorted({name for one in known for name in one.facts.get("means", {})})
            raise InvalidInputError(f"no known model has a score on {table!r}; tables: {', '.join(tables)}")
        if not 0.0 <= score <= 1.0:
            raise InvalidInputError(f"score on {table} is {score:g}, expected a number in 0..1")
    tables = sorted(scores, key=lambda table: -counts[table])
    while tables:
        shared = [one for one in known if all(table in one.facts.get("means", {}) for table in tables)]
        if len(shared) >= MIN_KNOWN:
            break
        tables.pop()
    else:
        raise InvalidInputError(f"fewer than {MIN_KNOWN} known models have scores on {', '.join(scores)}")
    prior = prior_of(profiles, without)
    inputs = logit([[one.facts["means"][table] for table in tables] for one in shared], _CLIP)
    outputs = np.stack([one.mean for one in shared])
    new = logit([[scores[table] for table in tables]], _CLIP)
    scale = np.sqrt(np.diag(prior.covariance))
    errors = {penalty: _left_out(inputs, outputs, penalty) for penalty in _PENALTIES}
    penalty = min(errors, key=lambda one: float(((errors[one] / scale) ** 2).sum()))
    mean = _ridge(inputs, outputs, new, penalty)[0]
    left, weight = errors[penalty], float(MIN_KNOWN)
    covariance = (left.T @ left + weight * prior.covariance) / (len(shared) + weight)
    return FromLeaderboard(Gaussian(mean, covariance), tables, len(shared), penalty)


def _ridge(inputs: Doubles, outputs: Doubles, new: Doubles, penalty: float) -> Doubles:
    """Predictions for new inputs; the penalty is in units of the inputs' variance times their number."""
    center, middle = inputs.mean(axis=0), outputs.mean(axis=0)
    spread = inputs.std(axis=0) + 1e-9
    x, z = (inputs - center) / spread, (new - center) / spread
    solved = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (outputs - middle))
    result: Doubles = middle + z @ solved
    return result


def _left_out(inputs: Doubles, outputs: Doubles, penalty: float) -> Doubles:
    rows = np.arange(len(inputs))
    found = [
        outputs[row] - _ridge(inputs[rows != row], outputs[rows != row], inputs[row : row + 1], penalty)[0]
        for row in rows
    ]
    return np.stack(found)


def half_width(one: Gaussian, features: Doubles) -> float:
    """Mean over prompts of half the 90 % interval of P(success)."""
    logits = features @ one.mean
    half = Z90 * np.sqrt(np.maximum(np.einsum("ni,ij,nj->n", features, one.covariance, features), 0.0))
    return float(np.mean(sigmoid(logits + half) - sigmoid(logits - half)) / 2.0)


def with_more(one: Gaussian, features: Doubles, prompts: int) -> Gaussian:
    """What the profile would be with further graded prompts like these: the same mean, more certain.

    Args:
        one: The profile.
        features: Of prompts, float64 ``[prompts, r + 1]``.
        prompts: How many more.
    """
    chance = sigmoid(features @ one.mean)
    information = (features * (chance * (1.0 - chance))[:, None]).T @ features / len(features)
    return Gaussian(one.mean, inverse(inverse(one.covariance) + prompts * information))


def cross_fitted(
    before: Gaussian, features: Doubles, scores: Doubles, prompts: Sequence[str], folds: int = 5
) -> dict[str, float]:
    """Log loss on graded prompts that are left out in turn, beside that of their mean score and of the prior.

    Args:
        before: The prior.
        features: Of the graded prompts, float64 ``[prompts, r + 1]``.
        scores: In 0..1, float64 ``[prompts]``.
        prompts: The graded prompts: near-duplicates are left out together.
        folds: Parts to leave out.

    Returns:
        ``log_loss``, ``log_loss_constant`` and ``log_loss_before``.
    """
    part = folds_of(prompts, folds, 0)
    ours, constant = np.empty(len(scores)), np.empty(len(scores))
    for number in np.unique(part):
        out = part == number
        ours[out] = sigmoid(features[out] @ posterior(before, Graded(features[~out], scores[~out])).mean)
        constant[out] = (scores[~out].sum() + 1.0) / ((~out).sum() + 2.0)

    def loss(chance: Doubles) -> float:
        clipped = np.clip(chance, 1e-9, 1.0 - 1e-9)
        return float(-np.mean(scores * np.log(clipped) + (1.0 - scores) * np.log(1.0 - clipped)))

    losses = {"log_loss": ours, "log_loss_constant": constant, "log_loss_before": sigmoid(features @ before.mean)}
    return {name: loss(chance) for name, chance in losses.items()}
