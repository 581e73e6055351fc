"""``turnout ext-proc``: decisions for Envoy and other gateways."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from turnout.commands._options import number
from turnout.extras import require
from turnout.terminal import echo

if TYPE_CHECKING:
    from turnout.serve.settings.tables import Settings

EPILOG = """\
examples:
  turnout ext-proc --strong-model gpt-4-1106-preview --weak-model mixtral-8x7b-instruct
  turnout ext-proc --config turnout.toml --check
  turnout ext-proc --config turnout.toml

The file is that of turnout serve, with the table [ext_proc]. Upstreams are not called, and their keys are not read.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "ext-proc",
        help="decide for gateways that speak Envoy's external processing protocol",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="configuration file (turnout.toml); the other options are for use without a file",
    )
    parser.add_argument("--strong-model", metavar="NAME", help="name of the strong model")
    parser.add_argument("--weak-model", metavar="NAME", help="name of the weak model")
    parser.add_argument(
        "--router", nargs="+", default=["mf"], metavar="NAME", help="names or artifact folders of routers (default: mf)"
    )
    parser.add_argument(
        "--threshold", type=number, metavar="T", help="threshold of requests without one; default: the router's"
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that serve, on one address (default: 1)"
    )
    parser.add_argument(
        "--check", action="store_true", help="open routers and ports, print the configuration, and exit"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    require(
        "serve",
        "aiohttp",
        "httptools",
        "orjson",
        "prometheus_client",
        "pydantic",
        "starlette",
        "uvicorn",
        purpose="ext-proc",
    )
    if args.workers < 1:
        from turnout import ConfigError

        raise ConfigError(f"--workers is {args.workers}, expected at least 1")
    settings = _settings(args)
    if args.check:
        from turnout.ext_proc.run import check

        echo("\n".join(check(settings, args.workers)))
        return 0
    import logging

    from turnout.ext_proc.run import run as serve

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # What crosses to workers is a function of a module and its arguments.
    return serve(settings, partial(_settings, args), args.workers)


def _settings(args: argparse.Namespace) -> Settings:
    from turnout import ConfigError
    from turnout.serve.dialects import DIALECTS
    from turnout.serve.settings.file import read_config, simple_settings

    simple = {"--strong-model": args.strong_model, "--weak-model": args.weak_model}
    if args.config:
        given = [flag for flag, value in simple.items() if value is not None]
        given += ["--threshold"] * (args.threshold is not None) + ["--router"] * (args.router != ["mf"])
        if given:
            raise ConfigError(f"{', '.join(given)} given together with --config, expected them in the file")
        settings = read_config(args.config)
        if found := [name for name, one in settings.routers.items() if one.mode == "cascade"]:
            raise ConfigError(
                f'[routers.{found[0]}] mode is "cascade", which judges answers: ext-proc sees requests only, expected "decide"'
            )
        return settings
    if missing := [flag for flag, value in simple.items() if value is None]:
        raise ConfigError(f"{', '.join(missing)} missing: give --strong-model and --weak-model, or --config FILE")
    # Nothing is sent to the address.
    return simple_settings(
        *(args.strong_model, args.weak_model, "http://localhost"),
        routers=args.router,
        threshold=args.threshold,
        dialects=DIALECTS,
        key_env="",
    )
