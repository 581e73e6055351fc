"""Routers that stay loaded over a reload where neither their settings nor their files changed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnout._core import ConfigError
from turnout.routing import NamedRouter, open_router
from turnout.serve.settings import RouterSettings

#: Options that name what lies outside of the artifact's folder.
_OUTSIDE = frozenset({"class", "index", "embedding_url"})

#: Size, times and number of each file of a folder: equal for files that were not touched.
Stats = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class LoadedRouter:
    """A router, and what it was loaded from."""

    named: NamedRouter
    options: dict[str, Any]
    #: Empty for what is no artifact in a folder.
    stats: Stats

    def is_current(self, options: dict[str, Any]) -> bool:
        """Whether loading again with these options would give the same router."""
        folder = _folder(self.named)
        if folder is None or not self.stats or options != self.options or not _OUTSIDE.isdisjoint(options):
            return False
        found = _stats(folder)
        if found == self.stats:
            return True
        # Touched or copied anew: their hashes decide. Files that the manifest does not list have none.
        manifest = self.named.router.manifest
        hashes = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        hashes["router.json"] = self.named.artifact_hash
        if {name: one for name, one in found.items() if name not in hashes} != {
            name: one for name, one in self.stats.items() if name not in hashes
        }:
            return False
        return all(_sha256(folder / name) == value for name, value in hashes.items())


def load_router(
    name: str, settings: RouterSettings, pair: tuple[str, str], before: LoadedRouter | None
) -> LoadedRouter:
    """Opens a router, or takes the one that is open already.

    Args:
        name: Its name in the configuration.
        settings: Of ``[routers.NAME]``.
        pair: Names of the strong and the weak model.
        before: The one of that name and pair before a reload.

    Raises:
        ConfigError: No such router, or settings that it does not take.
        ArtifactError: The artifact is missing or damaged.
    """
    options = settings.options
    if before is not None and before.is_current(options):
        loaded = LoadedRouter(NamedRouter(name, before.named.router), options, before.stats)
    else:
        # Read before it is loaded: what changes meanwhile is then found by the next reload.
        stats = _stats(Path(options["path"])) if isinstance(options.get("path"), str) else {}
        named = open_router(name, options, strong=pair[0], weak=pair[1])
        folder = _folder(named)
        loaded = LoadedRouter(named, options, stats or (_stats(folder) if folder else {}))
    try:
        if settings.threshold is not None:
            loaded.named.threshold = settings.threshold
        if settings.strong_share is not None:
            loaded.named.threshold = loaded.named.threshold_for_share(settings.strong_share)
    except ValueError as error:
        raise ConfigError(f"[routers.{name}] {error}") from error
    return loaded


def _folder(named: NamedRouter) -> Path | None:
    path = getattr(named.router, "path", None)
    return path if named.is_artifact and isinstance(path, Path) else None


def _stats(folder: Path) -> Stats:
    try:
        with os.scandir(folder) as entries:
            found = ((entry.name, entry.stat()) for entry in entries if entry.is_file())
            return {name: (one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino) for name, one in found}
    except OSError:
        return {}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while part := file.read(1 << 20):
                digest.update(part)
            return digest.hexdigest()
    except OSError:
        return ""
