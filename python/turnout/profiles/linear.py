"""Models whose log odds are linear in factors of the embedding: what the core evaluates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.pool.profiles import Doubles, Landmarks, features, sigmoid
from turnout.profiles.regression import Gaussian


@dataclass(frozen=True)
class Linear:
    """Models over a basis of the embedding.

    Attributes:
        basis: float64 ``[dim, r]``; with landmarks ``[dim + landmarks.width, r]``.
        models: Weights and bias of each.
        landmarks: They expand the embedding.
    """

    basis: Doubles
    models: Sequence[Gaussian]
    landmarks: Landmarks | None = None

    def success(self, embeddings: NDArray[np.float32]) -> Doubles:
        """P(success), float64 ``[prompts, models]``."""
        seen = features(embeddings, self.basis, self.landmarks)
        return sigmoid(seen @ np.stack([one.mean for one in self.models]).T)


def blended(*parts: Linear, weights: Sequence[float] | None = None) -> Linear:
    """The weighted mean of log odds; its variance is that of parts that agree.

    Args:
        parts: The same models each.
        weights: Of the parts, with the sum 1; by default equal.

    Raises:
        InvalidInputError: They have different landmarks.
    """
    shares = [1.0 / len(parts)] * len(parts) if weights is None else weights
    landmarks = _landmarks_of(parts)
    basis = np.hstack(_padded(*parts))
    starts, size = np.cumsum([0, *(one.basis.shape[1] for one in parts)]), basis.shape[1] + 1
    models = []
    for same in zip(*(one.models for one in parts), strict=True):
        mean, covariance = np.zeros(size), np.zeros((size, size))
        for start, end, share, one in zip(starts[:-1], starts[1:], shares, same, strict=True):
            # Where the numbers of this part's vector are in that of all.
            place = [*range(start, end), size - 1]
            mean[place] += share * one.mean
            covariance[np.ix_(place, place)] += share * one.covariance
        models.append(Gaussian(mean, covariance))
    return Linear(basis, models, landmarks)


def joined(models: Mapping[str, Linear]) -> Linear:
    """Models of several sources over one basis.

    Args:
        models: One model each.

    Raises:
        InvalidInputError: They have different landmarks.
    """
    parts = list(models.values())
    landmarks = _landmarks_of(parts)
    bases: list[Linear] = []
    for one in parts:
        if not any(_is_same(one, other) for other in bases):
            bases.append(one)
    basis = np.hstack(_padded(*bases))
    starts = np.cumsum([0, *(one.basis.shape[1] for one in bases)])
    size = basis.shape[1] + 1
    found = []
    for one in parts:
        at = next(number for number, other in enumerate(bases) if _is_same(one, other))
        place = [*range(starts[at], starts[at + 1]), size - 1]
        mean, covariance = np.zeros(size), np.zeros((size, size))
        mean[place] = one.models[0].mean
        covariance[np.ix_(place, place)] = one.models[0].covariance
        found.append(Gaussian(mean, covariance))
    return Linear(basis, found, landmarks)


def _landmarks_of(parts: Sequence[Linear]) -> Landmarks | None:
    """The landmarks that some or all parts have."""
    found = [one.landmarks for one in parts if one.landmarks is not None]
    if any(not one.is_equal(found[0]) for one in found):
        raise InvalidInputError(
            "profiles with different landmarks do not fit into one file; calibrate one file's models at a time"
        )
    return found[0] if found else None


def _is_same(one: Linear, other: Linear) -> bool:
    """Whether two have one basis."""
    if (one.landmarks is None) != (other.landmarks is None) or not np.array_equal(one.basis, other.basis):
        return False
    return one.landmarks is None or other.landmarks is None or one.landmarks.is_equal(other.landmarks)


def _padded(*parts: Linear) -> list[Doubles]:
    """The bases with as many rows: those for landmarks are 0 where there are none."""
    rows = max(len(one.basis) for one in parts)
    return [np.vstack([one.basis, np.zeros((rows - len(one.basis), one.basis.shape[1]))]) for one in parts]
