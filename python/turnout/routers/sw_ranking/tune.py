"""Measures indexes over a router's own battles: time of a decision against the difference from the exact win rate."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError, InvalidInputError
from turnout.artifact.manifest import rewrite_manifest
from turnout.progress import ProgressCallback, silent
from turnout.router import Router, load
from turnout.routers.sw_ranking.ann_index import (
    AnnIndex,
    ErrorDistribution,
    default_search,
    make_cells,
    make_index,
    set_search,
)
from turnout.routers.sw_ranking.card import SEARCH, refresh, search_section
from turnout.routers.sw_ranking.compaction import commit, own_name, read_manifest
from turnout.routers.sw_ranking.export import CELLS, INDEX, cells_content
from turnout.routers.sw_ranking.vectors import restored

#: Numbers of exactly weighted prompts to try.
NEIGHBORS = (16, 64, 256)
#: Decisions that are timed for one setting.
TIMED = 200
_NO_ERROR = ErrorDistribution(0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Setting:
    """One setting, measured.

    Attributes:
        factory: FAISS factory string; empty for exact decisions.
        search: Search parameters.
        neighbors: Number of similar prompts that are weighted exactly.
        median_us: Time of a decision from its embedding, microseconds.
        error: Against exact win rates.
    """

    factory: str
    search: str
    neighbors: int
    median_us: float
    error: ErrorDistribution

    def __str__(self) -> str:
        if not self.factory:
            return f"exact: {self.median_us:.0f} us"
        search = f" {self.search}" if self.search else ""
        return f"{self.factory}{search}, {self.neighbors} neighbors: {self.median_us:.0f} us, difference {self.error}"


def default_factories(prompts: int) -> list[str]:
    """Factory strings worth trying for this many distinct prompts.

    Example:
        >>> default_factories(55_000)
        ['Flat', 'HNSW32', 'IVF512,Flat', 'IVF512,SQ8']
    """
    # Some four times the square root, a power of two, and enough prompts for each list to be trained on.
    lists = 1 << int(np.log2(max(4 * prompts**0.5, 1)))
    while lists > 1 and lists * 39 > prompts:
        lists //= 2
    inverted = [f"IVF{lists},Flat", f"IVF{lists},SQ8"] if lists > 1 else []
    return ["Flat", "HNSW32", *inverted]


def default_searches(factory: str) -> list[str]:
    """Search parameters worth trying for a kind of index.

    Example:
        >>> default_searches("IVF8,Flat"), default_searches("Flat")
        (['nprobe=1', 'nprobe=4'], [''])
    """
    if factory.startswith("HNSW"):
        return ["efSearch=16", "efSearch=64", "efSearch=256"]
    if "IVF" in factory:
        digits = factory.split("IVF", 1)[1].split(",")[0].split("_")[0]
        lists = int(digits) if digits.isdigit() else 256
        return [f"nprobe={probes}" for probes in (1, 4, 16, 64) if probes < lists] or ["nprobe=1"]
    return [default_search(factory)]


class Tuner:
    """Tries indexes in copies of an artifact; the artifact itself changes only in :meth:`write`.

    Args:
        folder: An artifact of kind ``sw_ranking``, with or without an index.
        embeddings: Embeddings of prompts like those to come, float32 ``[prompts, dim]``; by default those of ``prompts``.
        prompts: Prompts, where the artifact has an encoder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        prompts: Sequence[str] = (),
        embeddings: NDArray[np.float32] | None = None,
    ) -> None:
        from safetensors.numpy import load_file

        self.folder, self.manifest = folder, read_manifest(folder)
        self.vectors = restored(load_file(folder / self.manifest["ranking"]["battles"]))
        self.cells = make_cells(self.vectors)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            exact = load(self._copy(Path(scratch), None))
            if embeddings is None:
                if self.manifest["encoder"]["kind"] == "external":
                    raise ConfigError(f"{folder} takes embeddings from the caller: give a .npy file of embeddings")
                embeddings = np.array([exact.embed(prompt) for prompt in prompts], dtype=np.float32)
            if not embeddings.size:
                raise InvalidInputError("no prompts to measure with")
            self.embeddings = np.ascontiguousarray(embeddings, dtype=np.float32)
            self.exact_win_rates = exact.win_rates(embeddings=self.embeddings).astype(np.float64)
            self.exact = Setting("", "", 0, self._time(exact), _NO_ERROR)
        self._indexes: dict[str, Any] = {}

    def measure(self, factory: str, search: str, neighbors: int) -> Setting:
        """Measures one setting through the router that would run it.

        Raises:
            ConfigError: FAISS refuses the factory string or the search parameters.
        """
        ann_index = self._ann_index(factory, search, neighbors, _NO_ERROR)
        with tempfile.TemporaryDirectory(dir=self.folder.parent) as scratch:
            router = load(self._copy(Path(scratch), ann_index))
            rates = router.win_rates(embeddings=self.embeddings).astype(np.float64)
            error = ErrorDistribution.of(np.abs(rates - self.exact_win_rates))
            return Setting(factory, search, neighbors, self._time(router), error)

    def write(self, setting: Setting) -> None:
        """Makes a setting the artifact's own; an exact one takes the index away."""
        ann_index = None
        if setting.factory:
            ann_index = self._ann_index(setting.factory, setting.search, setting.neighbors, setting.error)
        manifest, files = self._with(ann_index)
        section = self.manifest["ranking"]
        old = [part["file"] for part in (section["index"], section["cells"]) if part is not None]
        commit(self.folder, manifest, files, replaced=[name for name in old if name not in files])
        refresh(self.folder, {SEARCH: search_section(ann_index)})
        self.manifest = read_manifest(self.folder)

    def _ann_index(self, factory: str, search: str, neighbors: int, error: ErrorDistribution) -> AnnIndex:
        if factory not in self._indexes:
            self._indexes[factory] = make_index(self.vectors, factory)
        index = self._indexes[factory]
        set_search(index, search)
        return AnnIndex(index, factory, search, neighbors, self.cells, error)

    def _with(self, ann_index: AnnIndex | None) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The manifest and the files of the artifact with another index, or with none."""
        if ann_index is None:
            return {**self.manifest, "ranking": {**self.manifest["ranking"], "index": None, "cells": None}}, {}
        contents = {INDEX: ann_index.serialized(), CELLS: cells_content(ann_index.cells)}
        names = {plain: own_name(plain, content) for plain, content in contents.items()}
        section = {
            **self.manifest["ranking"],
            "index": ann_index.section(names[INDEX]),
            "cells": {"file": names[CELLS]},
        }
        return {**self.manifest, "ranking": section}, {names[plain]: content for plain, content in contents.items()}

    def _copy(self, folder: Path, ann_index: AnnIndex | None) -> Path:
        """A copy of the artifact with another index; large files are linked if possible."""
        manifest, files = self._with(ann_index)
        section = self.manifest["ranking"]
        old = {part["file"] for part in (section["index"], section["cells"]) if part is not None}
        for name in manifest["files"]:
            if name not in old:
                _link(self.folder / name, folder / name)
        rewrite_manifest(folder, {**manifest, "files": {n: e for n, e in manifest["files"].items() if n not in old}})
        commit(folder, read_manifest(folder), files, replaced=())
        return folder

    def _time(self, router: Router) -> float:
        """Median time of a decision, microseconds."""
        rows = self.embeddings[:TIMED]
        for row in rows[:20]:
            router.win_rate(embedding=row)
        times = []
        for row in rows:
            start = time.perf_counter_ns()
            router.win_rate(embedding=row)
            times.append(time.perf_counter_ns() - start)
        return float(np.median(times)) / 1000


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def tune(
    tuner: Tuner,
    factories: Sequence[str] = (),
    searches: Sequence[str] = (),
    neighbors: Sequence[int] = NEIGHBORS,
    report: ProgressCallback = silent,
) -> list[Setting]:
    """Measures settings, the exact one first.

    Args:
        tuner: Of the artifact.
        factories: FAISS factory strings; by default :func:`default_factories`.
        searches: Search parameters for every factory; by default :func:`default_searches`.
        neighbors: Numbers of exactly weighted prompts.
        report: Called with the progress.
    """
    plan = [
        (factory, search, number)
        for factory in factories or default_factories(len(tuner.vectors))
        for search in searches or default_searches(factory)
        for number in neighbors
        if number <= len(tuner.vectors)
    ]
    found = [tuner.exact]
    for done, (factory, search, number) in enumerate(plan, start=1):
        found.append(tuner.measure(factory, search, number))
        report("settings", done, len(plan))
    return found


def frontier(settings: Sequence[Setting]) -> list[Setting]:
    """Settings that no other beats in both time and error (99th percentile), fastest first."""
    best: list[Setting] = []
    for setting in sorted(settings, key=lambda one: (one.median_us, one.error.p99)):
        if not best or setting.error.p99 < best[-1].error.p99:
            best.append(setting)
    return best


def choose(settings: Sequence[Setting], error: float) -> Setting:
    """The fastest setting whose error (99th percentile) is at most ``error``; exact decisions always are."""
    return min((one for one in settings if one.error.p99 <= error), key=lambda one: one.median_us)


def draw(settings: Sequence[Setting], chosen: Setting, path: Path) -> None:
    """Draws time against error, one color a kind of index, the frontier and the choice.

    Args:
        settings: All that were measured.
        chosen: The choice.
        path: Picture to write.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.add_subplot()
    exact = [one for one in settings if not one.factory]
    for factory in dict.fromkeys(one.factory for one in settings if one.factory):
        own = [one for one in settings if one.factory == factory]
        axes.scatter([one.median_us for one in own], [one.error.p99 for one in own], label=factory, s=22)
    line = [one for one in frontier(settings) if one.factory]
    axes.plot([one.median_us for one in line], [one.error.p99 for one in line], color="0.6", lw=1, zorder=0)
    for one in exact:
        axes.axvline(one.median_us, color="black", ls="--", lw=1, label="exact")
    if chosen.factory:
        axes.scatter(
            [chosen.median_us], [chosen.error.p99], s=120, facecolors="none", edgecolors="black", label="chosen"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(LogFormatter())
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.8)))
    axes.set_xlabel("median time of a decision (us)")
    axes.set_ylabel("|win rate - exact|, 99th percentile")
    axes.grid(alpha=0.3, which="both", lw=0.5)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)
