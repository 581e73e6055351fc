"""``turnout contamination``: eval prompts that have a near-duplicate in training data."""

from __future__ import annotations

import argparse
from pathlib import Path

from turnout.commands._options import number
from turnout.commands._tables import add_table_options, bad_rows, show_bad
from turnout.extras import require
from turnout.terminal import printable_console

EPILOG = """\
examples:
  turnout contamination --train train/*.parquet --eval dev/*.parquet
  turnout contamination --train train.jsonl --eval eval.jsonl --out contaminated_prompts.jsonl
  turnout eval --data eval.jsonl --contaminated contaminated_prompts.jsonl

A prompt is listed if most of its word n-grams occur in one training prompt, or if its embedding is close to that of one. The file
has RouteLLM's format: one object with `eval_prompt` a line.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "contamination",
        help="list eval prompts with a near-duplicate in training data",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--train", nargs="+", required=True, metavar="FILE", help="tables, or text files with one prompt per line"
    )
    parser.add_argument(
        "--eval", nargs="+", required=True, metavar="FILE", help="tables, or text files with one prompt per line"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("contaminated_prompts.jsonl"), metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("--words", type=int, default=8, metavar="N", help="words in an n-gram (default: %(default)s)")
    parser.add_argument(
        "--overlap",
        type=number,
        default=0.6,
        metavar="P",
        help="part of shared n-grams that makes a near-duplicate (default: %(default)s)",
    )
    parser.add_argument(
        "--similarity",
        type=number,
        default=0.9,
        metavar="C",
        help="cosine similarity that makes a near-duplicate (default: %(default)s); above 1 disables the search",
    )
    parser.add_argument(
        "--show", type=int, default=10, metavar="N", help="number of pairs to print (default: %(default)s)"
    )
    add_table_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    require("eval,faiss", "rich", *(["faiss"] if args.similarity <= 1 else []), purpose="contamination")

    from turnout.commands._terminal import cut
    from turnout.data import iter_prompts
    from turnout.data.writer import check_folder
    from turnout.evaluate.contamination import find_contamination, write_contaminated

    check_folder(args.out)
    bad = bad_rows(args)
    evaluated = [
        prompt for path in args.eval for chunk in iter_prompts(path, bad=bad, column=args.column) for prompt in chunk
    ]
    training = (chunk for path in args.train for chunk in iter_prompts(path, bad=bad, column=args.column))
    found = find_contamination(
        training,
        evaluated,
        words=args.words,
        overlap=args.overlap,
        similarity=args.similarity if args.similarity <= 1 else None,
    )
    write_contaminated(args.out, found)
    console = printable_console(soft_wrap=True, highlight=False)
    console.print(
        f"{len(found)} of {len(set(evaluated))} eval prompts have a near-duplicate in training data, listed in {args.out}"
    )
    for match in found[: args.show]:
        console.print(f"n-grams {match.overlap:.2f}, cosine {match.similarity:.2f}", markup=False)
        console.print(f"  eval   {cut(match.eval_prompt, 100)}", markup=False)
        console.print(f"  train  {cut(match.train_prompt, 100)}", markup=False)
    show_bad(bad)
    return 0
