"""Chances of success that bend over the embedding: Gaussian process regression with landmarks, which the core evaluates.

The features of a prompt are its embedding and its likeness to a few landmarks (the Nyström approximation of a kernel: Williams and Seeger,
"Using the Nyström Method to Speed Up Kernel Machines", NIPS 13, 2001). What models share is fitted first: the scores' principal directions over
the models, each with the ratio of signal to noise of the greatest marginal likelihood (Rasmussen and Williams, "Gaussian Processes for Machine
Learning", 2006, section 5.4.1), so that a direction that is only noise falls out. Then each model is a logistic regression on these few factors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from turnout.pool.profiles import Doubles, Landmarks
from turnout.profiles.linear import Linear
from turnout.profiles.predictors import Lessons
from turnout.profiles.regression import Gaussian, Graded, posterior

#: Landmarks, at most; never more than half of the prompts.
LANDMARKS = 256
#: Squared bandwidth of the kernel, as a part of the median squared distance of two prompts.
_BANDWIDTH = 0.2
#: Factors that models are described by, at most.
_FACTORS = 16
_FOLDS = 4
#: Added to the kernel of the landmarks, so that its inverse is one of numbers in single precision.
_JITTER = 1e-3
_RATIOS = np.geomspace(1e-3, 30.0, 25)
#: Standard deviations of a model's weights around those of the scores' directions, and of its bias.
_WEIGHT_SD, _BIAS_SD = 0.06, 1.0


def fit_landmarks(seen: Lessons) -> Linear | None:
    """Fits every model.

    Args:
        seen: The outcomes.

    Returns:
        The models; ``None`` where no direction of the scores follows the prompts.
    """
    landmarks = _placed(seen.embeddings)
    expanded = landmarks.expanded(seen.embeddings)
    scale = _scaling(landmarks, expanded)
    features = expanded @ scale
    center = features.mean(axis=0)
    features -= center
    known = ~np.isnan(seen.scores)
    means = (np.where(known, seen.scores, 0.0).sum(axis=0) + 1.0) / (known.sum(axis=0) + 2.0)
    residuals = np.where(known, seen.scores, means) - means
    loadings = np.linalg.svd(residuals, full_matrices=False)[2]
    targets = residuals @ loadings.T
    ratios, signal = _ratios(features, targets)
    kept = np.argsort(-signal, kind="stable")[:_FACTORS]
    kept = kept[signal[kept] > 0.0]
    if not len(kept):
        return None
    loadings, targets, ratios = loadings[kept], targets[:, kept], ratios[kept]
    coefficients = _ridge(features, targets, ratios)
    factors = _left_out(features, targets, ratios)
    size = np.maximum(factors.std(axis=0), 1e-6)
    shared = np.column_stack([factors / size, np.ones(len(factors))])
    models = [
        posterior(_prior(loading * size, mean), Graded(shared[rows], scores[rows]))
        for loading, mean, rows, scores in zip(loadings.T, means, known.T, seen.scores.T, strict=True)
    ]
    basis = scale @ coefficients / size
    back = np.eye(len(kept) + 1)
    back[-1, :-1] = -(center @ coefficients / size)
    moved = [Gaussian(back @ one.mean, back @ one.covariance @ back.T) for one in models]
    return Linear(basis, moved, landmarks)


def _placed(embeddings: NDArray[np.float32]) -> Landmarks:
    """Landmarks at the centers of k-means, with a bandwidth by the distance of two prompts."""
    from sklearn.cluster import KMeans

    wide = np.unique(embeddings.astype(np.float64), axis=0)
    number = max(min(LANDMARKS, len(wide) // 2), 1)
    points = KMeans(number, n_init=1, max_iter=20, random_state=0).fit(wide).cluster_centers_
    some = wide[np.random.default_rng(0).permutation(len(wide))[:800]]
    squares = (some**2).sum(axis=1)
    distances = squares[:, None] + squares - 2.0 * some @ some.T
    apart = distances[distances > 1e-9]
    median = float(np.median(apart)) if len(apart) else 1.0
    return Landmarks(points.astype(np.float32), float(np.sqrt(_BANDWIDTH * median)))


def _scaling(landmarks: Landmarks, expanded: Doubles) -> Doubles:
    """The matrix that makes features of an expanded embedding: the embedding at one scale, the kernel by the root of its inverse."""
    dim = landmarks.points.shape[1]
    own = landmarks.expanded(landmarks.points)[:, dim:]
    values, vectors = np.linalg.eigh(own + _JITTER * np.eye(len(own)))
    spread = max(float(expanded[:, :dim].std()), 1e-12)
    scale = np.zeros((expanded.shape[1], expanded.shape[1]))
    scale[:dim, :dim] = np.eye(dim) * np.sqrt(0.5 / dim) / spread
    scale[dim:, dim:] = np.sqrt(0.5) * vectors / np.sqrt(values)
    return scale


def _ratios(features: Doubles, targets: Doubles) -> tuple[Doubles, Doubles]:
    """Ratio of signal to noise of every target, and the variance that it explains; 0 where noise alone is as likely."""
    left, sizes, _ = np.linalg.svd(features, full_matrices=False)
    seen, whole = (left.T @ targets) ** 2, (targets**2).sum(axis=0)
    rows = len(targets)
    rest = np.maximum(whole - seen.sum(axis=0), 0.0)
    ratios, signal = np.zeros(targets.shape[1]), np.zeros(targets.shape[1])
    for column in np.flatnonzero(whole > 1e-9):
        lowest = 0.5 * rows * np.log(whole[column] / rows)
        for ratio in _RATIOS:
            shrunk = 1.0 + ratio * sizes**2
            noise = (float((seen[:, column] / shrunk).sum()) + rest[column]) / rows
            loss = 0.5 * (rows * np.log(max(noise, 1e-300)) + float(np.log(shrunk).sum()))
            if loss < lowest:
                fitted = seen[:, column] * (1.0 - 1.0 / shrunk) ** 2
                lowest, ratios[column], signal[column] = loss, ratio, float(fitted.sum())
    return ratios, signal


def _ridge(features: Doubles, targets: Doubles, ratios: Doubles) -> Doubles:
    """Coefficients of every target, float64 ``[features, targets]``."""
    left, sizes, right = np.linalg.svd(features, full_matrices=False)
    shrunk = sizes[:, None] * ratios / (1.0 + ratios * sizes[:, None] ** 2)
    result: Doubles = right.T @ (shrunk * (left.T @ targets))
    return result


def _left_out(features: Doubles, targets: Doubles, ratios: Doubles) -> Doubles:
    """Every target as predicted by the other folds."""
    fold = np.random.default_rng(0).permutation(len(features)) % _FOLDS
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
