"""Cascades in ``turnout calibrate --cascade`` and ``turnout eval --cascade``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.commands._measure import load_one
from turnout.commands._options import number
from turnout.commands._tables import bad_rows, check_files, show_bad
from turnout.extras import require
from turnout.terminal import echo, printable_json

if TYPE_CHECKING:
    import argparse

    from turnout.calibrate.cascade import CascadeCalibration
    from turnout.cascade import Policy, Scorer
    from turnout.evaluate.cascades.curves import CascadeFigures
    from turnout.evaluate.cascades.log import CascadeLog
    from turnout.evaluate.success import SuccessScores


def add_cascade_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of cascades."""
    group = parser.add_argument_group(
        "cascades",
        "--data is a log with columns prompt, correct and some of answer, logprobs, first_top_logprobs, samples, self_check, risk",
    )
    group.add_argument(
        "--cascade", action="store_true", help="a cheaper model whose answers are judged, then a strong one"
    )
    group.add_argument(
        "--call-costs", type=number, nargs=2, metavar=("CHEAP", "STRONG"), help="mean cost of a call of each model"
    )
    group.add_argument(
        "--call-seconds", type=number, nargs=2, metavar=("CHEAP", "STRONG"), help="mean latency; needs --second-cost"
    )
    group.add_argument("--second-cost", type=number, metavar="C", help="cost of a second of latency (default: 0)")
    group.add_argument("--error-cost", type=number, metavar="C", help="cost of a wrong answer")
    group.add_argument(
        "--scorer", metavar="ARTIFACT", help="artifact of turnout train scorer, trained on other answers than --data"
    )
    group.add_argument("--strong-score", metavar="COLUMN", help="column with scores of the strong model, in 0..1")
    group.add_argument(
        "--group", metavar="COLUMN", help="column with kinds of prompts, to measure outside of the domain"
    )


def run_calibrate(args: argparse.Namespace) -> int:
    """Runs ``turnout calibrate --cascade``."""
    from turnout import ConfigError

    if args.error_cost is None or not args.error_cost > 0:
        raise ConfigError("--cascade needs --error-cost, a number above 0: what a wrong answer costs you")
    if not args.data or args.pool:
        raise ConfigError("--cascade needs a log and no pool: give --data")
    policy = _policy(args, args.error_cost)
    log = _log(args, args.data, args.router)
    from turnout.calibrate.cascade import calibrate_cascade

    found = calibrate_cascade(log, policy)
    if args.save:
        found.judge.save(args.save)
    elif args.save is not None:
        raise ConfigError("--save needs a file for the judge, such as judge.json")
    if args.json:
        _print_json(_document(found))
    else:
        _show(found)
        if args.save:
            echo(f"stored in {args.save}")
    return 0


def run_eval(args: argparse.Namespace) -> int:
    """Runs ``turnout eval --cascade``."""
    from turnout import ConfigError

    if args.strong_score is None:
        raise ConfigError("--cascade needs --strong-score, the column with scores of the strong model")
    if len(args.data) != 1 or len(args.router) != 1:
        raise ConfigError("--cascade takes one table and one router")
    policy = _policy(args, 1.0)
    log = _log(args, args.data[0], args.router[0])
    from turnout.calibrate.cascade import compared_by

    found = compared_by(policy, log, resamples=args.resamples, seed=args.seed)
    if args.json:
        _print_json({name: asdict(one) for name, one in found.items()}, None if args.json == "-" else Path(args.json))
    if args.json != "-":
        _show_curves(found)
    return 0


def _policy(args: argparse.Namespace, error_cost: float) -> Policy:
    from turnout import ConfigError
    from turnout.cascade import Policy

    if args.call_costs is None:
        raise ConfigError(
            "--cascade needs --call-costs, the mean cost of a call of the cheaper and of the strong model"
        )
    if (args.call_seconds is None) != (args.second_cost is None):
        raise ConfigError("--call-seconds and --second-cost belong together")
    seconds = args.call_seconds or (0.0, 0.0)
    costs = [cost + (args.second_cost or 0.0) * time for cost, time in zip(args.call_costs, seconds, strict=True)]
    if not 0 <= costs[0] <= costs[1] or not costs[1] > 0:
        raise ConfigError(f"calls cost {costs[0]:g} and {costs[1]:g}, expected 0 <= CHEAP <= STRONG and STRONG > 0")
    return Policy(cheap_cost=costs[0], strong_cost=costs[1], error_cost=error_cost)


