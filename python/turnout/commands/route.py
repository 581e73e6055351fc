"""``turnout route``: prompts in, decisions out."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.commands._options import add_pool_options, add_router_options, load_pool_router, load_router, pool_request
from turnout.commands._pool import table
from turnout.commands._terminal import cut
from turnout.terminal import echo, printable, printable_json

if TYPE_CHECKING:
    import turnout
    from turnout.data import Chunk
    from turnout.pool import PoolRequest

#: Characters of a prompt to print with its decision.
_PROMPT_COLUMNS = 60

EPILOG = """\
examples:
  turnout route "Prove that the square root of 2 is irrational."
  turnout route --json --threshold 0.3 "What is 2 + 2?" "Write a haiku about rust."
  cat prompts.txt | turnout route -
  turnout route prompts.csv --column question --out decisions.csv
  turnout route --pool pool.toml --target 0.85 "Prove that the square root of 2 is irrational."

Files may be txt (a prompt a line), csv, tsv, jsonl, json and parquet, each also with .gz or .zst; a column of chat messages
is read as well as one of text. Without --out, a line per prompt goes to stdout: the model, the win rate of the strong model,
the row of a file, the beginning of the prompt. With --out, every row of the file is written with the columns model, win_rate
and threshold added. A row that cannot be routed is written with these empty and reported on stderr with file and row; the exit
code is then 1. With --pool, a prompt gets a table of all models, and the added columns are model, success, expected_cost and
reason. To route a text that is also the name of a file, pass it on standard input.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "route",
        help="choose a model for each prompt, row of a file, or line of standard input",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "prompts",
        nargs="*",
        metavar="PROMPT",
        help="a prompt, a file of prompts, or - for the lines of stdin",
    )
    parser.add_argument(
        "--file", action="append", default=[], metavar="F", help="a file of prompts, also one with a space in its name"
    )
    parser.add_argument("--out", metavar="F", help="write rows to this jsonl, csv, tsv or parquet file")
    parser.add_argument("--column", default="prompt", metavar="C", help="column of the prompts (default: prompt)")
    parser.add_argument("--prefix", default="", metavar="P", help="prefix of the names of the added columns")
    parser.add_argument("--json", action="store_true", help="print one line of JSON per row")
    add_router_options(parser)
    add_pool_options(parser)
    parser.set_defaults(run=run)


@dataclass
class Source:
    """A source of prompts: its name for messages, its rows with their prompts, and whether it is a file."""

    name: str
    chunks: Iterator[tuple[Chunk, list[Any]]]
    is_file: bool = True


def sources(args: argparse.Namespace) -> list[Source]:
    """The sources in the order of the arguments; neighboring prompts are one source."""
    from turnout.data.formats import READABLE, names_file, readable_format
    from turnout.data.prompts import prompt_chunk, read_prompts

    found: list[Source] = []
    prompts: list[str] = []

    def flush() -> None:
        if prompts:
            found.append(Source("prompt", iter([(prompt_chunk(prompts, args.column), list(prompts))]), is_file=False))
            prompts.clear()

    def add_file(name: str) -> None:
        # A file that cannot be read is an error before a router is loaded and an output is begun.
        readable_format(Path(name), READABLE)
        found.append(Source(name, read_prompts(name, args.column)))

    for argument in args.prompts:
        if argument == "-":
            flush()
            found.append(Source("stdin", read_prompts("-", args.column)))
        elif names_file(argument):
            flush()
            add_file(argument)
        else:
            prompts.append(argument)
    flush()
    for name in args.file:
        add_file(name)
    return found


