"""``turnout eval``: routers measured on tables of outcomes."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.commands._cascade import add_cascade_options
from turnout.commands._measure import add_embedding_options, load_routers
from turnout.commands._options import number
from turnout.commands._tables import add_table_options, bad_rows, check_files
from turnout.extras import require
from turnout.terminal import echo, printable_console, printable_json

if TYPE_CHECKING:
    from turnout.data import BadRows, ModelAliases, Outcomes
    from turnout.evaluate import Evaluation, Options

EPILOG = """\
examples:
  turnout eval --data outcomes.parquet --out report
  turnout eval --router my-router other-router --data a.csv b.jsonl --strong gpt-4-1106-preview --weak mixtral-8x7b-instruct-v0.1
  turnout eval --benchmark mmlu gsm8k mt-bench --data RouteLLM/routellm/evals --json results.json
  turnout eval --data outcomes.parquet --prices 0.0247 0.00024 --perturb
  turnout eval --pool pool.toml --data outcomes.parquet --out report
  turnout eval --pool pool.toml --data RouterArena/cached_results
  turnout eval --cascade --data log.jsonl --strong-score large --call-costs 0.0001 0.01

A table (csv, tsv, jsonl, json or parquet) has a column `prompt` and a column of scores per model; other columns are left alone, `category` groups. --strong and
--weak take one name for all tables or one a table. Names are matched through aliases: mistralai/Mixtral-8x7B-Instruct-v0.1 is
mixtral-8x7b-instruct-v0.1; --aliases adds yours.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "eval",
        help="measure routers on tables of outcomes",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--router",
        nargs="+",
        default=[None],
        metavar="ROUTER",
        help="artifact folders, names of routers, or module:Class; default: mf",
    )
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="TABLE", help="tables of outcomes; or RouteLLM's evals folder"
    )
    parser.add_argument(
        "--pool",
        metavar="POOL_TOML",
        help="measure this pool; --data may then be files of RouterBench, RouterArena, LLMRouterBench and LLMRouter too",
    )
    parser.add_argument(
        "--benchmark", nargs="+", choices=["mmlu", "gsm8k", "mt-bench"], help="benchmarks in RouteLLM's evals folder"
    )
    parser.add_argument("--strong", nargs="+", metavar="NAME", help="column of the strong model; default: the router's")
    parser.add_argument("--weak", nargs="+", metavar="NAME", help="column of the weak model; default: the router's")
    parser.add_argument("--threshold", type=number, metavar="T", help="threshold of the figures; default: the router's")
    parser.add_argument("--aliases", type=Path, metavar="FILE", help="JSON object that maps further names to names")
    parser.add_argument(
        "--prices",
        type=number,
        nargs=2,
        metavar=("STRONG", "WEAK"),
        help="mean cost of a request with each model, for savings",
    )
    parser.add_argument(
        "--contaminated", type=Path, metavar="FILE", help="contaminated_prompts.jsonl: leave these prompts out"
    )
    parser.add_argument(
        "--seen",
        nargs="+",
        default=[],
        metavar="TABLE",
        help="tables of --data, by file or name, to mark as seen in training",
    )
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="bootstrap resamples; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write report.html, PNG and SVG pictures, results.json")
    parser.add_argument("--json", metavar="FILE", help="write the numbers as JSON; - for standard output")
    parser.add_argument("--no-cache", action="store_true", help="do not use cached win rates")
    parser.add_argument(
        "--perturb", action="store_true", help="also measure robustness to rewritten prompts, and of pairs to attacks"
    )
    parser.add_argument(
        "--paraphrases",
        type=Path,
        metavar="FILE",
        help="for --perturb: a table with `prompt` and `paraphrase`; with --pool it may stand alone",
    )
    add_cascade_options(parser)
    add_table_options(parser)
    add_embedding_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    require("eval", "matplotlib", "rich", purpose="eval")
    check_files([*args.data, args.pool, args.paraphrases])
    if args.cascade:
        from turnout.commands._cascade import run_eval

        return run_eval(args)
    if args.pool:
        from turnout.commands._eval_pool import run_pool

        require("eval", "scipy", "sklearn", purpose="eval --pool")
        return run_pool(args)
    from rich.markup import escape

    from turnout import ConfigError
    from turnout.data import ModelAliases
    from turnout.data.record import content_hash
    from turnout.data.writer import check_folder
    from turnout.evaluate.report import to_json, write_report
    from turnout.evaluate.terminal import show

    if args.threshold is not None and not 0 <= args.threshold <= 1:
        raise ConfigError(f"--threshold is {args.threshold:g}, expected a number in 0..1")
    if args.resamples < 0:
        raise ConfigError(f"--resamples is {args.resamples}, expected 0 or more")
    if args.json and args.json != "-":
        check_folder(Path(args.json), "--json")
    bad = bad_rows(args)
    aliases = ModelAliases.from_file(args.aliases) if args.aliases else ModelAliases()
    console = _console(args)
    tables = _tables(args, bad)
    hashes = [None if args.benchmark else content_hash(path) for path in args.data]
    seen = _seen(args, tables)
    routers = load_routers(args)
    evaluations = []
    robustness: dict[str, Any] = {}
    for index, table in enumerate(tables):
        options = _options(args, index, len(tables), aliases)
        evaluation = _evaluated(table, routers, options, seen, hashes[0 if args.benchmark else index])
        evaluations.append(evaluation)
        show(evaluation, console)
        if args.perturb:
            robustness[table.name] = _robustness(table, routers, evaluation, args, console)
    if bad:
        console.print(f"[yellow]{escape(str(bad))}[/yellow]", highlight=False)
    facts = {
        "command": shlex.join(["turnout", *sys.argv[1:]]),
        **{f"artifact {name}": str(getattr(router, "artifact_hash", "")) for name, router in routers.items()},
        "bootstrap": f"{args.resamples} resamples of prompts, seed {args.seed}",
        "bad rows": str(bad),
    }
    if args.json:
        text = to_json(evaluations, facts, robustness)
        if args.json == "-":
            echo(printable_json(text.rstrip()))
        else:
            Path(args.json).write_text(text, encoding="utf-8")
    if args.out:
        path = write_report(evaluations, args.out, title="Evaluation of routers", facts=facts, robustness=robustness)
        console.print(f"\nreport: {path}", highlight=False)
    return 0


