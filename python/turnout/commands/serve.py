"""``turnout serve``: the OpenAI-compatible server."""

from __future__ import annotations

import argparse
import os
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
  turnout serve --strong-model gpt-4-1106-preview --weak-model mixtral-8x7b-instruct --base-url http://localhost:8000/v1
  turnout serve --config turnout.toml --check
  turnout serve --config turnout.toml

Clients call it like OpenAI's or Anthropic's API, with the model router-mf-0.5 (a threshold) or router-mf-share-0.3 (30 % strong calls).
SIGHUP, or POST /admin/reload on the admin address, reads configuration and artifacts again.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "serve",
        help="serve an OpenAI-compatible API that routes every request",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="configuration file (turnout.toml); the other options are for use without a file",
    )
    parser.add_argument("--strong-model", metavar="NAME", help="name of the strong model at the endpoint")
    parser.add_argument("--weak-model", metavar="NAME", help="name of the weak model at the endpoint")
    parser.add_argument("--base-url", metavar="URL", help="the endpoint, such as http://localhost:8000/v1")
    parser.add_argument(
        "--key-env",
        default="OPENAI_API_KEY",
        metavar="VARIABLE",
        help="environment variable with the endpoint's key, if it is set (default: %(default)s)",
    )
    parser.add_argument(
        "--proxy",
        metavar="URL",
        help='proxy of the endpoint, or "env" for HTTP_PROXY, HTTPS_PROXY and NO_PROXY (default: a direct connection)',
    )
    parser.add_argument(
        "--dialect",
        nargs="+",
        choices=["chat", "messages", "responses"],
        default=["chat"],
        metavar="NAME",
        help="what the endpoint speaks: chat, messages (Anthropic's), responses (default: chat)",
    )
    parser.add_argument(
        "--router", nargs="+", default=["mf"], metavar="NAME", help="names or artifact folders of routers (default: mf)"
    )
    parser.add_argument(
        "--threshold", type=number, metavar="T", help="threshold of requests without one; default: the router's"
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: 6060)")
    parser.add_argument("--admin-port", type=int, help="port of metrics and reload (default: 6061; 0 for none)")
    parser.add_argument(
        "--allowed-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="host names of this server besides localhost and its address",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes that serve, on one address (default: 1)"
    )
    parser.add_argument("--access-log", action="store_true", help="log a line for each request")
    parser.add_argument(
        "--check", action="store_true", help="open routers and ports, print the configuration, and exit"
    )
    parser.add_argument(
        "--hash-key", action="store_true", help="read a client key from stdin and print its line for client_keys_file"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    if args.hash_key:
        return _hash_key()
    require(
        "serve",
        "aiohttp",
        "httptools",
        "orjson",
        "prometheus_client",
        "pydantic",
        "starlette",
        "uvicorn",
        purpose="serve",
    )
    if args.workers < 1:
        from turnout import ConfigError

        raise ConfigError(f"--workers is {args.workers}, expected at least 1")
    settings = _settings(args)
    if args.check:
        from turnout.serve.run import check

        echo("\n".join(check(settings, args.workers)))
        return 0
    import logging

    from turnout.serve.run import run as serve

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # What crosses to workers is a function of a module and its arguments.
    return serve(settings, partial(_settings, args), args.workers)


def _settings(args: argparse.Namespace) -> Settings:
    from turnout import ConfigError
    from turnout.serve.settings.file import read_config, simple_settings

    simple = {"--strong-model": args.strong_model, "--weak-model": args.weak_model, "--base-url": args.base_url}
    server = {"host": args.host, "port": args.port, "admin_port": args.admin_port}
    server |= {"allowed_hosts": args.allowed_host or None, "access_log": args.access_log or None}
    named = {key: value for key, value in server.items() if value is not None}
    if args.config:
        given = [flag for flag, value in simple.items() if value is not None]
        given += [f"--{key.replace('_', '-').removesuffix('s')}" for key in named]
        given += ["--proxy"] * (args.proxy is not None) + ["--dialect"] * (args.dialect != ["chat"])
        given += ["--threshold"] * (args.threshold is not None) + ["--router"] * (args.router != ["mf"])
        if given:
            raise ConfigError(f"{', '.join(given)} given together with --config, expected them in the file")
        return read_config(args.config)
    if missing := [flag for flag, value in simple.items() if value is None]:
        raise ConfigError(
            f"{', '.join(missing)} missing: give --strong-model, --weak-model and --base-url, or --config FILE"
        )
    return simple_settings(
        args.strong_model,
        args.weak_model,
        args.base_url,
        routers=args.router,
        threshold=args.threshold,
        proxy=args.proxy or "",
        dialects=args.dialect,
        key_env=args.key_env if os.environ.get(args.key_env) else "",
        **named,
    )


def _hash_key() -> int:
    from turnout.serve.http.client_keys import key_hash

    key = sys.stdin.readline().strip()
    if len(key) < 16:
        from turnout import ConfigError

        raise ConfigError(f"the key has {len(key)} characters, expected at least 16 random ones")
    echo(f"client-name:{key_hash(key)}")
    return 0
