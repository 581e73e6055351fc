"""The profiles that an artifact brings, and those of a pool's models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from turnout._core import ConfigError
from turnout.artifact.manifest import Manifest
from turnout.pool.profiles import Profiles, read_profiles
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
    found = {}
    for model in pool.models:
        candidates = {
            model.name: model.to_dict(),
            **{f"{model.name}:{key}": one.to_dict() for key, one in model.efforts.items()},
        }
        for name, own in candidates.items():
            found[name] = _profile({**candidates[model.name], **own}, (name, model.name), Path(pool.folder), known)
    return found


def _profile(fields: Mapping[str, Any], names: Sequence[str], folder: Path, known: Profiles) -> Linear:
    if "profile" in fields:
        profiles = read_profiles(folder / str(fields["profile"]))
        named = [one for name in names for one in profiles.models if one.name in (name, name.lower())]
        one = (named or list(profiles.models))[0]
        return Linear(profiles.basis, [Gaussian(one.mean, one.covariance)], profiles.landmarks)
    if "success" in fields:
        chance = min(max(float(fields["success"]), 1e-6), 1.0 - 1e-6)
        bias = np.log(chance / (1.0 - chance))
        return Linear(np.zeros((known.dim, 1)), [Gaussian(np.array([0.0, bias]), np.zeros((2, 2)))])
    one = known.find(str(fields.get("like", names[-1])).lower())
    return Linear(known.basis, [Gaussian(one.mean, one.covariance)], known.landmarks)
