"""``turnout report``: what routed traffic cost and how good its answers were."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.commands._receipts import read_receipts
from turnout.commands._tables import check_files
from turnout.terminal import echo, printable, printable_json

if TYPE_CHECKING:
    from turnout.token_prices import TokenPrices

EPILOG = """\
examples:
  turnout report decisions.jsonl --outcomes outcomes.sqlite --config turnout.toml
  turnout report decisions.jsonl.1 decisions.jsonl --price gpt-4 10 30 --price mixtral 0.6 0.6 --json -

Costs need the tokens of answers in receipts, and prices: of [models] in --config, or --price. Grades come from outcomes. What a single
model would have scored is stated only from receipts with propensities or shadow verdicts; see docs/outcomes.md.
"""


#: Options of the parts of the input that have a price of their own, by field.
_CACHE_PRICES = {
    "--cached-price": "cached",
    "--cache-write-price": "written",
    "--cache-write-1h-price": "written_1h",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "report",
        help="report costs and outcomes of the server's decisions",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("log", nargs="+", metavar="FILE", help="decision log: jsonl or parquet files, or - for stdin")
    parser.add_argument("--outcomes", metavar="FILE", help="database of outcomes")
    parser.add_argument("--config", metavar="FILE", help="configuration of the server, for prices")
    parser.add_argument(
        "--price",
        nargs=3,
        action="append",
        default=[],
        metavar=("MODEL", "INPUT", "OUTPUT"),
        help="prices of a model per million tokens",
    )
    for option, help_text in (
        ("--cached-price", "price of its cached input tokens (default: as other input)"),
        ("--cache-write-price", "price of its input tokens that are written to the cache (default: as other input)"),
        ("--cache-write-1h-price", "price of those that are kept there for an hour (default: as other written ones)"),
    ):
        parser.add_argument(option, nargs=2, action="append", default=[], metavar=("MODEL", "INPUT"), help=help_text)
    parser.add_argument("--resamples", type=int, default=2000, metavar="N", help="of the bootstrap (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap (default: 0)")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON; - for stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from turnout import ConfigError

    check_files([*args.log, args.outcomes, args.config])
    if args.resamples < 1:
        raise ConfigError(f"--resamples is {args.resamples}, expected at least 1")
    from turnout.evaluate.json_values import json_values
    from turnout.evaluate.traffic.estimates import Resampling
    from turnout.evaluate.traffic.report import lines, report_of
    from turnout.evaluate.traffic.traffic import join
    from turnout.outcomes import Outcomes

    prices = _prices(args)
    receipts = (receipt for path in args.log for receipt in read_receipts(path))
    if args.outcomes:
        with Outcomes(args.outcomes) as outcomes:
            traffic = join(receipts, outcomes.read(), prices)
    else:
        traffic = join(receipts, (), prices)
    report = report_of(traffic, prices, Resampling(args.resamples, args.seed))
    text = json.dumps(json_values(report), indent=2)
    if args.json and args.json != "-":
        Path(args.json).write_text(text + "\n", encoding="utf-8")
    if args.json == "-":
        echo(printable_json(text))
    else:
        echo("\n".join(map(printable, lines(report))))
    return 0


def _prices(args: argparse.Namespace) -> dict[str, TokenPrices]:
    from turnout import ConfigError
    from turnout.token_prices import TokenPrices

    found = {}
    if args.config:
        from turnout.extras import require

        require("serve", "pydantic", purpose="read --config")
        from turnout.serve.settings.file import read_config

        settings = read_config(args.config)
        efforts = (f"{name}:{effort}" for name, model in settings.models.items() for effort in model.efforts)
        for name in (*settings.models, *efforts):
            if (prices := settings.prices_of(name)) is not None:
                found[name] = prices
    for name, *numbers in args.price:
        found[name] = TokenPrices(*_numbers("--price", name, numbers))
    for option, field in _CACHE_PRICES.items():
        for name, number in getattr(args, option[2:].replace("-", "_")):
            if name not in found:
                raise ConfigError(f"{option} {name}: the model has no prices, expected --price or --config with it")
            found[name] = replace(found[name], **{field: _numbers(option, name, [number])[0]})
    return found


def _numbers(option: str, name: str, texts: Sequence[str]) -> list[float]:
    from turnout import ConfigError

    try:
        found = [float(text) for text in texts]
    except ValueError:
        found = [float("nan")]
    if not all(0 <= number < float("inf") for number in found):
        raise ConfigError(f"{option} {name} {' '.join(texts)}: expected prices of at least 0")
    return found
