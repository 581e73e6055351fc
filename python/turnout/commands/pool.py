"""``turnout pool``: checks and describes the file of a pool."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from turnout.commands._pool import columns
from turnout.terminal import echo, printable, printable_json

if TYPE_CHECKING:
    import turnout

EPILOG = """\
examples:
  turnout pool check pool.toml
  turnout pool check pool.toml --router my-artifact --json

Reads the file, opens the router with it, so that every profile is found and fits, and prints the models. A wrong file is an
error with the line, the column and the field, and the exit code 2.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser("pool", help="check the file of a pool of models")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser(
        "check",
        help="read the file, open the router with it, and print the models",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("pool", metavar="TOML", help="the file")
    check.add_argument(
        "--router", metavar="ARTIFACT", help="artifact folder, or the name of a shipped router; default: mf"
    )
    check.add_argument("--json", action="store_true", help="print the pool as JSON")
    check.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import turnout

    router = turnout.load(args.router, pool=turnout.Pool.load(args.pool))
    if args.json:
        echo(printable_json(json.dumps(describe(router), indent=1, ensure_ascii=False)))
    else:
        echo("\n".join(lines(router)))
    return 0


def describe(router: turnout.PoolRouter) -> dict[str, Any]:
    """The pool as plain values, with what every candidate's profile was fitted on under ``candidates``."""
    return {"artifact_hash": router.artifact_hash, "pool": router.pool.to_dict(), "candidates": router._candidates()}


def lines(router: turnout.PoolRouter) -> Iterator[str]:
    """The models with their prices and where their chances come from, then the defaults."""
    pool = router.pool
    found = pool.to_dict()["models"]
    rows: list[tuple[str, ...]] = [("model", "input", "cached", "output", "context", "chance of success")]
    for candidate in router._candidates():
        own = found[candidate["model"]]
        fields = {**own, **own.get("efforts", {}).get(candidate["effort"], {})}
        prices = [fields.get(name) for name in ("input_price", "cached_input_price", "output_price", "context_window")]
        rows.append(
            (
                printable(candidate["name"]),
                *("-" if one is None else f"{one:g}" for one in prices),
                _source(candidate, fields),
            )
        )
    yield from columns(rows)
    names, limits = len(rows) - 1, ", ".join(f"{name} = {_limit(value)}" for name, value in pool.limits.items())
    objective = ", ".join(f"{name} = {value:g}" for name, value in pool.objective.items())
    yield f"{names} model{'s' if names > 1 else ''}; prices in {printable(pool.currency)} per million tokens; objective {objective}"
    if limits:
        yield printable(f"limits: {limits}")
    if pool.fallback:
        yield printable(f"fallback: {pool.fallback}")


def _limit(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _source(candidate: dict[str, Any], fields: dict[str, Any]) -> str:
    if candidate["profile"] is None:
        return f"{fields['success']:g} for every prompt"
    named = "" if candidate["profile"] in (candidate["model"], candidate["name"]) else f"like {candidate['profile']}, "
    error = "" if candidate["ece"] is None else f", ECE {candidate['ece']:.3f}"
    return printable(f"{named}fitted on {candidate['prompts']:,} prompts{error}")
