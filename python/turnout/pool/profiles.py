"""Profiles of models: P(success) on a prompt, from the router's embedding of it. ``models/README.md`` describes the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError, InvalidInputError

Doubles = NDArray[np.float64]

#: Half width of a 90 % interval in standard deviations.
Z90 = 1.645


@dataclass(frozen=True)
class Profile:
    """One model: the posterior of its weights and bias, and where they come from.

    The vector of ``mean`` and ``covariance`` is the weights, then the bias; P(success) is the sigmoid of its product with the
    features ``(basis^T embedding, 1)``.

    Attributes:
        name: The model.
        mean: float64 ``[r + 1]``.
        covariance: float64 ``[r + 1, r + 1]``.
        prompts: Prompts with an outcome that it was fitted on.
        sources: Names of their tables.
        facts: Further facts by name: ``ece``, ``brier`` and ``auc`` on held-out prompts, ``output_tokens``, ``means`` by table.
    """

    name: str
    mean: Doubles
    covariance: Doubles
    prompts: int = 0
    sources: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Landmarks:
    """Points of the embedding's space; how near a prompt is to each of them extends its embedding.

    Attributes:
        points: float32 ``[points, dim]``.
        bandwidths: Distances at which the nearness ``exp(-distance^2 / (2 bandwidth^2))`` is .61, each more than 0. Every point counts once
            with each of them.

    Example:
        >>> Landmarks(np.zeros((1, 2), np.float32), (1.0, 0.5)).expanded(np.array([[0.0, 1.0]])).round(2).tolist()
        [[0.0, 1.0, 0.61, 0.14]]
    """

    points: NDArray[np.float32]
    bandwidths: Sequence[float]

    @property
    def width(self) -> int:
        """By how many numbers they extend an embedding."""
        return len(self.points) * len(self.bandwidths)

    def expanded(self, embeddings: NDArray[Any]) -> Doubles:
        """The embeddings, then the nearness to each point with the first bandwidth, then with the second, and so on.

        Args:
            embeddings: Of the router, float ``[prompts, dim]``.

        Returns:
            float64 ``[prompts, dim + points * bandwidths]``.
        """
        wide, points = np.asarray(embeddings, dtype=np.float64), self.points.astype(np.float64)
        squared = (wide**2).sum(axis=1)[:, None] + (points**2).sum(axis=1) - 2.0 * wide @ points.T
        apart = np.maximum(squared, 0.0)
        return np.hstack([wide, *(np.exp(-apart / (2.0 * bandwidth**2)) for bandwidth in self.bandwidths)])

    def is_equal(self, other: Landmarks) -> bool:
        """Whether others are the same."""
        return tuple(self.bandwidths) == tuple(other.bandwidths) and np.array_equal(self.points, other.points)


@dataclass(frozen=True)
class Profiles:
    """Profiles of several models over one basis.

    Attributes:
        basis: Directions of the router's embedding, expanded by the landmarks, float64 ``[dim, r]``.
        models: The profiles.
        embedding: SHA-256 of the graph that makes the embeddings, in hexadecimal digits.
        center: Mean projection of the prompts that a basis was fitted on, float64 ``[r]``; the projections have variance 1 there and no
            correlation. ``None`` where that is not known.
        landmarks: They expand the embedding where the profiles have them; the basis then has ``dim + landmarks.width`` rows.

    Example:
        >>> constant = Profile("mine", np.array([0.0, 0.0, 2.0]), np.diag([0.0, 0.0, 0.25]))
        >>> profiles = Profiles(np.eye(4)[:, :2], [constant], "0" * 64)
        >>> profiles.success(np.zeros((1, 4))).round(2).tolist()
        [[0.88]]
        >>> [bound.round(2).tolist() for bound in profiles.interval(np.zeros((1, 4)))]
        [[[0.76]], [[0.94]]]
    """

    basis: Doubles
    models: Sequence[Profile]
    embedding: str
    center: Doubles | None = None
    landmarks: Landmarks | None = None

    @property
    def names(self) -> list[str]:
        """Names of the models, in order."""
        return [model.name for model in self.models]

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return len(self.basis) - (0 if self.landmarks is None else self.landmarks.width)

    def features(self, embeddings: NDArray[Any]) -> Doubles:
        """Features of prompts.

        Args:
            embeddings: Of the router, float ``[prompts, dim]``.

        Returns:
            float64 ``[prompts, r + 1]``; the last column is 1.
        """
        return features(embeddings, self.basis, self.landmarks)

    def logits(self, embeddings: NDArray[Any]) -> Doubles:
        """Log odds of success, float64 ``[prompts, models]``."""
        result: Doubles = self.features(embeddings) @ np.stack([model.mean for model in self.models]).T
        return result

    def success(self, embeddings: NDArray[Any]) -> Doubles:
        """P(success), float64 ``[prompts, models]``.

        Args:
            embeddings: Of the router, float ``[prompts, dim]``.
        """
        return sigmoid(self.logits(embeddings))

    def interval(self, embeddings: NDArray[Any]) -> tuple[Doubles, Doubles]:
        """Bounds of the 90 % interval of P(success), float64 ``[prompts, models]`` each.

        Args:
            embeddings: Of the router, float ``[prompts, dim]``.
        """
        features, logits = self.features(embeddings), self.logits(embeddings)
        variances = [np.einsum("ni,ij,nj->n", features, model.covariance, features) for model in self.models]
        half = Z90 * np.sqrt(np.maximum(np.stack(variances, axis=1), 0.0))
        return sigmoid(logits - half), sigmoid(logits + half)

    def find(self, name: str) -> Profile:
        """The profile of a model.

        Args:
            name: The model, as :attr:`names` has it.

        Raises:
            InvalidInputError: There is none; the message has names that are close.
        """
        from difflib import get_close_matches

        for model in self.models:
            if model.name == name:
                return model
        near = get_close_matches(name, self.names, n=3, cutoff=0.4)
        hint = f"; similar names: {', '.join(near)}" if near else ""
        raise InvalidInputError(f"no profile of model {name!r} among {len(self.models)}{hint}")

    def to_bytes(self) -> bytes:
        """The content of a ``profiles.safetensors``."""
        from safetensors.numpy import save

        lower = np.tril_indices(self.basis.shape[1] + 1)
        means = np.stack([model.mean for model in self.models])
        tensors = {
            "basis": self.basis,
            "weights": means[:, :-1],
            "bias": means[:, -1],
            "covariance": np.stack([model.covariance[lower] for model in self.models]),
        }
        if self.landmarks is not None:
            tensors["landmarks"] = self.landmarks.points.astype(np.float64)
            tensors["bandwidth"] = np.array(self.landmarks.bandwidths)
        infos = [
            {
                "name": model.name,
                "prompts": model.prompts,
                "sources": list(model.sources),
                "ece": None,
                "brier": None,
                "output_tokens": None,
                **model.facts,
            }
            for model in self.models
        ]
        metadata = {"embedding": self.embedding, "profiles": json.dumps(infos, ensure_ascii=False, allow_nan=False)}
        if self.center is not None:
            metadata["center"] = json.dumps([float(f"{number:.6g}") for number in self.center])
        contents = {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}
        return bytes(save(contents, metadata=metadata))


def read_profiles(path: str | Path) -> Profiles:
    """Reads a ``profiles.safetensors``.

    Args:
        path: The file.

    Returns:
        Its profiles.

    Raises:
        ConfigError: The file is damaged, or has other tensors; the message has what was expected.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ConfigError(f"{path}: not a safetensors file: {error}") from error
    try:
        infos, embedding = json.loads(metadata["profiles"]), metadata["embedding"]
        center = np.array(json.loads(metadata["center"]), dtype=np.float64) if "center" in metadata else None
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{path}: not a file of profiles: {error} is missing or invalid") from error
    _check_infos(path, infos)
    missing = [name for name in ("basis", "weights", "bias", "covariance") if name not in tensors]
    if missing:
        raise ConfigError(f"{path}: not a file of profiles: {', '.join(missing)} is missing")
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ConfigError(f"{path}: a tensor has a number that is not finite")
    basis, weights, bias, packed = (tensors[name] for name in ("basis", "weights", "bias", "covariance"))
    size = basis.shape[-1] + 1 if basis.ndim == 2 else 0
    expected = [(len(infos), size - 1), (len(infos),), (len(infos), size * (size + 1) // 2)]
    found = [weights.shape, bias.shape, packed.shape]
    if size < 2 or found != expected:
        raise ConfigError(f"{path}: shapes of weights, bias and covariance are {found}, expected {expected}")
    landmarks = _landmarks(path, tensors)
    if landmarks is not None and landmarks.points.shape[1] + landmarks.width != len(basis):
        rows = landmarks.points.shape[1] + landmarks.width
        raise ConfigError(f"{path}: basis has {len(basis)} rows, expected {rows} with these landmarks and bandwidths")
    lower = np.tril_indices(size)
    models = []
    for row, info in enumerate(infos):
        covariance = np.zeros((size, size))
        covariance[lower] = packed[row]
        covariance = covariance + np.tril(covariance, -1).T
        facts = {name: value for name, value in info.items() if name not in ("name", "prompts", "sources")}
        mean = np.append(weights[row], bias[row])
        models.append(Profile(info["name"], mean, covariance, info["prompts"], info.get("sources", []), facts))
    return Profiles(basis, models, embedding, center, landmarks)


def _check_infos(path: str | Path, infos: Any) -> None:
    """Raises `ConfigError` if the list of models is not one."""
    if not isinstance(infos, list) or not infos:
        raise ConfigError(f"{path}: `profiles` is {infos!r:.40}, expected a list of models")
    for info in infos:
        given = isinstance(info, dict) and (info.get("name"), info.get("prompts"))
        if not given or not isinstance(given[0], str) or not isinstance(given[1], int):
            raise ConfigError(f"{path}: `profiles` holds {info!r:.40}, expected a name and a number of prompts")


def _landmarks(path: str | Path, tensors: Mapping[str, Doubles]) -> Landmarks | None:
    """Landmarks, where a file has them."""
    points, bandwidths = tensors.get("landmarks"), tensors.get("bandwidth")
    if points is None and bandwidths is None:
        return None
    if points is None or points.ndim != 2 or not points.size:
        shape = None if points is None else points.shape
        raise ConfigError(f"{path}: landmarks have shape {shape}, expected [points, dim]")
    if bandwidths is None or bandwidths.ndim != 1 or not len(bandwidths) or bandwidths.min() <= 0.0:
        raise ConfigError(f"{path}: bandwidth is {bandwidths}, expected numbers above 0")
    return Landmarks(points.astype(np.float32), bandwidths.tolist())


def features(embeddings: NDArray[Any], basis: Doubles, landmarks: Landmarks | None = None) -> Doubles:
    """Projections of embeddings on a basis, and a column of ones.

    Args:
        embeddings: Of the router, float ``[prompts, dim]``.
        basis: float64 ``[dim, r]``; with landmarks ``[dim + landmarks.width, r]``.
        landmarks: They expand the embeddings.

    Returns:
        float64 ``[prompts, r + 1]``.
    """
    wide = np.asarray(embeddings, dtype=np.float64) if landmarks is None else landmarks.expanded(embeddings)
    projected = wide @ basis
    return np.column_stack([projected, np.ones(len(projected))])


def sigmoid(logits: Doubles) -> Doubles:
    """The logistic function, without overflow."""
    result: Doubles = np.exp(-np.logaddexp(0.0, -logits))
    return result
