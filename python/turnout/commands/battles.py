"""``turnout battles add | compact``: feedback for a router of kind ``sw_ranking``."""

from __future__ import annotations

import argparse
from pathlib import Path

from turnout.extras import require
from turnout.terminal import echo, printable_console


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser("battles", help="add battles to a router of kind sw_ranking, or compact them")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add the battles of a file; they are used from the next decision on")
    add.add_argument("artifact", type=Path, metavar="DIR", help="artifact folder, or the name of a shipped router")
    add.add_argument(
        "file", type=Path, metavar="FILE", help="table of prompt, model_a, model_b, winner, or of arena-55k"
    )
    add.set_defaults(run=run_add)
    fold = actions.add_parser("compact", help="recompute ratings and tiers, and merge added battles into the artifact")
    fold.add_argument("artifact", type=Path, metavar="DIR", help="artifact folder, or the name of a shipped router")
    fold.set_defaults(run=run_compact)


def run_add(args: argparse.Namespace) -> int:
    """Adds the battles of a file."""
    import turnout

    added = turnout.load(args.artifact).add_battles(args.file)
    echo(
        f"{args.artifact}: {added.added:,} battles added, {added.duplicates:,} already known, {added.short:,} too short"
    )
    return 0


def run_compact(args: argparse.Namespace) -> int:
    """Folds added battles into the artifact."""
    require("eval", "safetensors", "rich", purpose="battles")

    import turnout
    from turnout.progress import progress_bars
    from turnout.routers.sw_ranking.compaction import compact, held_battles, read_manifest
    from turnout.shipped import artifact_folder

    folder = artifact_folder(args.artifact)
    read_manifest(folder)
    with held_battles(folder) as clear, progress_bars(printable_console(stderr=True)) as report:
        snapshot = turnout.load(folder, index="exact").battles()
        done = compact(folder, snapshot, clear, report)
    echo(f"{args.artifact}: {done.battles:,} battles, {done.folded:,} of them added since the last compaction")
    for model, (before, after) in done.moved.items():
        echo(f"{model}: tier {before} is now {after}")
    return 0
