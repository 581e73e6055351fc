"""``turnout eval --pool``: a pool measured on tables of outcomes and files of benchmarks."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.commands._tables import bad_rows
from turnout.terminal import echo, printable_console, printable_json

if TYPE_CHECKING:
    import argparse

    from turnout.evaluate.perturb import Change


def run_pool(args: argparse.Namespace) -> int:
    """Runs ``turnout eval`` for a pool."""
    import turnout
    from turnout.data.writer import check_folder
    from turnout.evaluate.pools.evaluation import evaluate_pool
    from turnout.evaluate.pools.readers import read_costed
    from turnout.evaluate.pools.report import show_pool, to_json, write_pool_report

    _check(args)
    if args.json and args.json != "-":
        check_folder(Path(args.json), "--json")
    pool = turnout.load(args.router[0], pool=turnout.Pool.load(args.pool))
    changes = _changes(args)
    bad = bad_rows(args)
    stream = sys.stderr if args.json == "-" else sys.stdout
    console = printable_console(file=stream, soft_wrap=True, width=None if stream.isatty() else 240)
    evaluations = []
    # Files of one benchmark belong together, other tables are tables of their own.
    groups = [args.data] if all(path.endswith(".jsonl") for path in args.data) else [[path] for path in args.data]
    for paths in groups:
        outcomes = read_costed(paths, bad=bad, column=args.column)
        evaluations.append(evaluate_pool(pool, outcomes, changes=changes, resamples=args.resamples, seed=args.seed))
        show_pool(evaluations[-1], console)
    if bad:
        console.print(str(bad), highlight=False, markup=False)
    facts = {
        "command": shlex.join(["turnout", *sys.argv[1:]]),
        "artifact": pool.artifact_hash,
        "bootstrap": f"{args.resamples} resamples of prompts, seed {args.seed}",
    }
    if args.json:
        text = to_json(evaluations, facts)
        if args.json == "-":
            echo(printable_json(text.rstrip()))
        else:
            Path(args.json).write_text(text, encoding="utf-8")
    if args.out:
        console.print(f"\nreport: {write_pool_report(evaluations, args.out, facts)}", highlight=False)
    return 0


def _changes(args: argparse.Namespace) -> dict[str, Change]:
    """What `--perturb` and `--paraphrases` ask for."""
    from turnout.evaluate.perturb import CHANGES, paraphrase
    from turnout.evaluate.robustness import read_paraphrases

    changes = dict(CHANGES) if args.perturb else {}
    if args.paraphrases:
        changes["your paraphrases"] = paraphrase(read_paraphrases(args.paraphrases))
    return changes


def _check(args: argparse.Namespace) -> None:
    """Options of pairs mean nothing here.

    Raises:
        ConfigError: One is given.
    """
    import turnout

    pair = (
        "benchmark",
        "strong",
        "weak",
        "threshold",
        "prices",
        "contaminated",
        "seen",
        "aliases",
    )
    given = [f"--{name}" for name in pair if getattr(args, name)]
    if given:
        raise turnout.ConfigError(f"{', '.join(given)} cannot be used with --pool")
    if len(args.router) > 1:
        raise turnout.ConfigError(f"--pool takes one --router, found {len(args.router)}")
    if args.resamples < 0:
        raise turnout.ConfigError(f"--resamples is {args.resamples}, expected 0 or more")
