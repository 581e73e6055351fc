"""``turnout explain-receipt``: a route receipt, replayed bit for bit."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turnout.extras import require

EPILOG = """\
examples:
  tail -1 decisions.jsonl | turnout explain-receipt -
  turnout explain-receipt decisions.jsonl --request-id 4f1c... --prompt "What is 2 + 2?"

A receipt holds the prompt's hash; the prompt itself only where the log was told to keep prompts. Without it, give it with
--prompt or --prompt-file. The exit code is 0 where every receipt replays to the same bits, and 1 where one does not.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "explain-receipt",
        help="replay decisions of the server's log against the artifact",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("receipts", metavar="FILE", help="decision log, jsonl or parquet, or - for lines on stdin")
    parser.add_argument("--request-id", metavar="ID", help="only the receipt of this request")
    parser.add_argument(
        "--artifact", metavar="FOLDER", help="artifact folder; by default the one that ships under the router's name"
    )
    parser.add_argument("--prompt", metavar="TEXT", help="the prompt, where the receipt has only its hash")
    parser.add_argument("--prompt-file", type=Path, metavar="FILE", help="file that holds nothing but the prompt")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Does it."""
    from turnout import ConfigError
    from turnout.serve.receipts import replay

    if args.prompt is not None and args.prompt_file:
        raise ConfigError("both --prompt and --prompt-file are given, expected one")
    given = args.prompt_file.read_text(encoding="utf-8") if args.prompt_file else args.prompt
    routers: dict[str, Any] = {}
    found = differing = 0
    for receipt in _receipts(args.receipts):
        request_id = receipt.get("request_id")
        if args.request_id and request_id != args.request_id:
            continue
        found += 1
        prompt = receipt.get("prompt", given)
        if not isinstance(prompt, str):
            raise ConfigError(
                f"receipt {request_id} has no prompt but its hash: give it with --prompt or --prompt-file"
            )
        name = str(receipt.get("router"))
        if receipt.get("artifact_hash") is None:
            raise ConfigError(
                f"receipt {request_id}: router {name} is no artifact, so its decisions cannot be replayed"
            )
        if name not in routers:
            routers[name] = _router(name, args.artifact)
        differences = replay(receipt, prompt, routers[name])
        differing += bool(differences)
        choice = f"{receipt['model']} because {receipt['win_rate']!r} {'>=' if receipt['is_strong'] else '<'} {receipt['threshold']!r}"
        print(f"{request_id}  {choice}: {'; '.join(differences) or 'replayed bit for bit'}")
        if receipt.get("served") != receipt["model"]:
            print(
                f"  answered by {receipt.get('served') or 'nobody'}: {receipt.get('fallback') or 'pinned, kept with its session, or failed'}"
            )
    if not found:
        raise ConfigError("no such receipt" if args.request_id else f"{args.receipts} holds no receipt")
    return 1 if differing else 0


def _router(name: str, artifact: str | None) -> Any:
    from turnout.routing import open_router

    return open_router(name, {"path": artifact} if artifact else None)


def _receipts(source: str) -> Iterator[dict[str, Any]]:
    from turnout import InvalidInputError

    if source.endswith(".parquet"):
        require("eval", "pyarrow", purpose="a parquet log")
        import pyarrow.parquet

        yield from pyarrow.parquet.read_table(source).to_pylist()
        return
    lines = sys.stdin if source == "-" else Path(source).open(encoding="utf-8")  # noqa: SIM115 - closed below
    with lines:
        for number, line in enumerate(lines, 1):
            try:
                receipt = json.loads(line)
            except ValueError as error:
                raise InvalidInputError(f"{source}: line {number}: {error}") from error
            if not isinstance(receipt, dict):
                raise InvalidInputError(f"{source}: line {number} is no object, expected a line of the decision log")
            yield receipt
