"""``turnout train sw_ranking``: a router from battles, without any training of weights."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.extras import require

if TYPE_CHECKING:
    from turnout.data import BadRows, Outcomes


def add_parser(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = kinds.add_parser(
        "sw_ranking",
        help="Elo by similarity over battles",
        description="Needs `pip install 'turnout[eval]'`, and with --index `'turnout[eval,faiss]'`.",
    )
    parser.add_argument(
        "--battles",
        nargs="+",
        type=Path,
        required=True,
        metavar="TABLE",
        help="prompt, model_a, model_b, winner; or the columns of arena-55k",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="artifact folder")
    parser.add_argument("--strong", default="gpt-4-1106-preview", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--weak", default="mixtral-8x7b-instruct-v0.1", metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--unknown-tier",
        action="append",
        default=[],
        metavar="NAME=TIER",
        help="tier of a model that fought no battle; may be given again",
    )
    parser.add_argument("--aliases", type=Path, metavar="FILE", help="JSON object of names in the tables to names")
    parser.add_argument("--largest-group", action="store_true", help="leave out models that never met the others")
    parser.add_argument("--tiers", type=int, default=10, metavar="N", help="number of tiers (default: %(default)s)")
    encoder = parser.add_argument_group("encoder")
    encoder.add_argument(
        "--encoder",
        type=Path,
        metavar="ARTIFACT",
        help="router whose encoder is taken; default: the one of turnout's mf",
    )
    encoder.add_argument("--dim", type=int, metavar="N", help="keep the N principal directions of a static encoder")
    encoder.add_argument("--counts", type=int, default=64, metavar="N", help="with --dim: counting features to keep")
    encoder.add_argument(
        "--storage", default="f16", choices=["f32", "f16", "int8"], help="of the vectors (default: %(default)s)"
    )
    encoder.add_argument("--keep-prompts", action="store_true", help="keep prompts' first 200 characters, to explain")
    index = parser.add_argument_group("index", "without one every decision is exact")
    index.add_argument("--index", metavar="FACTORY", help="FAISS factory string, such as IVF256,SQ8")
    index.add_argument("--search", metavar="P", help="search parameters, such as nprobe=8; default: by the index")
    index.add_argument("--neighbors", type=int, metavar="N", help="near prompts weighed exactly; default: by the error")
    card = parser.add_argument_group("card")
    card.add_argument(
        "--calibration", nargs="*", type=Path, default=[], metavar="FILE", help="prompts for the quantiles"
    )
    card.add_argument(
        "--dev", nargs="*", type=Path, default=[], metavar="TABLE", help="outcomes to judge the router on"
    )
    card.add_argument("--name", default="turnout-sw-ranking", help="name of the router (default: %(default)s)")
    card.add_argument("--licence", default="unstated", help="licence of the data, an SPDX expression")
    card.add_argument("--notes", type=Path, metavar="FILE", help="Markdown: origin and licences of the data")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    require("eval", "pyarrow", "safetensors", "onnx", "rich", purpose="train sw_ranking")
    from rich.console import Console

    import turnout
    from turnout.commands.train import recipe
    from turnout.data import BadRows
    from turnout.progress import progress_bars
    from turnout.router import DEFAULT_ARTIFACT
    from turnout.routers.sw_ranking.encoder import encoder_of, reduced
    from turnout.routers.sw_ranking.rating import largest_group
    from turnout.routers.sw_ranking.table import read_battle_table
    from turnout.routers.sw_ranking.train import Options, build

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    bad = BadRows()
    unknown = dict(_named_tier(text) for text in args.unknown_tier)
    encoder = encoder_of(args.encoder or DEFAULT_ARTIFACT)
    if encoder.graph is None:
        raise turnout.ConfigError(f"{args.encoder} takes embeddings from the caller: use `turnout import sw_ranking`")
    with progress_bars(console) as show:
        rows = sum(filter(None, (_rows(path) for path in args.battles)))
        table = read_battle_table(
            args.battles,
            bad=bad,
            aliases=None if args.aliases is None else read_names(args.aliases),
            progress=lambda done: show("battles", done, max(rows, done)),
        )
        if args.largest_group:
            table = largest_group(table)
        if args.dim is not None:
            encoder = reduced(encoder, table.prompts, args.dim, args.counts)
        options = Options(
            strong=args.strong,
            weak=args.weak,
            name=args.name,
            tiers=args.tiers,
            storage=args.storage,
            index=args.index,
            search=args.search,
            neighbors=args.neighbors,
            keep_prompts=args.keep_prompts,
            unknown_tiers=unknown,
            calibration=[_prompts(path, bad) for path in args.calibration],
            provenance={
                "licence": args.licence,
                "recipe": recipe(),
                "data": [_described(path) for path in args.battles],
                "notes": "" if args.notes is None else args.notes.read_text(encoding="utf-8"),
            },
        )
        dev = [_outcomes(path, bad) for path in args.dev]
        written, scores = build(table, encoder, options, args.out, dev=dev, show=show)
    rating = written.rating
    console.print(
        f"{args.out}: {len(rating.table):,} battles of {len(rating.table.models)} models on {len(table.prompts):,} prompts, "
        f"{int(rating.tiers.max()) + 1} tiers"
    )
    for reason, count in table.left_out.items():
        console.print(f"left out: {count:,}, {reason}")
    groups = int(rating.groups.max()) + 1
    if groups > 1:
        console.print(
            f"[yellow]warning:[/yellow] the models fall into {groups} groups that never met; their ratings do not compare: "
            "join names with --aliases, or give --largest-group"
        )
    if written.near is not None:
        console.print(
            f"approximate with {written.near.neighbors} near prompts, difference from exact: {written.near.error}"
        )
    for score in scores:
        console.print(f"{score.table}: APGR {score.router}, prompt length {score.length}, random 0.500")
    if bad:
        console.print(f"[yellow]{bad}[/yellow]")
    return 0


def read_names(path: Path) -> dict[str, str]:
    """A JSON object of names to names."""
    import turnout

    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise turnout.InvalidInputError(f"{path}: {error}") from error
    if not isinstance(names, dict) or not all(isinstance(value, str) for value in names.values()):
        raise turnout.InvalidInputError(f"{path}: expected one JSON object that maps names to names")
    return names


def _named_tier(text: str) -> tuple[str, int]:
    import turnout

    name, _, tier = text.rpartition("=")
    if not name or not tier.isdecimal():
        raise turnout.ConfigError(f"--unknown-tier is {text!r}, expected NAME=TIER")
    return name, int(tier)


def _rows(path: Path) -> int | None:
    """Rows of a Parquet file, which its footer tells."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return None
    import pyarrow
    import pyarrow.parquet

    import turnout

    try:
        return int(pyarrow.parquet.read_metadata(path).num_rows)
    except pyarrow.ArrowInvalid as error:
        raise turnout.InvalidInputError(f"{path}: {error}") from error


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())
    return {"file": path.name, "rows": _rows(path), "sha256": digest.hexdigest()}


def _prompts(path: Path, bad: BadRows) -> list[str]:
    from turnout.data import iter_prompts

    return list(dict.fromkeys(prompt for chunk in iter_prompts(path, bad=bad) for prompt in chunk))


def _outcomes(path: Path, bad: BadRows) -> Outcomes:
    from turnout.data import read_outcomes

    return read_outcomes(path, bad=bad)