def _log(args: argparse.Namespace, path: str, router: str | None) -> CascadeLog:
    require("eval", "scipy", "sklearn", "rich", purpose="--cascade")
    check_files([path])
    from turnout.evaluate.cascades.log import read_cascade_log

    scorer = _scorer(args.scorer, path) if args.scorer else None
    bad = bad_rows(args)
    log = read_cascade_log(
        path,
        lambda prompts: load_one(router, args).win_rates(prompts),
        strong=args.strong_score,
        group=args.group,
        bad=bad,
        score=None if scorer is None else scorer.scores,
    )
    show_bad(bad)
    return log


def _scorer(folder: str, path: str) -> Scorer:
    """The scorer.

    Raises:
        ConfigError: It was trained on the same table: its scores would be too good there.
    """
    from turnout import ConfigError
    from turnout.artifact.manifest import Manifest
    from turnout.cascade import Scorer
    from turnout.data import file_record
    from turnout.router import load

    scorer = Scorer(load(folder))
    seen = [one.get("sha256") for one in Manifest.read(Path(folder)).provenance.get("data", [])]
    if file_record(Path(path))["sha256"] in seen:
        raise ConfigError(f"--scorer {folder} was trained on {path}: expected a log of other answers")
    return scorer


def _document(found: CascadeCalibration) -> dict[str, Any]:
    return {
        "policy": asdict(found.judge.policy),
        "forms": [list(form.signals) for form in found.judge.forms],
        "in_domain": asdict(found.in_domain),
        "out_of_domain": {name: asdict(one) for name, one in found.out_of_domain.items()},
        "auroc": {name: asdict(one) for name, one in found.signals.items()},
        "warnings": found.warnings,
    }


def _show(found: CascadeCalibration) -> None:
    policy = found.judge.policy
    _show_scores("in domain", found.in_domain)
    for name, one in found.out_of_domain.items():
        _show_scores(f"fitted without {name}", one)
    for name, estimate in sorted(found.signals.items(), key=lambda pair: -abs(pair[1].value - 0.5)):
        echo(f"AUROC of {name}  {estimate}")
    echo(
        f"band  risks {policy.low:.4f} to {min(policy.high, 1.0):.4f} are cascaded, lower ones go cheap, higher ones strong"
    )
    echo(f"threshold  P(error) {policy.threshold(0.5):.4f} at risk 0.5")
    for form in found.judge.forms:
        echo(f"judges by  {', '.join(form.signals)} and the prompt's risk")
    for warning in found.warnings:
        echo(f"warning: {warning}")


def _show_scores(name: str, scores: SuccessScores) -> None:
    echo(
        f"{name}  {scores.prompts:,} answers, {scores.mean:.1%} wrong; P(error): AUROC {scores.auc}, ECE {scores.ece}, "
        f"of a perfect judge {scores.noise:.3f}"
    )


def _show_curves(found: dict[str, CascadeFigures]) -> None:
    for name, one in found.items():
        echo(f"{name}: cost at the best single model's quality {one.cost}, difference to pre-call {one.difference}")
        echo(f"    quality at its cost {one.quality}")
        shown = one.points[:: max(1, len(one.points) // 8)]
        echo("    cost, quality  " + ", ".join(f"{cost:.4g} {quality:.3f}" for cost, quality in shown))


def _print_json(document: Any, path: Path | None = None) -> None:
    from turnout.evaluate.json_values import json_values

    text = json.dumps(json_values(document), indent=1, allow_nan=False)
    if path is not None:
        path.write_text(text + "\n", encoding="utf-8")
    else:
        echo(printable_json(text), file=sys.stdout)
