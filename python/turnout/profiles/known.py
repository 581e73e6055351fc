"""The profiles that an artifact brings, and those of a pool's models."""

from __future__ import annotations

from pathlib import Path

from turnout._core import ConfigError
from turnout.artifact.manifest import Manifest
from turnout.pool.profiles import Profiles, read_profiles


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
