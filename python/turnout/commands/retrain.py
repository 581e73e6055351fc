"""``turnout retrain``: profiles of a pool's models, or a pair's win rates, from the server's outcomes and shadow verdicts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from turnout.commands._options import number
from turnout.commands._receipts import read_receipts
from turnout.commands._tables import check_files
from turnout.extras import require
from turnout.terminal import echo, printable, printable_json

if TYPE_CHECKING:
    from turnout.evaluate.bootstrap import Estimate
    from turnout.training.feedback import Feedback
    from turnout.training.pair_retraining import PairComparison, RetrainedPair
    from turnout.training.retraining import Comparison, Retrained

EPILOG = """\
examples:
  turnout retrain decisions.jsonl --outcomes outcomes.sqlite --config turnout.toml --out profiles.safetensors
  turnout retrain decisions.jsonl.1 decisions.jsonl --outcomes outcomes.sqlite --pool pool.toml --out profiles.safetensors --source tests
  turnout retrain decisions.jsonl --outcomes outcomes.sqlite --pair large small --router my-router --out my-router

The log needs prompts ([log] prompts = true). Profiles are fitted to the earlier decisions and compared with the running ones on the later
ones. The file is written only if they are not worse there, and the exit code is then 0; otherwise it is 1 and the message says why. A server whose
models have `profile` set to the file takes it at the next reload. With --pair, shadow verdicts between two models calibrate a router's win rates.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "retrain",
        help="fit a pool or a pair to the server's outcomes; keeps the running one unless the new one is not worse",
        description="Needs `pip install 'turnout[eval]'`.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("log", nargs="+", metavar="FILE", help="decision log with prompts: jsonl or parquet files")
    parser.add_argument("--outcomes", required=True, metavar="FILE", help="database of outcomes")
    parser.add_argument("--config", metavar="FILE", help="configuration of the server, which has the running pool")
    parser.add_argument("--pool", metavar="POOL_TOML", help="the running pool, in place of --config")
    parser.add_argument(
        "--pair", nargs=2, metavar=("STRONG", "WEAK"), help="names of two models, in place of --config and --pool"
    )
    parser.add_argument(
        "--router", metavar="ARTIFACT", help="router of --pool or --pair, or name of a router of --config"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="profiles to write, a .safetensors; with --pair the artifact: a new folder, or that of --router",
    )
    parser.add_argument(
        "--source",
        action="append",
        metavar="NAME",
        help="use only outcomes of this client key, and shadow verdicts; may be repeated",
    )
    parser.add_argument(
        "--held-out",
        type=number,
        default=0.25,
        metavar="PART",
        help="part of the decisions, the last ones, to compare on (default: %(default)s)",
    )
    parser.add_argument(
        "--margin",
        type=number,
        default=0.0,
        metavar="NATS",
        help="log loss that the new profiles may be worse by (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of folds and bootstrap (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import turnout

    require("eval", "safetensors", "scipy", "sklearn", purpose="retrain")
    if sum(one is not None for one in (args.config, args.pool, args.pair)) != 1:
        raise turnout.ConfigError("expected one of --config, --pool and --pair")
    if (args.out.suffix == ".safetensors") == (args.pair is not None):
        expected = "a file that ends in .safetensors" if args.pair is None else "a folder for the artifact"
        raise turnout.ConfigError(f"--out is {args.out}, expected {expected}")
    if not 0.0 < args.held_out < 1.0:
        raise turnout.ConfigError(f"--held-out is {args.held_out:g}, expected a number between 0 and 1")
    if not 0.0 <= args.margin < float("inf"):
        raise turnout.ConfigError(f"--margin is {args.margin:g}, expected a number of at least 0")
    check_files([*args.log, args.outcomes, args.config, args.pool])
    from turnout.data.writer import check_folder
    from turnout.evaluate.json_values import json_values

    if args.pair is None:
        check_folder(args.out, "--out")
    found, feedback, text = (_pool if args.pair is None else _pair)(args)
    if args.json:
        values = {**found.to_json(), "left_out": dict(feedback.left_out)}
        echo(printable_json(json.dumps(json_values(values), indent=1, allow_nan=False)))
    else:
        echo(printable(text))
    return 1 if found.refused else 0


def _pool(args: argparse.Namespace) -> tuple[Retrained, Feedback, str]:
    """Profiles of a pool."""
    from turnout.durable_files import replace_file
    from turnout.profiles.known import graph_hash, output_tokens_of_pool, profiles_of_pool
    from turnout.profiles.linear import joined
    from turnout.training.retraining import retrain

    router = _router(args)
    running = profiles_of_pool(router.pool, router.path)
    feedback = _feedback(args, list(running))
    found = retrain(
        feedback,
        router.embed(feedback.prompts),
        running,
        joined(running),
        graph_hash(router.path),
        held_out=args.held_out,
        margin=args.margin,
        seed=args.seed,
        output_tokens=output_tokens_of_pool(router.pool, router.path),
    )
    if not found.refused and found.profiles is not None:
        # In one step: a server may read it meanwhile.
        replace_file(args.out, found.profiles.to_bytes())
    return found, feedback, _text_of_pool(found, feedback, args.out)


def _pair(args: argparse.Namespace) -> tuple[RetrainedPair, Feedback, str]:
    """The calibration of a router's win rates."""
    import turnout
    from turnout.calibrate import raw_win_rates, store_calibration
    from turnout.calibrate.store import copy_artifact
    from turnout.training.pair_retraining import PairVerdicts, retrain_pair

    strong, weak = args.pair
    if strong == weak:
        raise turnout.ConfigError(f"--pair has {strong!r} twice, expected two models")
    router = turnout.load(args.router)
    if {strong, weak} & set(router.models) and (strong, weak) != (router.strong, router.weak):
        raise turnout.ConfigError(
            f"--pair {strong} {weak}: the router scores models of these names itself; its calibration is for {router.strong} and {router.weak}"
        )
    is_own = args.out.exists() and args.out.samefile(router.path)
    if args.out.exists() and not is_own:
        raise turnout.ConfigError(f"--out is {args.out}, which exists: expected a new folder, or that of --router")
    feedback = _feedback(args, args.pair)
    verdicts = PairVerdicts.of(feedback)
    prompts = list(verdicts.prompts)
    embeddings = router.embeddings(prompts) if hasattr(router, "embeddings") else None
    raw = raw_win_rates(router.path, None if embeddings is not None else prompts, embeddings=embeddings)
    found = retrain_pair(
        verdicts,
        raw,
        router.manifest["calibration"],
        held_out=args.held_out,
        margin=args.margin,
        seed=args.seed,
    )
    if not found.refused and found.calibration is not None:
        folder = router.path if is_own else copy_artifact(router.path, args.out)
        store_calibration(folder, found.calibration, fitted_on="shadow verdicts")
    return found, feedback, _text_of_pair(found, feedback, args.out)


def _feedback(args: argparse.Namespace, names: Sequence[str]) -> Feedback:
    from turnout.outcomes import Outcomes
    from turnout.training.feedback import feedback_of

    receipts = (receipt for path in args.log for receipt in read_receipts(path))
    with Outcomes(args.outcomes) as outcomes:
        return feedback_of(receipts, outcomes.read(), names, sources=args.source)


def _router(args: argparse.Namespace) -> Any:
    import turnout

    if args.pool is not None:
        return turnout.load(args.router, pool=turnout.Pool.load(args.pool))
    require("serve", "pydantic", purpose="read --config")
    from turnout.serve.routers.pools import load_pools
    from turnout.serve.routers.scorers import Scorers
    from turnout.serve.settings.file import read_config

    pools = load_pools(read_config(args.config), {}, Scorers({}))
    name = args.router or next(iter(pools), None)
    if name not in pools:
        expected = ", ".join(pools) or "none: there is no [pool]"
        raise turnout.ConfigError(f"{args.config}: no pool of router {name}, expected one of {expected}")
    return pools[name].router


def _seen(feedback: Feedback) -> list[str]:
    lines = [f"decisions with outcomes  {len(feedback.prompts):,}; shadow verdicts {len(feedback.verdicts):,}"]
    return lines + [f"  left out  {count:,} {reason}" for reason, count in feedback.left_out.items()]


def _text_of_pair(found: RetrainedPair, feedback: Feedback, out: Path) -> str:
    lines = []
    if (one := found.comparison) is not None and found.calibration is not None:
        what = _Fitted("verdicts", found.calibration.manifest["kind"], "win rates", "win rate")
        lines = what.lines(one, {"verdicts": one.verdicts})
    return _text(lines, feedback, out, found.refused, "its default threshold was converted; reload the server")


def _text_of_pool(found: Retrained, feedback: Feedback, out: Path) -> str:
    lines = []
    if (one := found.comparison) is not None:
        what = _Fitted("decisions", found.picked, "profiles", "P(success)")
        lines = what.lines(one, {"outcomes": one.grades, "verdicts": one.verdicts})
    then = f"profile = {json.dumps(out.name)} for each model of the pool, then reload the server"
    return _text(lines, feedback, out, found.refused, then)


class _Fitted(NamedTuple):
    """What was fitted and compared, in words."""

    rows: str
    kind: str
    running: str
    value: str

    def lines(self, one: Comparison | PairComparison, losses: Mapping[str, Estimate | None]) -> list[str]:
        """The comparison."""
        return [
            f"fitted to {one.trained:,} {self.rows}, compared on {one.held_out:,} later ones: {self.kind}",
            *(
                f"log loss on {name}  {value.value:+.4f} [{value.low:+.4f}, {value.high:+.4f}] against the running {self.running}"
                for name, value in losses.items()
                if value is not None
            ),
            f"{self.value} moved by {one.moved:.3f} on average",
        ]


def _text(lines: Sequence[str], feedback: Feedback, out: Path, refused: str, then: str) -> str:
    end = f"refused, {out} is as it was: {refused}" if refused else f"wrote {out}: {then}"
    return "\n".join([*_seen(feedback), *lines, end])
