"""``turnout calibrate``: a threshold for a share, a cost or a quality; and win rates that are probabilities."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.commands._cascade import add_cascade_options
from turnout.commands._measure import add_embedding_options, load_one
from turnout.commands._options import number
from turnout.commands._tables import add_table_options, bad_rows, check_files, show_bad
from turnout.extras import require
from turnout.terminal import echo, printable_console, printable_json

if TYPE_CHECKING:
    from turnout.calibrate import Choice
    from turnout.data import BadRows, Outcomes

EPILOG = """\
examples:
  turnout calibrate --prompts prompts.txt --strong-share 0.3
  zcat log.gz | turnout calibrate --prompts - --strong-share 0.3 --save thresholds.json
  turnout calibrate --router my-router --prompts log.parquet --strong-share 0.5 --save
  turnout calibrate --prompts log.jsonl --cost-per-month 500 --requests-per-month 1000000 --prices-per-mtok 10 30 0.5 0.7
  turnout calibrate --data outcomes.parquet --quality 0.95
  turnout calibrate --router my-router --data outcomes.parquet --win-rate auto --save calibrated-router
  turnout calibrate --cascade --data log.jsonl --call-costs 0.0001 0.01 --error-cost 0.05 --save judge.json

--save alone stores into the artifact; with a .json file it adds to a thresholds file; with a folder it stores into a copy of
the artifact there. The intervals are 95 %, for further prompts like these.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "calibrate",
        help="choose a threshold on your own prompts, or fit win rates to outcomes",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--router", metavar="ARTIFACT", help="artifact folder, or the name of a shipped router; default: mf"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--prompts", metavar="FILE", help="a table, a text file with one prompt per line, or - for lines of stdin"
    )
    source.add_argument(
        "--data",
        "--outcomes",
        metavar="TABLE",
        help="a table of outcomes, for --quality, --win-rate and --pool; or a log for --cascade",
    )
    pool = parser.add_argument_group(
        "pools", "refit P(success) of every model on the outcomes; --save takes a .safetensors"
    )
    pool.add_argument("--pool", metavar="POOL_TOML", help="the pool")
    pool.add_argument("--target", type=number, metavar="P", help="P(success) to keep in the worst case of a shift")
    pool.add_argument(
        "--radius",
        type=number,
        metavar="NATS",
        help="KL divergence of that shift; default: that of these prompts from the fitted ones",
    )
    add_cascade_options(parser)
    target = parser.add_argument_group("what to choose")
    target.add_argument("--strong-share", type=number, metavar="S", help="target share of strong calls, in 0..1")
    target.add_argument("--cost-per-request", type=number, metavar="C", help="target mean cost of a request")
    target.add_argument(
        "--cost-per-month", type=number, metavar="C", help="target cost of a month; needs --requests-per-month"
    )
    target.add_argument("--quality", type=number, metavar="Q", help="part of the quality gap to recover, such as 0.95")
    target.add_argument(
        "--win-rate", choices=["auto", "platt", "isotonic"], help="fit a calibration; auto selects by log loss"
    )
    cost = parser.add_argument_group("costs")
    cost.add_argument("--requests-per-month", type=number, metavar="N")
    cost.add_argument(
        "--prices-per-mtok",
        type=number,
        nargs=4,
        metavar=("STRONG_IN", "STRONG_OUT", "WEAK_IN", "WEAK_OUT"),
        help="prices per million tokens",
    )
    cost.add_argument(
        "--answer-tokens",
        type=number,
        nargs=2,
        default=(300.0, 300.0),
        metavar=("STRONG", "WEAK"),
        help="mean length of answers in tokens (default: 300 300)",
    )
    cost.add_argument(
        "--characters-per-token",
        type=number,
        default=4.0,
        metavar="N",
        help="characters per token of prompts (default: %(default)s)",
    )
    add_table_options(parser)
    parser.add_argument("--strong", metavar="NAME", help="column of the strong model in --data; default: the router's")
    parser.add_argument("--weak", metavar="NAME", help="column of the weak model in --data; default: the router's")
    parser.add_argument("--aliases", type=Path, metavar="FILE", help="JSON object that maps further names to names")
    parser.add_argument(
        "--precision", type=number, metavar="P", help="largest half width of the interval that gives no warning"
    )
    parser.add_argument("--save", nargs="?", const="", metavar="WHERE", help="store the result")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_embedding_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from turnout import ConfigError

    if args.cascade:
        from turnout.commands._cascade import run_calibrate

        return run_calibrate(args)
    if args.pool:
        from turnout.commands._calibrate_pool import run_pool

        return run_pool(args)
    for option in ("target", "radius"):
        if getattr(args, option) is not None:
            raise ConfigError(f"--{option} is for a pool: give --pool")
    require("eval", "scipy", "sklearn", "rich", purpose="calibrate")
    targets = [args.strong_share, args.cost_per_request, args.cost_per_month, args.quality, args.win_rate]
    if sum(target is not None for target in targets) != 1:
        raise ConfigError(
            "choose one of --strong-share, --cost-per-request, --cost-per-month, --quality and --win-rate"
        )
    if (args.quality is not None or args.win_rate) and not args.data:
        raise ConfigError("--quality and --win-rate need outcomes: give --data")
    check_files([args.prompts, args.data])
    if args.save and args.save.endswith(".json"):
        from turnout.data.writer import check_folder

        check_folder(Path(args.save), "--save")
    router = load_one(args.router, args)
    bad = bad_rows(args)
    if args.win_rate:
        code = _fit(args, router, bad)
    else:
        choice, win_rates = _choice(args, router, bad)
        _print_choice(choice, args)
        if args.save is not None:
            _save_choice(args, router, choice, win_rates)
        code = 0
    show_bad(bad)
    return code


