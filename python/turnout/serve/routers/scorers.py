"""Learned scorers that judges of cascades read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from turnout.cascade import Scorer
from turnout.router import load
from turnout.serve.routers.folder_stats import Stats, stats_of


class Scorers:
    """Opens each scorer once for all judges that read it, and after a reload only where its files were touched.

    Args:
        before: :attr:`opened` before a reload.
    """

    def __init__(self, before: Mapping[str, tuple[Scorer, Stats]]) -> None:
        self._before = before
        #: The scorers by folder, and the files that they were loaded from.
        self.opened: dict[str, tuple[Scorer, Stats]] = {}

    def open(self, path: str) -> Scorer:
        """The scorer of a folder.

        Args:
            path: The folder, an artifact of ``turnout train scorer``.

        Raises:
            ConfigError: It is no scorer.
            ArtifactError: The artifact is missing or damaged.
        """
        if path not in self.opened:
            # Read before it is loaded: what changes meanwhile is then found by the next reload.
            stats = stats_of(Path(path))
            kept = self._before.get(path)
            is_current = kept is not None and stats and kept[1] == stats
            self.opened[path] = kept if kept is not None and is_current else (Scorer(load(path)), stats)
        return self.opened[path][0]
