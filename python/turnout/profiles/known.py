"""The profiles that an artifact brings, and those of a pool's models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from turnout._core import ConfigError
from turnout.artifact.manifest import Manifest
from turnout.pool.profiles import Profile, Profiles, read_profiles
from turnout.profiles.linear import Linear
from turnout.profiles.regression import Gaussian

if TYPE_CHECKING:
    from turnout.pool import Pool


def known_profiles(artifact: Path) -> Profiles:
    """Reads the profiles of an artifact.

    Args:
        artifact: Folder of an artifact.

    Raises:
        ConfigError: It has none, or they belong to another graph.
    """
    manifest = Manifest.read(artifact)
    file = manifest.sections.get("profiles")
    if file is None:
        raise ConfigError(f"{artifact}: this router has no profiles of models; the default router mf has")
    profiles = read_profiles(artifact / str(file))
    if profiles.embedding != graph_hash(artifact):
        raise ConfigError(
            f"{artifact / str(file)}: made for another graph than {manifest.graph}: fit the profiles again"
        )
    return profiles


def graph_hash(artifact: Path) -> str:
    """SHA-256 of an artifact's graph, as its manifest has it: what profiles are bound to.

    Args:
        artifact: Folder of an artifact.

    Raises:
        ConfigError: It has no graph.
    """
    manifest = Manifest.read(artifact)
    if manifest.graph is None:
        raise ConfigError(f"{artifact}: this router has no graph, so it makes no embeddings")
    return str(manifest.files[manifest.graph]["sha256"])


def profiles_of_pool(pool: Pool, artifact: Path) -> dict[str, Linear]:
    """The profile of every candidate of a pool, as the core takes it: a file, a constant, a model that is alike, or its own name.

    Args:
        pool: The pool.
        artifact: Folder of the artifact that it is loaded with.

    Returns:
        By name of the candidate.
    """
    known = known_profiles(artifact)
    return {
        name: _constant(float(fields["success"]), known.dim) if row is None else _linear(*row)
        for name, fields, row in _candidates(pool, known)
    }


def output_tokens_of_pool(pool: Pool, artifact: Path) -> dict[str, float]:
    """Mean output tokens of an answer that the profiles of a pool's candidates have.

    Args:
        pool: The pool.
        artifact: Folder of the artifact that it is loaded with.

    Returns:
        By name of the candidate; those whose profile has none are missing.
    """
    rows = ((name, row) for name, _, row in _candidates(pool, known_profiles(artifact)) if row is not None)
    found = {name: profile.facts.get("output_tokens") for name, (_, profile) in rows}
    return {name: float(tokens) for name, tokens in found.items() if tokens is not None}


def _candidates(
    pool: Pool, known: Profiles
) -> Iterator[tuple[str, Mapping[str, Any], tuple[Profiles, Profile] | None]]:
    """Every candidate with its fields and its profile; ``None`` for a constant."""
    for model in pool.models:
        candidates = {
            model.name: model.to_dict(),
            **{f"{model.name}:{key}": one.to_dict() for key, one in model.efforts.items()},
        }
        for name, own in candidates.items():
            fields = {**candidates[model.name], **own}
            yield name, fields, _row(fields, (name, model.name), Path(pool.folder), known)


def _row(
    fields: Mapping[str, Any], names: Sequence[str], folder: Path, known: Profiles
) -> tuple[Profiles, Profile] | None:
    if "profile" in fields:
        profiles = read_profiles(folder / str(fields["profile"]))
        named = [one for name in names for one in profiles.models if one.name in (name, name.lower())]
        return profiles, (named or list(profiles.models))[0]
    if "success" in fields:
        return None
    return known, known.find(str(fields.get("like", names[-1])).lower())


def _constant(success: float, dim: int) -> Linear:
    chance = min(max(success, 1e-6), 1.0 - 1e-6)
    bias = np.log(chance / (1.0 - chance))
    return Linear(np.zeros((dim, 1)), [Gaussian(np.array([0.0, bias]), np.zeros((2, 2)))])


def _linear(profiles: Profiles, one: Profile) -> Linear:
    return Linear(profiles.basis, [Gaussian(one.mean, one.covariance)], profiles.landmarks)
