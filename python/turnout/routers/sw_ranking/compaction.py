"""Folds battles that were added since into an artifact: new ratings, new tiers, new files, one atomic change."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import ArtifactError, ConfigError
from turnout.artifact.manifest import rewrite_manifest
from turnout.battle_store import NAME, BattleStore
from turnout.durable_files import replace_file, sync_folder
from turnout.progress import ProgressCallback, silent
from turnout.routers.sw_ranking.ann_index import JUDGED, AnnIndex, Judge, make_ann_index, make_cells
from turnout.routers.sw_ranking.card import BATTLES, SEARCH, battles_section, refresh, search_section
from turnout.routers.sw_ranking.export import ranking_files, ranking_section
from turnout.routers.sw_ranking.rating import rate
from turnout.routers.sw_ranking.table import BattleTable
from turnout.routers.sw_ranking.vectors import restored, storage_of, stored


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Attributes:
        battles: Battles now in the artifact.
        folded: Those of them that were added since.
        moved: Models whose tier changed, with the tier before and after.
    """

    battles: int
    folded: int
    moved: dict[str, tuple[int, int]]


@contextlib.contextmanager
def held_battles(folder: Path) -> Iterator[Callable[[], None]]:
    """Keeps everybody from adding battles to an artifact until those that were added are folded in.

    Yields:
        What removes them from the database, at the end of the block and not before.

    Raises:
        OverloadedError: Another process is adding battles or compacting.
    """
    if not (folder / NAME).exists():
        yield lambda: None
        return
    with BattleStore(folder, 0).writing() as writer:
        yield writer.clear


def compact(
    folder: Path, snapshot: dict[str, Any], clear: Callable[[], None], report: ProgressCallback = silent
) -> Compacted:
    """Writes the battles of a snapshot as the artifact's own.

    New files get new names, the manifest is replaced last and in one step, and only then do the old files and the added battles
    go: a crash at any moment leaves an artifact that is whole, with the battles in the database or in the files. Where it leaves
    both, the ids tell. The caller holds the database (:func:`held_battles`) from before the snapshot on.

    Args:
        folder: The artifact.
        snapshot: What ``Router.battles`` gives, the added ones included.
        clear: Removes the added ones from the database, from :func:`held_battles`.
        report: Called with the progress.

    Returns:
        What changed.

    Raises:
        ArtifactError: The folder is not an artifact of this kind.
    """
    from safetensors.numpy import load_file

    manifest = read_manifest(folder)
    section = manifest["ranking"]
    old = load_file(folder / section["battles"])
    table = table_of(snapshot, manifest["models"])
    rating = rate(table, int(section["tier_count"]))
    tensors = stored(snapshot["vectors"], storage_of(old))
    ann_index = None
    if section["index"] is not None:
        ann_index = _ann_index(rating, restored(tensors), manifest, report)
    contents = ranking_files(rating.table, tensors, ann_index, keep_prompts=section["prompts"] is not None)
    files = {own_name(name, content): content for name, content in contents.items()}
    names = dict(zip(contents, files, strict=True))
    before = dict(zip(manifest["models"], section["tiers"], strict=True))
    manifest = {
        **manifest,
        "models": rating.table.models,
        "ranking": ranking_section(rating, ann_index, names, section.get("unknown_tiers", {})),
    }
    commit(folder, manifest, files, replaced=[name for name in ranking_file_names(section) if name not in files])
    clear()
    pair, unknown = manifest["pair"], section.get("unknown_tiers", {})
    refresh(
        folder,
        {BATTLES: battles_section(rating, pair["strong"], pair["weak"], unknown), SEARCH: search_section(ann_index)},
    )
    after = dict(zip(rating.table.models, (int(tier) for tier in rating.tiers), strict=True))
    moved = {name: (before[name], tier) for name, tier in after.items() if before[name] != tier}
    return Compacted(len(table), len(table) - len(old["battle_prompt"]), moved)


def commit(folder: Path, manifest: dict[str, Any], files: dict[str, bytes], replaced: Sequence[str]) -> None:
    """Gives an artifact new files in place of old ones: new names first, then the manifest in one step, then the old ones go.

    Args:
        folder: The artifact.
        manifest: The new manifest; its ``files`` are those of the old one.
        files: New files by names that no other content has; see :func:`own_name`.
        replaced: Files that the new manifest does without.
    """
    for name, content in files.items():
        replace_file(folder / name, content)
    sync_folder(folder)
    entries = {name: entry for name, entry in manifest["files"].items() if name not in replaced}
    entries |= {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }
    rewrite_manifest(folder, {**manifest, "files": entries})
    sync_folder(folder)
    for name in replaced:
        (folder / name).unlink(missing_ok=True)


def ranking_file_names(section: dict[str, Any]) -> list[str]:
    """Files that a manifest's ``ranking`` names."""
    parts = [
        section["battles"],
        section["prompts"],
        *((section[name] or {}).get("file") for name in ("index", "cells")),
    ]
    return [name for name in parts if name]


def table_of(snapshot: dict[str, Any], models: list[str]) -> BattleTable:
    """The battles of a snapshot as a table, sorted by prompt. Prompts whose texts were not kept are empty."""
    count = len(snapshot["vectors"])
    prompt = np.asarray(snapshot["battle_prompt"], dtype=np.int64)
    order: NDArray[np.int64] = np.argsort(prompt, kind="stable")
    prompts = snapshot.get("prompts")
    return BattleTable(
        [""] * count if prompts is None else list(prompts),
        list(models),
        prompt[order],
        np.asarray(snapshot["battle_model_a"], dtype=np.int64)[order],
        np.asarray(snapshot["battle_model_b"], dtype=np.int64)[order],
        np.asarray(snapshot["battle_outcome"], dtype=np.uint8)[order],
        np.asarray(snapshot["battle_id"], dtype=np.uint64)[order],
    )


def own_name(name: str, content: bytes) -> str:
    """A file name that belongs to this content alone.

    Example:
        >>> own_name("cells.safetensors", b"")
        'cells-e3b0c44298fc.safetensors'
    """
    stem, _, suffix = name.partition(".")
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact of this kind."""
    try:
        manifest: dict[str, Any] = json.loads((folder / "router.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError.at(folder / "router.json", f"{error}") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != "sw_ranking":
        raise ConfigError(f"{folder}: battles belong to routers of kind sw_ranking")
    return manifest


def _ann_index(
    rating: Any, vectors: NDArray[np.float32], manifest: dict[str, Any], report: ProgressCallback
) -> AnnIndex:
    models, pair, index = rating.table.models, manifest["pair"], manifest["ranking"]["index"]
    strong, weak = (int(rating.tiers[models.index(pair[side])]) for side in ("strong", "weak"))
    cells = make_cells(vectors)
    judged = min(JUDGED, len(vectors))
    judge = Judge(rating, vectors, cells, (strong, weak), lambda done: report("exact win rates", done, judged))
    return make_ann_index(vectors, judge, index["factory"], index["search"], (index["neighbors"],))
