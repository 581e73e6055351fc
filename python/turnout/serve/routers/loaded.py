"""Routers that stay loaded over a reload where neither their settings nor their files changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from turnout._core import ConfigError, Decision, threshold_for_share
from turnout.battle_store import NAME, OLD_NAME
from turnout.cascade.judge import Action
from turnout.registry import RouteSpec, open_router
from turnout.scored_router import AnyRouter
from turnout.serve.routers.folder_stats import Stats, contents_of, index_files, sha256_of, stats_of
from turnout.serve.routers.judges import LoadedCascade, load_cascade
from turnout.serve.routers.scorers import Scorers
from turnout.serve.settings.tables import RouterSettings

#: Options that name what lies outside of the artifact's folder.
_OUTSIDE = frozenset({"class", "index", "embedding_url"})


@dataclass(frozen=True)
class LoadedRouter:
    """A router of the configuration under its name, and what it was loaded from."""

    name: str
    router: AnyRouter
    #: Where a request names none; that of the configuration goes before the router's own.
    threshold: float
    options: dict[str, Any]
    #: Empty for what is no artifact in a folder.
    stats: Stats
    #: ``None`` for a router that does not judge answers.
    cascade: LoadedCascade | None = None
    #: SHA-256 of what it reads beside the files of its manifest: battles that were added, and the index of its options. Only with ``pin``.
    beside: tuple[str, ...] = ()

    def action(self, decision: Decision) -> Action:
        """Which model a decision asks first, and whether its answer is judged: ``cheap``, ``cascade`` or ``strong``.

        Args:
            decision: Of the router.
        """
        if self.cascade is not None:
            return self.cascade.action(decision.win_rate)
        return "strong" if decision.is_strong else "cheap"

    @property
    def artifact_hash(self) -> str | None:
        """SHA-256 of the artifact's manifest; ``None`` for a router that is no artifact."""
        return getattr(self.router, "artifact_hash", None)

    @property
    def folder(self) -> Path | None:
        """The artifact's folder; ``None`` for a router that is no artifact."""
        path = getattr(self.router, "path", None)
        return path if isinstance(path, Path) and hasattr(self.router, "manifest") else None

    def options_for(self, spec: RouteSpec) -> dict[str, float]:
        """The threshold or share of a request, as arguments of the router's ``route``."""
        return spec.options or {"threshold": self.threshold}

    def is_current(self, options: dict[str, Any]) -> bool:
        """Whether loading again with these options would give the same router."""
        folder = self.folder
        if folder is None or not self.stats or options != self.options or not _OUTSIDE.isdisjoint(options):
            return False
        found = stats_of(folder)
        if found == self.stats:
            return True
        # Touched or copied anew: their hashes decide. Files that the manifest does not list have none.
        if self._unlisted(found) != self._unlisted(self.stats):
            return False
        return all(sha256_of(folder / name) == value for name, value in self._hashes.items())

    def _unlisted(self, stats: Stats) -> Stats:
        """Files of the artifact's folder that its manifest does not list, such as battles that were added."""
        hashes = self._hashes
        return {name: one for name, one in stats.items() if name not in hashes}

    @property
    def _hashes(self) -> dict[str, str | None]:
        """SHA-256 of each file that the manifest lists, and of the manifest."""
        if self.folder is None:
            return {}
        manifest = self.router.manifest  # type: ignore[attr-defined]
        hashes = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        return {**hashes, "router.json": self.artifact_hash}


def load_router(
    name: str,
    settings: RouterSettings,
    pair: tuple[str, str],
    before: LoadedRouter | None,
    scorers: Scorers,
    *,
    pins: bool,
) -> LoadedRouter:
    """Opens a router, or takes the one that is open already.

    Args:
        name: Its name in the configuration.
        settings: Of ``[routers.NAME]``.
        pair: Names of the strong and the weak model.
        before: The one of that name and pair before a reload.
        scorers: Those that judges read.
        pins: Whether what it reads is compared after a reload, so that battles and an index are hashed.

    Raises:
        ConfigError: No such router, or settings that it does not take.
        ArtifactError: The artifact is missing or damaged.
    """
    options, cascade = settings.options, load_cascade(name, settings, scorers)
    if before is not None and before.is_current(options):
        loaded = replace(before, threshold=before.router.threshold, cascade=cascade)
    else:
        # Read before it is loaded: what changes meanwhile is then found by the next reload.
        folder = Path(options["path"]) if isinstance(options.get("path"), str) else None
        stats = {} if folder is None else stats_of(folder)
        beside = _beside(folder, options) if pins and folder is not None else ()
        router = open_router(name, options, strong=pair[0], weak=pair[1])
        loaded = LoadedRouter(name, router, router.threshold, options, stats, cascade, beside)
        if not stats and loaded.folder:
            beside = _beside(loaded.folder, options) if pins else ()
            loaded = replace(loaded, stats=stats_of(loaded.folder), beside=beside)
    if settings.threshold is not None:
        return replace(loaded, threshold=settings.threshold)
    if settings.strong_share is None:
        return loaded
    if not loaded.router.quantiles:
        raise ConfigError(
            f"[routers.{name}] strong_share: the router stores no quantiles for this pair; name a threshold"
        )
    return replace(loaded, threshold=threshold_for_share(loaded.router.quantiles, settings.strong_share))


def _beside(folder: Path, options: Mapping[str, Any]) -> tuple[str, ...]:
    return contents_of([*(folder / name for name in (NAME, f"{NAME}-wal", OLD_NAME)), *index_files(options)])
