"""Profiles of many models at once: the directions of the embedding in which models differ, and each model's place there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.pool.profiles import Doubles, features, sigmoid
from turnout.profiles.regression import Gaussian, Graded, fit_population

#: Directions of a basis. `recipes/pool/notes.md` says what other numbers gave.
RANK = 16
#: Standard deviation of the weights of whitened features, and of the bias, before any model is known.
_WEIGHT_SD, _BIAS_SD = 0.3, 1.5
#: The former where all directions are kept, most of which say nothing.
_WIDE_WEIGHT_SD = 0.1
FITTED, ELSEWHERE = (0.1, 0.1), (0.4, 1.0)


@dataclass(frozen=True)
class Rows:
    """Outcomes of one model.

    Attributes:
        place: Rows of the embeddings, int64 ``[prompts]``.
        scores: In 0..1, float64 ``[prompts]``.
    """

    place: NDArray[np.int64]
    scores: Doubles

    def kept(self, keep: NDArray[np.bool_]) -> Rows:
        """The outcomes of some prompts.

        Args:
            keep: Whether a row of the embeddings counts, bool ``[rows]``.
        """
        known = keep[self.place]
        return Rows(self.place[known], self.scores[known])


@dataclass(frozen=True)
class Fitted:
    """Models over a basis.

    Attributes:
        basis: float64 ``[dim, r]``.
        prior: Of the weights and the bias.
        posteriors: Of each model.
        center: Mean projection of the prompts, float64 ``[r]``.
    """

    basis: Doubles
    prior: Gaussian
    posteriors: Mapping[str, Gaussian]
    center: Doubles

    def features(self, embeddings: NDArray[np.float32]) -> Doubles:
        """Features of prompts, float64 ``[prompts, r + 1]``; the last column is 1."""
        return features(embeddings, self.basis)


def fit(embeddings: NDArray[np.float32], models: Mapping[str, Rows], rank: int | None = RANK) -> Fitted:
    """Fits a basis and every model on it.

    All directions come first: the prior over the models' weights says in which of them models differ. The basis is what it varies in
    most, the mean model included.

    Args:
        embeddings: float32 ``[rows, dim]``.
        models: Outcomes of each model.
        rank: Directions of the basis; ``None`` for all.
    """
    mean, whitening = whitened(embeddings[np.unique(np.concatenate([rows.place for rows in models.values()]))])
    if rank is None:
        return refit(embeddings, models, mean, whitening, _WIDE_WEIGHT_SD)
    every = features(embeddings - mean.astype(np.float32), whitening)
    prior, _ = fit_population([_graded(every, rows) for rows in models.values()], _initial(whitening.shape[1]), steps=6)
    second = prior.covariance[:-1, :-1] + np.outer(prior.mean[:-1], prior.mean[:-1])
    directions = np.linalg.eigh(second)[1][:, ::-1][:, :rank]
    return refit(embeddings, models, mean, whitening @ directions)


def refit(
    embeddings: NDArray[np.float32],
    models: Mapping[str, Rows],
    mean: Doubles,
    basis: Doubles,
    weight_sd: float = _WEIGHT_SD,
) -> Fitted:
    """Fits every model over a given basis of centered embeddings; the result is for embeddings as they are.

    Args:
        embeddings: float32 ``[rows, dim]``.
        models: Outcomes of each model.
        mean: Of the embeddings, float64 ``[dim]``.
        basis: float64 ``[dim, r]``, such that the projections have variance 1.
        weight_sd: Standard deviation of a weight before any model is known.
    """
    seen = features(embeddings - mean.astype(np.float32), basis)
    prior, found = fit_population(
        [_graded(seen, rows) for rows in models.values()], _initial(basis.shape[1], weight_sd)
    )
    back = np.eye(basis.shape[1] + 1)
    back[-1, :-1] = -(mean @ basis)
    moved = [Gaussian(back @ one.mean, back @ one.covariance @ back.T) for one in [prior, *found]]
    return Fitted(basis, moved[0], dict(zip(models, moved[1:], strict=True)), mean @ basis)


def whitened(embeddings: NDArray[np.float32]) -> tuple[Doubles, Doubles]:
    """Mean and the matrix that gives centered embeddings uncorrelated coordinates of variance 1, without those of almost none."""
    wide = embeddings.astype(np.float64)
    mean = wide.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(wide.T))
    kept = variances > 1e-4 * variances.max()
    return mean, directions[:, kept] / np.sqrt(variances[kept])


def _graded(seen: Doubles, rows: Rows) -> Graded:
    return Graded(seen[rows.place], rows.scores)


def _initial(size: int, weight_sd: float = _WEIGHT_SD) -> Gaussian:
    return Gaussian(np.zeros(size + 1), np.diag(np.append(np.full(size, weight_sd**2), _BIAS_SD**2)))


def calibrations(
    logits: Sequence[Doubles], scores: Sequence[Doubles], spread: tuple[float, float] = FITTED
) -> list[tuple[float, float]]:
    """Slope and intercept of each model's logit on held-out prompts (Platt), drawn to those of the other models.

    Args:
        logits: Of each model on its held-out prompts, float64 ``[prompts]``.
        scores: The outcomes.
        spread: Standard deviations of slope and intercept before any model is known: :data:`FITTED` for prompts like those that the logits were
            fitted on, :data:`ELSEWHERE` for others.
    """
    held = [
        Graded(np.column_stack([logit, np.ones(len(logit))]), score)
        for logit, score in zip(logits, scores, strict=True)
    ]
    initial = Gaussian(np.array([1.0, 0.0]), np.diag(np.square(spread)))
    _, found = fit_population(held, initial)
    return [(max(float(one.mean[0]), 0.0), float(one.mean[1])) for one in found]


def calibrated(one: Gaussian, slope: float, intercept: float) -> Gaussian:
    """Weights whose logit is the slope times the logit before, and the intercept."""
    mean = slope * one.mean
    mean[-1] += intercept
    return Gaussian(mean, slope**2 * one.covariance)


def chances(one: Gaussian, seen: Doubles) -> Doubles:
    """P(success) of a model, float64 ``[prompts]``."""
    return sigmoid(seen @ one.mean)
