"""``turnout explain-receipt``: a route receipt, replayed bit for bit."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.commands._receipts import read_receipts
from turnout.terminal import echo, printable, printable_json

if TYPE_CHECKING:
    from turnout.serve.routers.pools import LoadedPool

EPILOG = """\
examples:
  tail -1 decisions.jsonl | turnout explain-receipt -
  turnout explain-receipt decisions.jsonl --request-id 4f1c... --prompt "What is 2 + 2?"
  turnout explain-receipt decisions.jsonl --config turnout.toml
  turnout explain-receipt decisions.jsonl --verify --key-file receipt-key
  turnout explain-receipt decisions.jsonl --export

A receipt holds the prompt's hash; the prompt itself only where `[log] prompts` is on. Without it, give it with
--prompt or --prompt-file. The exit code is 0 where every receipt replays to the same bits, and 1 where one does not. --verify checks
signatures alone (exit code 1 where one does not hold or is missing), --export prints receipts for other programs.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "explain-receipt",
        help="replay decisions of the server's log against the artifact",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("receipts", metavar="FILE", help="decision log, or - for lines of stdin")
    parser.add_argument("--request-id", metavar="ID", help="only the receipt of this request")
    parser.add_argument(
        "--artifact", metavar="FOLDER", help="artifact folder; default: the shipped router of that name"
    )
    parser.add_argument("--config", metavar="FILE", help="the server's turnout.toml, for decisions of its pool")
    parser.add_argument("--prompt", metavar="TEXT", help="the prompt, if the receipt has only its hash")
    parser.add_argument("--prompt-file", type=Path, metavar="FILE", help="file with the prompt")
    parser.add_argument("--verify", action="store_true", help="check the signatures of receipts; nothing is replayed")
    parser.add_argument(
        "--key-file", action="append", default=[], metavar="FILE", help="key of `[log] hmac_key_file`; may be repeated"
    )
    parser.add_argument("--key-env", metavar="NAME", help="environment variable with the key, in place of --key-file")
    parser.add_argument("--export", action="store_true", help="print route receipts as JSON lines; nothing is replayed")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from turnout import ConfigError
    from turnout.conversation import judged_text
    from turnout.serve.receipts.receipts import prompt_hash

    if args.verify and args.export:
        raise ConfigError("both --verify and --export are given, expected one")
    if args.verify:
        return _verify(args)
    if args.key_file or args.key_env:
        raise ConfigError("--key-file and --key-env are for --verify")
    if args.export:
        return _export(args)
    if args.prompt is not None and args.prompt_file:
        raise ConfigError("both --prompt and --prompt-file are given, expected one")
    given = args.prompt_file.read_text(encoding="utf-8") if args.prompt_file else args.prompt
    replays = _Replays(args.artifact, args.config)
    found = differing = 0
    for receipt in _receipts(args):
        request_id = receipt.get("request_id")
        found += 1
        prompt = receipt.get("prompt", given)
        if not isinstance(prompt, str):
            raise ConfigError(
                f"receipt {request_id} has only the hash of its prompt: give the prompt with --prompt or --prompt-file"
            )
        if "prompt" not in receipt and prompt_hash(prompt) != receipt.get("prompt_sha256"):
            prompt = judged_text(prompt)  # "Hello!" was judged as "hello".
        name = str(receipt.get("router"))
        if receipt.get("artifact_hash") is None:
            raise ConfigError(
                f"receipt {request_id}: router {name} is not an artifact, so its decisions cannot be replayed"
            )
        differences, why = replays.of(receipt, name, prompt)
        differing += bool(differences)
        echo(f"{request_id}  {receipt['model']} because {why}: {'; '.join(differences) or 'replayed bit for bit'}")
        if receipt.get("served") != receipt["model"]:
            echo(
                f"  answered by {receipt.get('served') or 'no model'}: {receipt.get('fallback') or 'pinned, kept with its session, or failed'}"
            )
    if not found:
        raise _none_found(args)
    return 1 if differing else 0


def _receipts(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for receipt in read_receipts(args.receipts):
        if not args.request_id or receipt.get("request_id") == args.request_id:
            yield receipt


def _none_found(args: argparse.Namespace) -> Exception:
    from turnout import ConfigError

    return ConfigError("no such receipt" if args.request_id else f"{args.receipts} contains no receipt")


def _verify(args: argparse.Namespace) -> int:
    from turnout import ConfigError
    from turnout.outcomes.signature import check
    from turnout.serve.receipts.key import read_receipt_key

    found = [read_receipt_key("--key-file", file=file) for file in args.key_file]
    found.append(read_receipt_key("--key-env", env=args.key_env or ""))
    keys = [one for one in found if one is not None]
    if not keys:
        raise ConfigError("--verify needs --key-file or --key-env")
    counts: Counter[str] = Counter()
    for receipt in _receipts(args):
        finding = check(receipt, keys)
        counts[finding] += 1
        if finding != "intact" or args.request_id:
            echo(printable(f"{receipt.get('request_id')}  {finding}"))
    if not counts:
        raise _none_found(args)
    echo(", ".join(f"{count:,} {finding}" for finding, count in sorted(counts.items())))
    return 0 if counts.keys() == {"intact"} else 1


def _export(args: argparse.Namespace) -> int:
    from turnout.serve.receipts.export import route_receipt

    found = 0
    for receipt in _receipts(args):
        found += 1
        echo(printable_json(json.dumps(route_receipt(receipt))))
    if not found:
        raise _none_found(args)
    return 0


class _Replays:
    """Replays receipts, with routers and pools that are opened once.

    Args:
        artifact: Folder of the artifact, or ``None``.
        config: The server's configuration, or ``None``.
    """

    def __init__(self, artifact: str | None, config: str | None) -> None:
        self._artifact, self._config = artifact, config
        self._routers: dict[tuple[Any, ...], Any] = {}
        self._pools: dict[str, LoadedPool] | None = None

    def of(self, receipt: dict[str, Any], name: str, prompt: str) -> tuple[list[str], str]:
        """What differs, and why the receipt's model was chosen.

        Args:
            receipt: The receipt.
            name: Of its router.
            prompt: What was judged.
        """
        from turnout.serve.receipts.receipts import replay, replay_in_pool

        if receipt.get("pool_hash"):
            return replay_in_pool(receipt, prompt, self._pool(name)), f"{receipt.get('reason')}"
        pair = (name, receipt.get("strong"), receipt.get("weak"))
        if pair not in self._routers:
            self._routers[pair] = self._router(*pair)
        differences = replay(receipt, prompt, self._routers[pair])
        comparison = ">=" if receipt["is_strong"] else "<"
        return differences, f"{receipt['win_rate']!r} {comparison} {receipt['threshold']!r}"

    def _router(self, name: str, strong: str | None, weak: str | None) -> Any:
        from turnout.registry import open_router

        return open_router(name, {"path": self._artifact} if self._artifact else None, strong=strong, weak=weak)

    def _pool(self, name: str) -> LoadedPool:
        from turnout import ConfigError
        from turnout.extras import require

        if self._config is None:
            raise ConfigError(f"a receipt of the pool of router {name} needs --config with the server's turnout.toml")
        if self._pools is None:
            require("serve", "pydantic", purpose="read --config")
            from turnout.serve.routers.pools import load_pools
            from turnout.serve.routers.scorers import Scorers
            from turnout.serve.settings.file import read_config

            self._pools = load_pools(read_config(self._config), {}, Scorers({}))
        if name not in self._pools:
            raise ConfigError(f"{self._config}: router {name} has no pool")
        return self._pools[name]
