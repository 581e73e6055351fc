"""``turnout tune-index``: time against error for indexes over a router's own battles, and the best of them written."""

from __future__ import annotations

import argparse
from pathlib import Path

from turnout.commands._options import number
from turnout.commands._tables import add_table_options, bad_rows, show_bad
from turnout.extras import require
from turnout.terminal import echo, printable_console


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "tune-index",
        help="measure FAISS indexes over a router's battles, plot time and error, write the fastest within the error",
        description="Needs `pip install 'turnout[eval,faiss]'`.",
    )
    parser.add_argument(
        "artifact", type=Path, metavar="DIR", help="artifact folder of kind sw_ranking, or the name of a shipped one"
    )
    parser.add_argument(
        "--prompts", type=Path, required=True, metavar="FILE", help="prompts like yours, or .npy embeddings of them"
    )
    parser.add_argument("--index", nargs="+", default=[], metavar="FACTORY", help="FAISS factory strings to try")
    parser.add_argument(
        "--search", nargs="+", default=[], metavar="P", help="search parameters to try, such as nprobe=8"
    )
    parser.add_argument(
        "--neighbors", nargs="+", type=int, default=[], metavar="N", help="numbers of exactly weighted prompts to try"
    )
    parser.add_argument(
        "--error",
        type=number,
        default=0.01,
        metavar="E",
        help="largest 99th percentile of the win-rate difference (default: 0.01)",
    )
    parser.add_argument(
        "--plot", type=Path, default=Path("tune-index.png"), metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("--limit", type=int, default=1000, metavar="N", help="prompts to read (default: %(default)s)")
    add_table_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    require("eval,faiss", "safetensors", "rich", "faiss", "matplotlib", purpose="tune-index")
    from itertools import islice

    import numpy as np

    import turnout
    from turnout.data import iter_prompts
    from turnout.data.writer import check_folder
    from turnout.progress import progress_bars
    from turnout.routers.sw_ranking.import_ import read_embeddings
    from turnout.routers.sw_ranking.tune import NEIGHBORS, Tuner, choose, draw, frontier, tune
    from turnout.shipped import artifact_folder

    if not args.error >= 0 or args.limit < 1 or any(number < 1 for number in args.neighbors):
        raise turnout.ConfigError("--error must be 0 or more, --limit and --neighbors 1 or more")
    check_folder(args.plot, "--plot")
    bad = bad_rows(args)
    folder = artifact_folder(args.artifact)
    if args.prompts.suffix.lower() == ".npy":
        tuner = Tuner(folder, embeddings=np.ascontiguousarray(read_embeddings(args.prompts)[: args.limit]))
    else:
        prompts = (prompt for chunk in iter_prompts(args.prompts, bad=bad, column=args.column) for prompt in chunk)
        tuner = Tuner(folder, prompts=list(islice(prompts, args.limit)))
    with progress_bars(printable_console(stderr=True)) as report:
        settings = tune(tuner, args.index, args.search, args.neighbors or NEIGHBORS, report)
    show_bad(bad)
    chosen = choose(settings, args.error)
    draw(settings, chosen, args.plot)
    for setting in frontier(settings):
        echo(str(setting))
    tuner.write(chosen)
    echo(f"{args.artifact}: {chosen}\nall settings are drawn in {args.plot}")
    return 0