def _console(args: argparse.Namespace) -> Any:
    """Tables go to a terminal as wide as it is, and elsewhere as wide as they need."""
    stream = sys.stderr if args.json == "-" else sys.stdout
    return printable_console(file=stream, soft_wrap=True, width=None if stream.isatty() else 240)


def _tables(args: argparse.Namespace, bad: BadRows) -> list[Outcomes]:
    from turnout import ConfigError
    from turnout.data import read_outcomes, read_routellm_benchmark
    from turnout.data.routellm import contaminated, without

    if args.benchmark:
        if len(args.data) != 1:
            raise ConfigError(f"--benchmark takes one --data, RouteLLM's evals folder; found {len(args.data)}")
        tables = [read_routellm_benchmark(args.data[0], benchmark, bad=bad) for benchmark in args.benchmark]
    else:
        tables = [read_outcomes(path, bad=bad, column=args.column) for path in args.data]
    if args.contaminated:
        listed = contaminated(args.contaminated)
        tables = [without(table, listed) for table in tables]
        for table in tables:
            if not len(table):
                raise ConfigError(f"table {table.name!r} has no rows left: --contaminated lists all of its prompts")
    return tables


def _options(args: argparse.Namespace, index: int, tables: int, aliases: ModelAliases) -> Options:
    from turnout import ConfigError
    from turnout.evaluate import Options, Prices
    from turnout.evaluate.win_rates import default_cache

    pair = {}
    for side in ("strong", "weak"):
        names = getattr(args, side)
        if names and len(names) not in (1, tables):
            raise ConfigError(f"--{side} has {len(names)} names, expected 1 or one for each of {tables} tables")
        pair[side] = names[index if len(names) > 1 else 0] if names else None
    if pair["strong"] is not None and pair["strong"] == pair["weak"]:
        raise ConfigError(f"--strong and --weak are both {pair['strong']!r}, expected two models")
    return Options(
        **pair,
        threshold=args.threshold,
        prices=Prices(*args.prices) if args.prices else None,
        resamples=args.resamples,
        seed=args.seed,
        aliases=aliases,
        cache=None if args.no_cache else default_cache(),
    )


def _seen(args: argparse.Namespace, tables: list[Outcomes]) -> set[str]:
    """Names of the tables that ``--seen`` marks, each given as the file or by its name."""
    from turnout import ConfigError

    files = [] if args.benchmark else [Path(path).resolve() for path in args.data]
    seen = set()
    for name in args.seen:
        path = Path(name).resolve()
        found = {table.name for table in tables if table.name == name}
        found |= {table.name for file, table in zip(files, tables, strict=False) if file == path}
        if not found:
            raise ConfigError(f"--seen {name} is not one of the tables: {', '.join(table.name for table in tables)}")
        seen |= found
    return seen


def _evaluated(
    table: Outcomes, routers: dict[str, Any], options: Options, seen: set[str], content: str | None
) -> Evaluation:
    from turnout.evaluate import evaluate
    from turnout.evaluate.provenance import seen_in_training, similar_names

    evaluation = evaluate(table, routers, options)
    for name, router in routers.items():
        if table.name in seen or (content is not None and seen_in_training(router, content)):
            evaluation.notes.insert(
                0, f"{name} was trained on {table.name} (seen in training): its figures do not hold for new prompts"
            )
        elif content is None and (files := similar_names(router, table.name)):
            evaluation.notes.insert(
                0,
                f"{name} was trained on {', '.join(files)}: check for prompts of {table.name} with turnout contamination",
            )
    return evaluation


def _robustness(
    table: Outcomes, routers: dict[str, Any], evaluation: Evaluation, args: argparse.Namespace, console: Any
) -> Any:
    from turnout.evaluate.robustness import measure, read_paraphrases, show
    from turnout.evaluate.routellm import calibrated_threshold

    paraphrases = read_paraphrases(args.paraphrases) if args.paraphrases else None
    scored = table.with_scores_of([evaluation.strong, evaluation.weak])
    outcomes = (scored.scores[evaluation.strong], scored.scores[evaluation.weak])
    found = {}
    for name, router in routers.items():
        threshold = router.threshold if args.threshold is None else args.threshold
        share = evaluation.routers[name].figures["share_at_threshold"].value
        if not 0.05 <= share <= 0.95:
            # Where every prompt goes to one model there is nothing to flip.
            win_rates = evaluation.routers[name].win_rates
            half = calibrated_threshold(win_rates, 0.5)
            console.print(
                f"[yellow]note:[/yellow] threshold {threshold:.4g} sends {share:.1%} of these prompts to the strong model: "
                f"robustness of {name} is measured at {half:.4g}, half of them",
                highlight=False,
            )
            threshold = half
        found[name] = measure(
            router, scored.prompts, threshold, outcomes=outcomes, paraphrases=paraphrases, seed=args.seed
        )
        show(name, found[name], console)
    return {name: one.to_json() for name, one in found.items()}