def _choice(args: argparse.Namespace, router: Any, bad: BadRows) -> tuple[Choice, Any]:
    from turnout import ConfigError
    from turnout.calibrate import CostModel, threshold_for_cost, threshold_for_quality, threshold_for_share

    precision = {} if args.precision is None else {"precision": args.precision}
    if args.quality is not None:
        table, strong, weak = _outcomes(args, router, bad)
        win_rates = router.win_rates(table.prompts)
        scores = (table.scores[strong], table.scores[weak])
        return threshold_for_quality(win_rates, *scores, recovered=args.quality, **precision), win_rates
    win_rates, lengths = _scored(args, router, bad)
    if args.strong_share is not None:
        return threshold_for_share(win_rates, args.strong_share, **precision), win_rates
    if args.prices_per_mtok is None:
        raise ConfigError("a cost needs --prices-per-mtok")
    prices = dict(
        zip(
            ("strong_in_per_mtok", "strong_out_per_mtok", "weak_in_per_mtok", "weak_out_per_mtok"),
            args.prices_per_mtok,
            strict=True,
        )
    )
    model = CostModel(
        **prices,
        strong_answer_tokens=args.answer_tokens[0],
        weak_answer_tokens=args.answer_tokens[1],
        characters_per_token=args.characters_per_token,
    )
    strong_cost, weak_cost = model.costs([], prompt_tokens=lengths / args.characters_per_token)
    choice = threshold_for_cost(
        win_rates,
        strong_cost,
        weak_cost,
        per_request=args.cost_per_request,
        per_month=args.cost_per_month,
        requests_per_month=args.requests_per_month,
        **precision,
    )
    return choice, win_rates


def _scored(args: argparse.Namespace, router: Any, bad: BadRows) -> tuple[Any, Any]:
    """Win rates and lengths of the prompts; the prompts themselves are not kept, so a file may be of any size."""
    import numpy as np

    from turnout.commands._progress import file_progress
    from turnout.data import iter_prompts

    source = args.prompts or args.data
    rates, lengths = [], []
    done = 0
    with file_progress(str(source)) as progress:
        for prompts in iter_prompts(source, bad=bad, column=args.column):
            rates.append(np.asarray(router.win_rates(prompts), dtype=np.float64))
            lengths.append(np.array([len(prompt) for prompt in prompts], dtype=np.float64))
            done += len(prompts)
            progress(done, None)
    return np.concatenate(rates), np.concatenate(lengths)


def _outcomes(args: argparse.Namespace, router: Any, bad: BadRows) -> tuple[Outcomes, str, str]:
    from turnout import ConfigError
    from turnout.data import ModelAliases, read_outcomes

    aliases = ModelAliases.from_file(args.aliases) if args.aliases else ModelAliases()
    table = read_outcomes(args.data, bad=bad, column=args.column)
    strong = table.find(args.strong or router.strong, aliases)
    weak = table.find(args.weak or router.weak, aliases)
    if strong == weak:
        raise ConfigError(f"the strong and the weak model are both {strong!r}: name two with --strong and --weak")
    return table.with_scores_of([strong, weak]), strong, weak