def decide(
    router: turnout.Router | turnout.PoolRouter,
    source: Source,
    complain: Callable[[str], None],
    request: PoolRequest | None = None,
) -> Iterator[tuple[Chunk, list[Any], list[Any]]]:
    """Decides chunk by chunk: one crossing into the core for each.

    Yields:
        The rows, their prompts, and their decisions; ``None`` for a row that cannot be routed.
    """
    import turnout

    asked: Any = request or {}
    for chunk, prompts in source.chunks:
        good = [index for index in range(len(chunk)) if index not in chunk.problems]
        decisions: list[Any] = [None] * len(chunk)
        try:
            for index, decision in zip(
                good, router.route_batch([prompts[index] for index in good], **asked), strict=True
            ):
                decisions[index] = decision
        except (turnout.InvalidInputError, turnout.NoFeasibleModelError):
            # One prompt that is not UTF-8, or that no model may serve, is an error of the whole batch: find which.
            for index in good:
                try:
                    decisions[index] = router.route(prompts[index], **asked)
                except turnout.NoFeasibleModelError as error:
                    chunk.problems[index] = str(error)
                except turnout.InvalidInputError as error:
                    if error.argument not in (None, "prompt", "prompts"):
                        raise
                    chunk.problems[index] = str(error)
        for index, problem in sorted(chunk.problems.items()):
            complain(f"{source.name}: row {chunk.numbers[index]}: {problem}")
        yield chunk, prompts, decisions


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from turnout import ConfigError
    from turnout.commands._progress import file_progress
    from turnout.data.writer import check_output, open_writer

    inputs = sources(args)
    if not inputs:
        raise ConfigError("nothing to route: give a prompt, a file or - for standard input")
    if args.out:
        if len(inputs) > 1:
            names = ", ".join(source.name for source in inputs)
            raise ConfigError(f"--out takes the rows of one source, found {len(inputs)}: {names}")
        check_output(Path(args.out))
        if any(_same(args.out, source.name) for source in inputs):
            raise ConfigError(f"--out {args.out} is the file that is read: name another")
    request = pool_request(args)
    pool = load_pool_router(args) if args.pool else None
    pair = None if pool else load_router(args)
    router: Any = pool or pair
    bad = total = 0
    chosen: Counter[str] = Counter()

    def complain(message: str) -> None:
        nonlocal bad
        bad += 1
        echo(f"turnout: {printable(message)}", file=sys.stderr)

    began = time.perf_counter()
    if args.out:
        with open_writer(Path(args.out), _added_types(args)) as write, file_progress(inputs[0].name) as progress:
            for chunk, _, decisions in decide(router, inputs[0], complain, request):
                write(chunk, _added(args, chunk, decisions))
                total += len(decisions)
                chosen.update(decision.model for decision in decisions if decision is not None)
                progress(total, chunk.part)
        seconds = time.perf_counter() - began
        told = [(pair.strong, chosen[pair.strong])] if pair else chosen.most_common()
        shares = ", ".join(f"{count} ({count / max(total - bad, 1):.1%}) to {printable(name)}" for name, count in told)
        echo(f"{total} rows to {args.out} in {seconds:.2f} s; {shares}", file=sys.stderr)
    else:
        models: list[str] = pool.models if pool else [router.strong, router.weak]
        width = max(len(printable(name)) for name in models)
        for source in inputs:
            with file_progress(source.name, shown=source.is_file and not sys.stdout.isatty()) as progress:
                done = 0
                for chunk, prompts, decisions in decide(router, source, complain, request):
                    if args.json:
                        lines = _json_lines(args, chunk, decisions)
                    elif pool and not source.is_file:
                        lines = _tables(pool, prompts, decisions, request)
                    else:
                        lines = _lines(source, chunk, prompts, decisions, width, "success" if pool else "win_rate")
                    if shown := list(lines):
                        echo("\n".join(shown), flush=True)
                    done += len(chunk)
                    progress(done, chunk.part)
    if bad:
        echo(f"turnout: {bad} row{'s' if bad > 1 else ''} could not be routed", file=sys.stderr)
    return 1 if bad else 0


#: Added columns with their types, by whether there is a pool.
_COLUMNS: dict[bool, dict[str, type]] = {
    False: {"model": str, "win_rate": float, "threshold": float},
    True: {"model": str, "success": float, "expected_cost": float, "reason": str},
}


def _added_types(args: argparse.Namespace) -> dict[str, type]:
    return {f"{args.prefix}{name}": kind for name, kind in _COLUMNS[args.pool is not None].items()}


def _added(args: argparse.Namespace, chunk: Chunk, decisions: list[Any]) -> dict[str, list[Any]]:
    """The added columns; ``None`` for rows that could not be routed."""
    from turnout import ConfigError

    columns: dict[str, list[Any]] = {name: [] for name in _added_types(args)}
    if taken := [name for name in columns if name in chunk.names]:
        raise ConfigError(f"{chunk.file} has a column {taken[0]!r} already: choose other names with --prefix")
    for column, field in zip(columns.values(), _COLUMNS[args.pool is not None], strict=True):
        column.extend(None if decision is None else getattr(decision, field) for decision in decisions)
    return columns


def _json_lines(args: argparse.Namespace, chunk: Chunk, decisions: list[Any]) -> Iterator[str]:
    from turnout.data.writer import rows_with, to_json

    return (printable_json(to_json(row)) for row in rows_with(chunk, _added(args, chunk, decisions)))


def _lines(
    source: Source, chunk: Chunk, prompts: list[Any], decisions: list[Any], width: int, chance_name: str
) -> Iterator[str]:
    """A line for each row: model, win rate or chance of success, the row's number in a file, and the prompt, cut."""
    for number, prompt, decision in zip(chunk.numbers, prompts, decisions, strict=True):
        name = printable(decision.model) if decision else "-"
        chance = f"{getattr(decision, chance_name):.4f}" if decision else "-"
        choice = f"{name:<{width}}  {chance:<6}"
        label = f"  {number:>6}" if source.is_file else ""
        yield f"{choice}{label}  {cut(prompt, _PROMPT_COLUMNS) if isinstance(prompt, str) else ''}".rstrip()


def _tables(
    router: turnout.PoolRouter, prompts: list[Any], decisions: list[Any], request: PoolRequest
) -> Iterator[str]:
    """A table of all models for each prompt; nothing for one that could not be routed."""
    for prompt, decision in zip(prompts, decisions, strict=True):
        if decision:
            yield cut(prompt, _PROMPT_COLUMNS)
            yield from table(router.rank(prompt, **request), router.pool.currency)
            yield f"{printable(decision.model)}: {printable(decision.reason)}"


def _same(left: str, right: str) -> bool:
    try:
        return Path(left).samefile(right)
    except OSError:
        return False
