"""``turnout route``: prompts in, decisions out."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.commands._options import add_router_options, load_router

if TYPE_CHECKING:
    import turnout
    from turnout.prompt_files import Chunk

EPILOG = """\
examples:
  turnout route "Prove that the square root of 2 is irrational."
  turnout route --json --threshold 0.3 "What is 2 + 2?" "Write a haiku about rust."
  cat prompts.txt | turnout route -
  turnout route prompts.csv --column question --out decisions.csv

Without --out, a line per prompt goes to stdout: the model, the win rate of the strong model. With --out, every row of the
file is written with the columns model, win_rate and threshold added. A row that cannot be routed is written with these empty
and told on stderr with file and row; the exit code is then 1.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "route",
        help="decide for prompts, for a file of prompts or for the lines of standard input",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "prompts",
        nargs="*",
        metavar="PROMPT",
        help="a prompt, a .txt/.jsonl/.csv/.parquet file, or - for the lines of stdin",
    )
    parser.add_argument(
        "--file", action="append", default=[], metavar="F", help="a file of prompts, whatever it looks like"
    )
    parser.add_argument("--out", metavar="F", help="write rows to this .jsonl, .csv or .parquet file")
    parser.add_argument(
        "--column", default="prompt", metavar="C", help="column that holds the prompt (default: prompt)"
    )
    parser.add_argument("--prefix", default="", metavar="P", help="put before the names of the added columns")
    parser.add_argument("--json", action="store_true", help="a line of JSON per row on stdout")
    add_router_options(parser)
    parser.set_defaults(run=run)


@dataclass
class Source:
    """Where prompts come from: a name for messages, and the rows."""

    name: str
    chunks: Iterator[Chunk]


def sources(args: argparse.Namespace) -> list[Source]:
    """The sources in the order of the arguments; neighbouring prompts are one source."""
    from turnout.prompt_files import Chunk, is_prompt_file, read_lines, read_prompts, standard_input

    found: list[Source] = []
    prompts: list[str] = []

    def flush() -> None:
        if prompts:
            rows = [{args.column: prompt} for prompt in prompts]
            chunk = Chunk(list(range(1, len(prompts) + 1)), rows, list(prompts))
            found.append(Source("prompt", iter([chunk])))
            prompts.clear()

    def lines() -> Iterator[Chunk]:
        for chunk in read_lines(standard_input()):
            chunk.rows = [{args.column: prompt} for prompt in chunk.prompts]
            yield chunk

    def add_file(name: str) -> None:
        path = Path(name)
        path.stat()  # A missing file is told before a router is loaded and an output is begun.
        found.append(Source(name, read_prompts(path, args.column)))

    for argument in args.prompts:
        if argument == "-":
            flush()
            found.append(Source("stdin", lines()))
        elif is_prompt_file(argument):
            flush()
            add_file(argument)
        else:
            prompts.append(argument)
    flush()
    for name in args.file:
        add_file(name)
    return found


def decide(
    router: turnout.Router, source: Source, complain: Callable[[str], None]
) -> Iterator[tuple[Chunk, list[Any]]]:
    """Decides chunk by chunk: one crossing into the core for each, and ``None`` for a row that cannot be routed."""
    import turnout

    for chunk in source.chunks:
        good = [place for place in range(len(chunk.rows)) if place not in chunk.problems]
        decisions: list[turnout.Decision | None] = [None] * len(chunk.rows)
        try:
            for place, decision in zip(good, router.route_batch([chunk.prompts[place] for place in good]), strict=True):
                decisions[place] = decision
        except turnout.InvalidInputError:
            # One prompt spoils a batch (it has no UTF-8 form): find which.
            for place in good:
                try:
                    decisions[place] = router.route(chunk.prompts[place])
                except turnout.InvalidInputError as error:
                    chunk.problems[place] = str(error)
        for place, problem in sorted(chunk.problems.items()):
            complain(f"{source.name}: row {chunk.numbers[place]}: {problem}")
        yield chunk, decisions


def run(args: argparse.Namespace) -> int:
    """Does it."""
    from turnout import ConfigError
    from turnout.prompt_files import open_writer, to_json

    inputs = sources(args)
    if not inputs:
        raise ConfigError("nothing to route: give a prompt, a file or - for standard input")
    if args.out and len(inputs) > 1:
        raise ConfigError(
            f"--out takes the rows of one source, found {len(inputs)}: {', '.join(s.name for s in inputs)}"
        )
    if args.out and Path(args.out).exists() and any(_same(args.out, source.name) for source in inputs):
        raise ConfigError(f"--out {args.out} is the file that is read")
    router = load_router(args)
    added = {f"{args.prefix}model": str, f"{args.prefix}win_rate": float, f"{args.prefix}threshold": float}
    columns = max(len(router.strong), len(router.weak))
    bad = strong = total = 0

    def complain(message: str) -> None:
        nonlocal bad
        bad += 1
        print(f"turnout: {message}", file=sys.stderr)

    def with_columns(chunk: Chunk, decisions: list[Any]) -> list[dict[str, Any]]:
        rows = []
        for number, row, decision in zip(chunk.numbers, chunk.rows, decisions, strict=True):
            if taken := [name for name in added if name in row]:
                raise ConfigError(f"row {number} has a column {taken[0]!r} already; choose other names with --prefix")
            values = (None, None, None) if decision is None else (decision.model, decision.win_rate, decision.threshold)
            rows.append({**row, **dict(zip(added, values, strict=True))})
        return rows

    began = time.perf_counter()
    if args.out:
        with open_writer(Path(args.out), added) as write:
            for chunk, decisions in decide(router, inputs[0], complain):
                write(with_columns(chunk, decisions), chunk)
                total += len(decisions)
                strong += sum(decision is not None and decision.is_strong for decision in decisions)
    else:
        for source in inputs:
            for chunk, decisions in decide(router, source, complain):
                if args.json:
                    lines = [to_json(row) for row in with_columns(chunk, decisions)]
                else:
                    lines = [
                        f"{d.model:<{columns}}  {d.win_rate:.4f}" if d else f"{'-':<{columns}}  -" for d in decisions
                    ]
                print("\n".join(lines), flush=True)
    if args.out:
        seconds = time.perf_counter() - began
        share = strong / max(total - bad, 1)
        print(
            f"{total} rows to {args.out} in {seconds:.2f} s; {strong} ({share:.1%}) to {router.strong}", file=sys.stderr
        )
    if bad:
        print(f"turnout: {bad} row{'s' if bad > 1 else ''} could not be routed", file=sys.stderr)
    return 1 if bad else 0


def _same(left: str, right: str) -> bool:
    try:
        return Path(left).samefile(right)
    except OSError:
        return False
