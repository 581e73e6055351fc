"""``turnout train sw_ranking``: a router from battles, without any training of weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.commands._tables import add_table_options, bad_rows, show_bad
from turnout.commands._train_checks import check_out
from turnout.extras import require
from turnout.terminal import printable_console

if TYPE_CHECKING:
    from turnout.data import BadRows


def add_parser(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = kinds.add_parser(
        "sw_ranking",
        help="build a router that ranks by Elo over similar battles",
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
        help="tier of a model without battles; can be repeated",
    )
    parser.add_argument(
        "--aliases", type=Path, metavar="FILE", help="JSON object that maps names in the tables to names"
    )
    parser.add_argument(
        "--largest-group", action="store_true", help="leave out models that have no battles with the others"
    )
    parser.add_argument("--tiers", type=int, default=10, metavar="N", help="number of tiers (default: %(default)s)")
    encoder = parser.add_argument_group("encoder")
    encoder.add_argument(
        "--encoder",
        type=Path,
        metavar="ARTIFACT",
        help="router whose encoder is used; default: turnout's mf",
    )
    encoder.add_argument(
        "--storage",
        default="f16",
        choices=["f32", "f16", "int8"],
        help="type of the stored vectors (default: %(default)s)",
    )
    encoder.add_argument(
        "--keep-prompts", action="store_true", help="store the first 200 characters of prompts, for explanations"
    )
    index = parser.add_argument_group("index", "without one, decisions are exact")
    index.add_argument("--index", metavar="FACTORY", help="FAISS factory string, such as IVF256,SQ8")
    index.add_argument("--search", metavar="P", help="search parameters, such as nprobe=8; default: by the index")
    index.add_argument(
        "--neighbors",
        type=int,
        metavar="N",
        help="number of similar prompts that are weighted exactly; default: by the error",
    )
    card = parser.add_argument_group("card")
    card.add_argument(
        "--calibration", nargs="*", type=Path, default=[], metavar="FILE", help="prompts for the quantiles"
    )
    card.add_argument(
        "--dev", nargs="*", type=Path, default=[], metavar="TABLE", help="outcomes to evaluate the router on"
    )
    card.add_argument("--name", default="turnout-sw-ranking", help="name of the router (default: %(default)s)")
    card.add_argument(
        "--license", "--licence", dest="licence", default="unstated", help="license of the data, an SPDX expression"
    )
    card.add_argument("--notes", type=Path, metavar="FILE", help="Markdown file with origin and licenses of the data")
    add_table_options(card)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    require("eval", "safetensors", "onnx", "rich", purpose="train sw_ranking")

    import turnout
    from turnout.commands.train import recipe
    from turnout.data import file_record, read_outcomes
    from turnout.data.aliases import read_aliases
    from turnout.progress import progress_bars
    from turnout.routers.sw_ranking.encoder import encoder_of
    from turnout.routers.sw_ranking.rating import largest_group
    from turnout.routers.sw_ranking.table import read_battle_table
    from turnout.routers.sw_ranking.train import Options, build
    from turnout.shipped import artifact_folder

    check_out(args.out)
    console = printable_console(stderr=True, soft_wrap=True, highlight=False)
    # Counted apart: a table of battles may be given for calibration too.
    bad, bad_prompts = bad_rows(args), bad_rows(args)
    unknown = dict(_named_tier(text) for text in args.unknown_tier)
    encoder = encoder_of(artifact_folder(args.encoder))
    if encoder.graph is None:
        raise turnout.ConfigError(f"{args.encoder} takes embeddings from the caller: use `turnout import sw_ranking`")
    with progress_bars(console) as report:
        data = [file_record(path) for path in args.battles]
        rows = sum(one["rows"] or 0 for one in data)
        table = read_battle_table(
            args.battles,
            bad=bad,
            aliases=None if args.aliases is None else read_aliases(args.aliases),
            progress=lambda done: report("battles", done, max(rows, done)),
        )
        if args.largest_group:
            table = largest_group(table)
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
            calibration=[_prompts(path, bad_prompts, args.column) for path in args.calibration],
            provenance={
                "licence": args.licence,
                "recipe": recipe(),
                "data": data,
                "notes": "" if args.notes is None else args.notes.read_text(encoding="utf-8"),
            },
        )
        dev = [read_outcomes(path, bad=bad, column=args.column) for path in args.dev]
        written, scores = build(table, encoder, options, args.out, dev=dev, report=report)
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
            f"[yellow]warning:[/yellow] the models form {groups} groups without battles between them; their ratings are not comparable: "
            "merge names with --aliases, or use --largest-group"
        )
    if written.ann_index is not None:
        console.print(
            f"approximate with {written.ann_index.neighbors} exactly weighted prompts, difference from exact: {written.ann_index.error}"
        )
    for score in scores:
        console.print(f"{score.table}: APGR {score.router}, prompt length {score.length}, random 0.500")
    show_bad(bad)
    show_bad(bad_prompts)
    return 0


def _named_tier(text: str) -> tuple[str, int]:
    import turnout

    name, _, tier = text.rpartition("=")
    if not name or not tier.isdecimal():
        raise turnout.ConfigError(f"--unknown-tier is {text!r}, expected NAME=TIER")
    return name, int(tier)


def _prompts(path: Path, bad: BadRows, column: str) -> list[str]:
    from turnout.data import iter_prompts

    chunks = iter_prompts(path, bad=bad, column=column)
    return list(dict.fromkeys(prompt for chunk in chunks for prompt in chunk))
