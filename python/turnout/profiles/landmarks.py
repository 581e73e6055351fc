"""Chances of success that bend over the embedding: Gaussian process regression with landmarks, which the core evaluates.

The features of a prompt are its embedding and its likeness to a few landmarks (the Nyström approximation of a kernel: Williams and Seeger,
"Using the Nyström Method to Speed Up Kernel Machines", NIPS 13, 2001). What models share is fitted first: the scores' principal directions over
the models, each with the ratio of signal to noise of the greatest marginal likelihood (Rasmussen and Williams, "Gaussian Processes for Machine
Learning", 2006, section 5.4.1), so that a direction that is only noise falls out. Then each model is a logistic regression on these few factors.

This is done for a narrow, a middle and a wide kernel, and the log odds are their mean: which width predicts best differs
from table to table, and the mean is near the best of the three everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.pool.profiles import Doubles, Landmarks
from turnout.profiles.folds import folds_of
from turnout.profiles.linear import Linear, blended
from turnout.profiles.predictors import ScoredPrompts
from turnout.profiles.regression import Gaussian, Graded, posterior

#: Landmarks, at most; never more than half of the prompts.
LANDMARKS = 256
#: Squared bandwidths of the kernels, as parts of the median squared distance of two prompts.
_BANDWIDTHS = (0.05, 0.2, 0.8)
#: Factors that models are described by, at most.
_FACTORS = 16
_FOLDS = 4
#: Added to the kernel of the landmarks, so that its inverse is one of numbers in single precision.
_JITTER = 1e-3
_RATIOS = np.geomspace(1e-3, 30.0, 25)
#: Standard deviations of a model's weights around those of the scores' directions, and of its bias.
_WEIGHT_SD, _BIAS_SD = 0.06, 1.0


def fit_landmarks(seen: ScoredPrompts) -> Linear | None:
    """Fits every model.

    Args:
        seen: The outcomes.

    Returns:
        The models; ``None`` where no direction of the scores follows the prompts with any kernel.
    """
    seen = _distinct(seen)
    landmarks = _placed(seen.embeddings)
    expanded = landmarks.expanded(seen.embeddings)
    scores = _Scores.of(seen.scores)
    fold = folds_of(seen.prompts, _FOLDS, 0)
    parts = [
        _fit(expanded @ scale, scores, scale, fold, landmarks) or scores.constant(len(scale))
        for scale in _scalings(landmarks, expanded)
    ]
    return blended(*parts) if any(part.landmarks is not None for part in parts) else None


def _distinct(seen: ScoredPrompts) -> ScoredPrompts:
    """Each prompt once, with the mean of its scores: what copies of a prompt share is not what prompts share."""
    _, first, group = np.unique(np.array(seen.prompts, dtype=object), return_index=True, return_inverse=True)
    if len(first) == len(seen.prompts):
        return seen
    known = ~np.isnan(seen.scores)
    sums, counts = np.zeros((2, len(first), seen.scores.shape[1]))
    np.add.at(sums, group, np.where(known, seen.scores, 0.0))
    np.add.at(counts, group, known)
    means = np.where(counts > 0, sums / np.maximum(counts, 1.0), np.nan)
    return ScoredPrompts([seen.prompts[row] for row in first.tolist()], seen.embeddings[first], means)


@dataclass(frozen=True)
class _Scores:
    """Scores by model, and by direction over the models.

    Attributes:
        scores: float64 ``[prompts, models]``; NaN where a model has none.
        means: Of each model, drawn to one half by one success and one failure, float64 ``[models]``.
        loadings: Principal directions of the scores, float64 ``[directions, models]``.
        targets: Scores along them, float64 ``[prompts, directions]``; a missing score counts as the mean.
    """

    scores: Doubles
    means: Doubles
    loadings: Doubles
    targets: Doubles

    @classmethod
    def of(cls, scores: Doubles) -> _Scores:
        known = ~np.isnan(scores)
        means = (np.where(known, scores, 0.0).sum(axis=0) + 1.0) / (known.sum(axis=0) + 2.0)
        residuals = np.where(known, scores, means) - means
        loadings = np.linalg.svd(residuals, full_matrices=False)[2]
        return cls(scores, means, loadings, residuals @ loadings.T)

    def constant(self, width: int) -> Linear:
        """The means."""
        return Linear(np.zeros((width, 1)), [_prior(np.zeros(1), mean) for mean in self.means])


def _fit(
    features: Doubles, scores: _Scores, scale: Doubles, fold: NDArray[np.int64], landmarks: Landmarks
) -> Linear | None:
    """Fits every model with one kernel.

    Args:
        features: Of the prompts, float64 ``[prompts, features]``.
        scores: The outcomes.
        scale: Makes features of an expanded embedding, float64 ``[expanded, features]``.
        fold: Of each prompt.
        landmarks: They expand the embedding.
    """
    center = features.mean(axis=0)
    features = features - center
    ratios, signal = _ratios(features, scores.targets)
    kept = np.argsort(-signal, kind="stable")[:_FACTORS]
    kept = kept[signal[kept] > 0.0]
    if not len(kept):
        return None
    loadings, targets, ratios = scores.loadings[kept], scores.targets[:, kept], ratios[kept]
    coefficients = _ridge(features, targets, ratios)
    factors = _left_out(features, targets, ratios, fold)
    size = np.maximum(factors.std(axis=0), 1e-6)
    shared = np.column_stack([factors / size, np.ones(len(factors))])
    models = []
    for loading, mean, own in zip(loadings.T, scores.means, scores.scores.T, strict=True):
        known = ~np.isnan(own)
        models.append(posterior(_prior(loading * size, mean), Graded(shared[known], own[known])))
    basis = scale @ coefficients / size
    back = np.eye(len(kept) + 1)
    back[-1, :-1] = -(center @ coefficients / size)
    moved = [Gaussian(back @ one.mean, back @ one.covariance @ back.T) for one in models]
    return Linear(basis, moved, landmarks)


def _placed(embeddings: NDArray[np.float32]) -> Landmarks:
    """Landmarks at the centers of k-means, with bandwidths by the distance of two prompts."""
    from sklearn.cluster import KMeans

    wide = np.unique(embeddings.astype(np.float64), axis=0)
    number = max(min(LANDMARKS, len(wide) // 2), 1)
    points = KMeans(number, n_init=1, max_iter=20, random_state=0).fit(wide).cluster_centers_
    some = wide[np.random.default_rng(0).permutation(len(wide))[:800]]
    squares = (some**2).sum(axis=1)
    distances = squares[:, None] + squares - 2.0 * some @ some.T
    apart = distances[distances > 1e-9]
    median = float(np.median(apart)) if len(apart) else 1.0
    return Landmarks(points.astype(np.float32), [float(np.sqrt(part * median)) for part in _BANDWIDTHS])


def _scalings(landmarks: Landmarks, expanded: Doubles) -> list[Doubles]:
    """For each kernel the matrix that makes features of an expanded embedding: the embedding at one scale, the kernel by the root of its inverse."""
    number, dim = landmarks.points.shape
    own = landmarks.expanded(landmarks.points)
    spread = max(float(expanded[:, :dim].std()), 1e-12)
    found = []
    for first in range(dim, dim + landmarks.width, number):
        place = slice(first, first + number)
        values, vectors = np.linalg.eigh(own[:, place] + _JITTER * np.eye(number))
        scale = np.zeros((expanded.shape[1], dim + number))
        scale[:dim, :dim] = np.eye(dim) * np.sqrt(0.5 / dim) / spread
        scale[place, dim:] = np.sqrt(0.5) * vectors / np.sqrt(values)
        found.append(scale)
    return found


def _ratios(features: Doubles, targets: Doubles) -> tuple[Doubles, Doubles]:
    """Ratio of signal to noise of every target, and the variance that it explains; 0 where noise alone is as likely."""
    sizes, vectors = _spectrum(features)
    seen, whole = (vectors.T @ (features.T @ targets)) ** 2 / sizes[:, None], (targets**2).sum(axis=0)
    rows = len(targets)
    rest = np.maximum(whole - seen.sum(axis=0), 0.0)
    ratios, signal = np.zeros(targets.shape[1]), np.zeros(targets.shape[1])
    for column in np.flatnonzero(whole > 1e-9):
        lowest = 0.5 * rows * np.log(whole[column] / rows)
        for ratio in _RATIOS:
            shrunk = 1.0 + ratio * sizes
            noise = (float((seen[:, column] / shrunk).sum()) + rest[column]) / rows
            loss = 0.5 * (rows * np.log(max(noise, 1e-300)) + float(np.log(shrunk).sum()))
            if loss < lowest:
                fitted = seen[:, column] * (1.0 - 1.0 / shrunk) ** 2
                lowest, ratios[column], signal[column] = loss, ratio, float(fitted.sum())
    return ratios, signal


def _spectrum(features: Doubles) -> tuple[Doubles, Doubles]:
    """Squared singular values of features and their directions, without those of nearly nothing."""
    values, vectors = np.linalg.eigh(features.T @ features)
    kept = values > 1e-10 * max(float(values[-1]), 1e-300)
    return values[kept], vectors[:, kept]


def _ridge(features: Doubles, targets: Doubles, ratios: Doubles) -> Doubles:
    """Coefficients of every target, float64 ``[features, targets]``."""
    sizes, vectors = _spectrum(features)
    shrunk = ratios / (1.0 + ratios * sizes[:, None])
    result: Doubles = vectors @ (shrunk * (vectors.T @ (features.T @ targets)))
    return result


def _left_out(features: Doubles, targets: Doubles, ratios: Doubles, fold: NDArray[np.int64]) -> Doubles:
    """Every target as predicted by the other folds."""
    found = np.empty(targets.shape)
    for one in range(_FOLDS):
        out = fold == one
        found[out] = features[out] @ _ridge(features[~out], targets[~out], ratios)
    return found


def _prior(loading: Doubles, mean: float) -> Gaussian:
    """Weights that follow from the directions of the scores (the slope of the logit at the mean), and how far a model may be from them."""
    weights = loading / (mean * (1.0 - mean))
    variances = np.append(np.full(len(loading), _WEIGHT_SD**2), _BIAS_SD**2)
    return Gaussian(np.append(weights, np.log(mean / (1.0 - mean))), np.diag(variances))
