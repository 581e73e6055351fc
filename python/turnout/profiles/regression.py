"""Bayesian logistic regression of one model's outcomes, and the population that models are drawn from (empirical Bayes).

The posterior of a model's weights is a Gaussian around their most likely value (Laplace's approximation). The prior, one Gaussian for all
models, is fitted to them by expectation maximization, so that a model with few graded prompts borrows from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from turnout.pool.profiles import sigmoid

Doubles = NDArray[np.float64]

_NEWTON_STEPS = 50
#: Pseudo-models of the initial prior that steady its covariance where few models say something of a direction.
_PRIOR_MODELS = 2.0


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution of the weights of a model, the bias last.

    Attributes:
        mean: float64 ``[size]``.
        covariance: float64 ``[size, size]``.
    """

    mean: Doubles
    covariance: Doubles


@dataclass(frozen=True)
class Graded:
    """Graded prompts of one model.

    Attributes:
        features: float64 ``[prompts, size]``, the last column 1.
        scores: In 0..1, float64 ``[prompts]``.
        weights: How much each prompt counts, float64 ``[prompts]``; by default 1.
    """

    features: Doubles
    scores: Doubles
    weights: Doubles | None = None


def posterior(prior: Gaussian, graded: Graded, start: Doubles | None = None) -> Gaussian:
    """Posterior of a model's weights from its graded prompts.

    Args:
        prior: Of the weights.
        graded: The prompts; none gives the prior.
        start: Where the search starts; by default the prior's mean.

    Returns:
        The most likely weights, and the inverse of the curvature there.
    """
    if not len(graded.scores):
        return prior
    precision = inverse(prior.covariance)
    counts = np.ones(len(graded.scores)) if graded.weights is None else graded.weights
    at = prior.mean if start is None else start

    def loss(point: Doubles) -> float:
        logits = graded.features @ point
        gap = point - prior.mean
        return float(counts @ (np.logaddexp(0.0, logits) - graded.scores * logits) + 0.5 * gap @ precision @ gap)

    lowest = loss(at)
    for _ in range(_NEWTON_STEPS):
        chance = sigmoid(graded.features @ at)
        slope = graded.features.T @ (counts * (chance - graded.scores)) + precision @ (at - prior.mean)
        step = cho_solve(cho_factor(_curvature(graded, counts, chance, precision)), slope)
        size = 1.0
        while (found := loss(at - size * step)) > lowest + 1e-12 and size > 1e-4:
            size *= 0.5
        if found > lowest:
            break
        at = at - size * step
        if lowest - found < 1e-9 * (1.0 + abs(found)):
            break
        lowest = found
    curvature = _curvature(graded, counts, sigmoid(graded.features @ at), precision)
    return Gaussian(at, inverse(curvature))


def _curvature(graded: Graded, counts: Doubles, chance: Doubles, precision: Doubles) -> Doubles:
    weight = counts * np.maximum(chance * (1.0 - chance), 1e-6)
    result: Doubles = (graded.features * weight[:, None]).T @ graded.features + precision
    return result


def inverse(matrix: Doubles) -> Doubles:
    """Inverse of a symmetric, positive definite matrix; exactly symmetric."""
    found = cho_solve(cho_factor(matrix), np.eye(len(matrix)))
    result: Doubles = (found + found.T) / 2.0
    return result


def population(posteriors: Sequence[Gaussian], initial: Gaussian) -> Gaussian:
    """The prior that fits the posteriors best: one step of expectation maximization.

    Args:
        posteriors: Of the known models.
        initial: Counts as a few models more, so that the covariance has an inverse.
    """
    means = np.stack([one.mean for one in posteriors])
    mean = (means.sum(axis=0) + _PRIOR_MODELS * initial.mean) / (len(means) + _PRIOR_MODELS)
    spread = means - mean
    covariances = np.sum([one.covariance for one in posteriors], axis=0)
    total = spread.T @ spread + covariances + _PRIOR_MODELS * initial.covariance
    return Gaussian(mean, total / (len(means) + _PRIOR_MODELS))


def fit_population(models: Sequence[Graded], initial: Gaussian, steps: int = 12) -> tuple[Gaussian, list[Gaussian]]:
    """Prior and posteriors of many models.

    Args:
        models: Graded prompts of each.
        initial: First prior.
        steps: Steps of expectation maximization.

    Returns:
        The prior, and the posterior of each model under it.
    """
    prior = initial
    found = [posterior(prior, graded) for graded in models]
    for _ in range(steps):
        prior = population(found, initial)
        found = [posterior(prior, graded, one.mean) for graded, one in zip(models, found, strict=True)]
    return prior, found