def _print_choice(choice: Choice, args: argparse.Namespace) -> None:
    if args.json:
        assumed = {"assumed": _assumed(args)} if args.prices_per_mtok else {}
        echo(printable_json(json.dumps({**choice.to_json(), **assumed}, indent=1)))
        return

    names = {
        "strong_share": "strong share",
        "cost_per_request": "cost per request",
        "quality": "part of the gap recovered",
    }
    console = printable_console(soft_wrap=True, highlight=False)
    console.print(f"threshold  [bold]{choice.threshold:.6g}[/bold]")
    console.print(
        f"{names[choice.target]}  {choice.achieved:.6g}, requested {choice.asked:.6g}, "
        f"on further prompts {choice.low:.6g} to {choice.high:.6g} (95 %)",
        markup=False,
    )
    if choice.target != "strong_share":
        console.print(f"strong share  {choice.strong_share:.4f}")
    console.print(f"prompts  {choice.prompts:,}")
    for name, value in choice.details.items():
        console.print(f"{name.replace('_', ' ')}  {value:.6g}")
    if args.prices_per_mtok:
        strong, weak = args.answer_tokens
        console.print(
            f"assumed  answers of {strong:g} tokens (strong) and {weak:g} tokens (weak), --answer-tokens; "
            f"prompts of {args.characters_per_token:g} characters per token, --characters-per-token",
            markup=False,
        )
    for warning in choice.warnings:
        console.print(f"[yellow]warning:[/yellow] {warning}")


def _assumed(args: argparse.Namespace) -> dict[str, float]:
    """What a cost assumes of prompts and answers."""
    strong, weak = args.answer_tokens
    return {
        "strong_answer_tokens": strong,
        "weak_answer_tokens": weak,
        "characters_per_token": args.characters_per_token,
    }


def _save_choice(args: argparse.Namespace, router: Any, choice: Choice, win_rates: Any) -> None:
    from turnout.calibrate import store_threshold, write_thresholds

    source = args.prompts or args.data
    if args.save.endswith(".json"):
        write_thresholds(Path(args.save), choice, artifact_hash=router.artifact_hash, prompts_from=source)
        _report(f"stored in {args.save}", args)
        return
    folder = _folder(args, router)
    store_threshold(folder, choice, win_rates, prompts_from=source)
    _report(f"stored in {folder}: its default threshold, and its quantiles for strong_share", args)


def _fit(args: argparse.Namespace, router: Any, bad: BadRows) -> int:
    from turnout.calibrate import fit_calibration, raw_win_rates, store_calibration
    from turnout.evaluate.reliability import ece, strong_wins

    table, strong, weak = _outcomes(args, router, bad)
    outcome = strong_wins(table.scores[strong], table.scores[weak])
    embeddings = router.embeddings(table.prompts) if hasattr(router, "embeddings") else None
    raw = raw_win_rates(router.path, None if embeddings is not None else table.prompts, embeddings=embeddings)
    found = fit_calibration(raw, outcome, kind=args.win_rate)
    before, after = (
        float(ece(router.win_rates(table.prompts), outcome)),
        float(ece(found.apply(raw), outcome)),
    )
    result = {
        "calibration": found.manifest,
        "log_loss": found.log_loss,
        "ece_before": before,
        "ece_after_on_these_prompts": after,
        "prompts": found.prompts,
        "warnings": found.warnings,
    }
    if args.json:
        echo(printable_json(json.dumps(result, indent=1)))
    else:
        losses = ", ".join(f"{name} {loss:.4f}" for name, loss in found.log_loss.items())
        echo(f"calibration  {found.manifest['kind']}\ncross-validated log loss  {losses}")
        echo(
            f"expected calibration error  {before:.4f} before, {after:.4f} after (on the same {found.prompts:,} prompts)"
        )
        for warning in found.warnings:
            echo(f"warning: {warning}")
    if args.save is not None:
        folder = _folder(args, router)
        store_calibration(folder, found, fitted_on=args.data)
        _report(f"stored in {folder}; thresholds were converted, decisions are the same", args)
    return 0


def _folder(args: argparse.Namespace, router: Any) -> Path:
    from turnout.calibrate.store import copy_artifact

    path: Path = router.path
    return copy_artifact(path, Path(args.save)) if args.save else path


def _report(message: str, args: argparse.Namespace) -> None:
    import sys

    echo(message, file=sys.stderr if args.json else sys.stdout)
