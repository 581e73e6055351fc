"""``turnout profile``: P(success) of a model that the router does not know."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.commands._tables import add_table_options, bad_rows, check_files, show_bad
from turnout.extras import require
from turnout.terminal import echo, printable_json

if TYPE_CHECKING:
    from turnout.data import BadRows
    from turnout.pool.profiles import Doubles, Profiles
    from turnout.profiles.regression import Gaussian

EPILOG = """\
examples:
  turnout profile mine --outcomes graded.parquet --out mine.safetensors
  turnout profile mine --leaderboard scores.json
  turnout profile mine --like gpt-4o-2024-05-13 --outcomes graded.csv

--outcomes is a table with a column `prompt` and a column of scores in 0..1 named as the model, at least 30 rows. --leaderboard is a JSON object of
mean scores in 0..1 by table, such as {"mmlu_pro": 0.72}; tables that known models have scores on are listed where a name is unknown. Graded
prompts refine what the leaderboard or a model that is alike says.
"""
#: Numbers of further graded prompts for which the certainty is predicted.
MORE = (30, 100, 300, 1000)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "profile",
        help="estimate how often a new model's answers are good",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="name of the model")
    parser.add_argument("--outcomes", metavar="TABLE", help="graded prompts")
    parser.add_argument("--model", metavar="COLUMN", help="column of the scores in --outcomes; default: NAME")
    prior = parser.add_mutually_exclusive_group()
    prior.add_argument("--leaderboard", metavar="FILE", help="JSON object of mean scores by table")
    prior.add_argument("--like", metavar="MODEL", help="a known model that is about as good")
    parser.add_argument("--router", metavar="ARTIFACT", help="artifact with profiles; default: mf")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the profile, for `profile =` in a pool's file")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_table_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import turnout

    require("eval", "safetensors", "scipy", purpose="profile")
    if not (args.outcomes or args.leaderboard or args.like):
        raise turnout.ConfigError(
            "nothing to go by: give --outcomes, --leaderboard, --like, or --outcomes and one of these"
        )
    if args.out is not None and args.out.suffix != ".safetensors":
        raise turnout.ConfigError(f"--out is {args.out}, expected a file that ends in .safetensors")
    check_files([args.outcomes, args.leaderboard])
    from turnout.data.writer import check_folder
    from turnout.pool.profiles import Profile, Profiles
    from turnout.profiles.known import known_profiles

    if args.out is not None:
        check_folder(args.out, "--out")
    bad = bad_rows(args)
    router = turnout.load(args.router)
    known = known_profiles(router.path)
    before, facts = _prior(args, known)
    prompts, scores = _graded(args, bad)
    features = known.features(router.embed(prompts or _sample()))
    found, result = _posterior(before, features, scores, prompts)
    result = {"model": args.name, "from": facts, **result, **_certainty(found, features)}
    if args.out is not None:
        one = Profile(args.name, found.mean, found.covariance, len(prompts), [], {"from": facts})
        args.out.write_bytes(Profiles(known.basis, [one], known.embedding).to_bytes())
        result["out"] = str(args.out)
    show_bad(bad)
    echo(printable_json(json.dumps(result, indent=1)) if args.json else _text(result))
    return 0


def _sample() -> list[str]:
    from turnout.sample_prompts import PROMPTS

    return list(PROMPTS)


def _prior(args: argparse.Namespace, known: Profiles) -> tuple[Gaussian, str]:
    """What is known without graded prompts, and in words where it comes from."""
    from turnout import ConfigError
    from turnout.data import ModelAliases
    from turnout.profiles.new_model import from_alike, from_leaderboard, prior_of

    if args.like:
        name = ModelAliases().canonical(args.like)
        return from_alike(known, name), f"a model like {name}"
    if not args.leaderboard:
        return prior_of(known), f"{len(known.models)} known models"
    try:
        scores = json.loads(Path(args.leaderboard).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{args.leaderboard}: not JSON: {error}") from error
    numbers = isinstance(scores, dict) and all(type(score) in (int, float) for score in scores.values())
    if not numbers or not scores:
        raise ConfigError(
            f'{args.leaderboard}: expected a JSON object of numbers by table, such as {{"mmlu_pro": 0.72}}'
        )
    found = from_leaderboard(known, scores)
    return found.found, f"scores on {', '.join(found.tables)}, which {found.models} known models have"


def _graded(args: argparse.Namespace, bad: BadRows) -> tuple[list[str], Doubles]:
    """The graded prompts; none without a table."""
    import numpy as np

    from turnout.data import read_outcomes

    if not args.outcomes:
        return [], np.zeros(0)
    table = read_outcomes(args.outcomes, bad=bad, column=args.column)
    column = table.find(args.model or args.name)
    table = table.with_scores_of([column])
    return table.prompts, table.scores[column]


def _posterior(
    before: Gaussian, features: Doubles, scores: Doubles, prompts: list[str]
) -> tuple[Gaussian, dict[str, Any]]:
    """The profile, and how it does on graded prompts that it was not fitted on."""
    from turnout.profiles.new_model import cross_fitted, from_outcomes

    if not prompts:
        return before, {"graded_prompts": 0}
    found = from_outcomes(before, features, scores)
    return found, {
        "graded_prompts": len(scores),
        "mean_score": float(scores.mean()),
        **cross_fitted(before, features, scores, prompts),
    }


def _certainty(found: Gaussian, features: Doubles) -> dict[str, Any]:
    from turnout.pool.profiles import sigmoid
    from turnout.profiles.new_model import half_width, with_more

    return {
        "mean_success": float(sigmoid(features @ found.mean).mean()),
        "half_width": half_width(found, features),
        "half_width_with_more": {number: half_width(with_more(found, features, number), features) for number in MORE},
    }


def _text(result: dict[str, Any]) -> str:
    lines = [f"{result['model']}: from {result['from']}"]
    where = "these prompts" if result["graded_prompts"] else "20 sample prompts"
    if result["graded_prompts"]:
        lines[0] += f" and {result['graded_prompts']:,} graded prompts with a mean score of {result['mean_score']:.3f}"
        lines.append(
            f"log loss on left-out prompts  {result['log_loss']:.4f}; the mean score for every prompt has "
            f"{result['log_loss_constant']:.4f}, what was known before {result['log_loss_before']:.4f}"
        )
    lines.append(
        f"P(success) on {where}  {result['mean_success']:.3f}, 90 % intervals of +-{result['half_width']:.3f} on average"
    )
    more = ", ".join(f"{number:,}: +-{width:.3f}" for number, width in result["half_width_with_more"].items())
    lines.append(f"with more graded prompts of this kind  {more}")
    if "out" in result:
        lines.append(f"wrote {result['out']}: profile = {json.dumps(Path(result['out']).name)} in the pool's file")
    return "\n".join(lines)
