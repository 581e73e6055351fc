"""``turnout augment gold | judge``: more battles to train on."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout.commands._tables import add_table_options, bad_rows, show_bad
from turnout.extras import require
from turnout.terminal import echo, printable_console

if TYPE_CHECKING:
    from turnout.augment import ChatClient, Endpoint, JudgeOptions, Ledger, Summary
    from turnout.data import Battles

#: Exit code of a run that left prompts without a battle.
EXIT_INCOMPLETE = 1
#: Default variable; it may be unset, because local servers need no key.
_KEY_VARIABLE = "OPENAI_API_KEY"
_TEXT = "jsonl, csv, tsv or parquet file; `turnout train` takes it under --battles"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "augment", help="create battles for training, from graded answers or with a judge model"
    )
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    gold = kinds.add_parser("gold", help="create battles of a pair from a table of graded answers")
    gold.add_argument(
        "--table",
        type=Path,
        required=True,
        metavar="TABLE",
        help="a column `prompt` and a column of scores for each model",
    )
    gold.add_argument("--strong", required=True, metavar="MODEL", help="strong model, a column of the table")
    gold.add_argument("--weak", required=True, metavar="MODEL", help="weak model, a column of the table")
    gold.add_argument("--out", type=Path, required=True, metavar="FILE", help=_TEXT)
    add_table_options(gold)
    gold.set_defaults(run=run_gold)

    judge = kinds.add_parser(
        "judge",
        help="create battles with a judge model that compares the answers of both models",
        description="Asks an OpenAI-compatible endpoint: both models answer each prompt, the judge compares the answers in both "
        "orders, and only a winner of both wins. Every answer is kept in OUT.ledger as it arrives, so the same command goes on "
        "after a crash; only requests that were under way then are asked again. Needs `pip install 'turnout[eval]'`.",
    )
    judge.add_argument(
        "--prompts", type=Path, required=True, metavar="FILE", help="a table, or a text file with one prompt per line"
    )
    add_table_options(judge)
    for who in ("strong", "weak", "judge"):
        judge.add_argument(f"--{who}", required=True, metavar="MODEL", help="its name at the endpoint")
        judge.add_argument(f"--{who}-url", metavar="URL", help="its endpoint; default: --base-url")
        judge.add_argument(
            f"--{who}-key-variable",
            metavar="NAME",
            help="environment variable with its key (default: that of --key-variable at the origin of --base-url, else no key)",
        )
        judge.add_argument(
            f"--{who}-price", type=_price, metavar="IN,OUT", help="dollars per million tokens sent and received"
        )
    judge.add_argument(
        "--base-url", default="https://api.openai.com/v1", metavar="URL", help="endpoint (default: %(default)s)"
    )
    judge.add_argument(
        "--key-variable",
        default=_KEY_VARIABLE,
        metavar="NAME",
        help="environment variable with the key for the origin of --base-url (default: %(default)s)",
    )
    judge.add_argument(
        "--answer-tokens",
        type=_count,
        default=1024,
        metavar="N",
        help="largest number of tokens of an answer (default: %(default)s)",
    )
    judge.add_argument(
        "--verdict-tokens",
        type=_count,
        default=400,
        metavar="N",
        help="largest number of tokens of a verdict (default: %(default)s)",
    )
    judge.add_argument(
        "--reasoning",
        nargs="+",
        choices=["strong", "weak", "judge"],
        default=[],
        metavar="WHO",
        help="which of strong, weak and judge take `max_completion_tokens` in place of `max_tokens` and no `temperature`, as "
        "OpenAI's reasoning models do; what they think counts towards the limits",
    )
    judge.add_argument(
        "--budget", type=_dollars, metavar="DOLLARS", help="largest total cost over all runs; needs the prices"
    )
    judge.add_argument(
        "--concurrency",
        type=_count,
        default=8,
        metavar="N",
        help="largest number of requests in flight (default: %(default)s)",
    )
    judge.add_argument(
        "--requests-per-minute", type=_dollars, metavar="N", help="largest number of requests per minute"
    )
    judge.add_argument(
        "--retries", type=_whole, default=5, metavar="N", help="number of retries of a request (default: %(default)s)"
    )
    judge.add_argument(
        "--timeout-s",
        type=_dollars,
        default=120.0,
        metavar="S",
        help="timeout of an attempt in seconds (default: %(default)s)",
    )
    judge.add_argument(
        "--dry-run", action="store_true", help="print the number of requests and their cost, and send nothing"
    )
    judge.add_argument("--out", type=Path, required=True, metavar="FILE", help=_TEXT)
    judge.set_defaults(run=run_judge)


def _price(text: str) -> tuple[float, float]:
    try:
        prompt, completion = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected two numbers such as 2.5,10") from None
    if not 0 <= prompt < float("inf") or not 0 <= completion < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}, expected prices that are not negative")
    return prompt, completion


def _dollars(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number") from None
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}, expected a number above 0")
    return number


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}, expected a whole number above 0")
    return int(text)


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}, expected 0 or a whole number above")
    return int(text)


def run_gold(args: argparse.Namespace) -> int:
    """Runs ``augment gold``."""
    from turnout.augment.battle_table import refuse_loss, write_battles
    from turnout.augment.gold import gold_battles
    from turnout.data import read_outcomes
    from turnout.data.writer import check_output

    check_output(args.out, reads={"--table": args.table})
    source = f"gold {args.table.name}"
    refuse_loss(args.out, args.strong, args.weak, source)
    bad = bad_rows(args)
    battles = gold_battles(read_outcomes(args.table, bad=bad, column=args.column), args.strong, args.weak)
    write_battles(battles, args.out, source)
    show_bad(bad)
    echo(f"wrote {args.out}: {_counts(battles)}")
    return 0


def run_judge(args: argparse.Namespace) -> int:
    """Runs ``augment judge``."""
    import asyncio

    import turnout

    require("eval", "openai", "rich", purpose="augment judge")

    from turnout.augment import Budget, ChatClient, JudgeOptions, Ledger
    from turnout.augment.battle_table import refuse_loss, write_battles
    from turnout.augment.estimate import estimate
    from turnout.data import iter_prompts
    from turnout.data.writer import check_output

    check_output(args.out, reads={"--prompts": args.prompts})
    if args.strong == args.weak:
        raise turnout.ConfigError(f"--strong and --weak are both {args.strong!r}, expected two models")

    endpoints = {who: _endpoint(args, who) for who in ("strong", "weak", "judge")}
    options = JudgeOptions(**endpoints)
    unpriced = [who for who in ("strong", "weak", "judge") if getattr(args, f"{who}_price") is None]
    if args.budget is not None and unpriced:
        needed = ", ".join(f"--{who}-price" for who in unpriced)
        raise turnout.ConfigError(f"--budget needs the prices of tokens: {needed}")
    bad = bad_rows(args)
    prompts = [
        prompt
        for chunk in iter_prompts(args.prompts, bad=bad, column=args.column)
        for prompt in chunk
        if prompt.strip()
    ]
    source = f"judge {args.judge}"
    refuse_loss(args.out, args.strong, args.weak, source, set(prompts))
    # Names of files and words of endpoints are shown as they are, on one line each.
    console = printable_console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if keyless := [
        who for who, endpoint in endpoints.items() if endpoint.key_variable is None and endpoint.authorization() is None
    ]:
        variables = ", ".join(f"--{who}-key-variable" for who in keyless)
        console.print(
            f"no key is sent for {', '.join(keyless)}: another origin than --base-url; give it one with {variables}"
        )
    show_bad(bad)
    ledger = Ledger(args.out.with_name(args.out.name + ".ledger"), read_only=args.dry_run)
    try:
        if ledger.unsettled:
            console.print(f"{ledger.unsettled} requests of an interrupted run count with their maximum cost")
        console.print(_estimate_text(estimate(ledger, options, prompts), ledger))
        if args.dry_run:
            return 0
        client_options = {
            "concurrency": args.concurrency,
            "requests_per_minute": args.requests_per_minute,
            "timeout_s": args.timeout_s,
            "retries": args.retries,
        }
        budget = Budget(args.budget, ledger.spent())
        battles, summary = asyncio.run(
            _ask(lambda: ChatClient(ledger, budget, **client_options), options, prompts, console)
        )
        if len(battles):
            write_battles(battles, args.out, source)
            console.print(f"wrote {args.out}: {_counts(battles)}")
    finally:
        ledger.close()
    return _report(summary, battles, unpriced, console)


def _endpoint(args: argparse.Namespace, who: str) -> Endpoint:
    """The endpoint of a model, with the key for its origin."""
    import turnout
    from turnout.augment import Endpoint, Price

    price, own_key = getattr(args, f"{who}_price"), getattr(args, f"{who}_key_variable")
    common = Endpoint("", args.base_url)
    endpoint = Endpoint(
        getattr(args, who),
        getattr(args, f"{who}_url") or args.base_url,
        None if price is None else Price(*price),
        args.verdict_tokens if who == "judge" else args.answer_tokens,
        reasoning=who in args.reasoning,
    )
    shared = args.key_variable if endpoint.origin == common.origin else None
    endpoint = replace(endpoint, key_variable=own_key or shared)
    # A key that is missing, or that no header can hold, is an error before any request is sent.
    named = own_key or (shared if shared != _KEY_VARIABLE else None)
    if named and endpoint.authorization() is None:
        option = f"--{who}-key-variable" if own_key else "--key-variable"
        raise turnout.ConfigError(
            f"{option} {named}: expected a key in the environment, found no variable of this name"
        )
    return endpoint


async def _ask(client_of: Any, options: JudgeOptions, prompts: list[str], console: Any) -> tuple[Battles, Summary]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from turnout.augment.judge import judge_battles

    client: ChatClient = client_of()
    columns = (
        TextColumn("judging"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("${task.fields[spent]:.4f}"),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console) as bars:
            task = bars.add_task("judging", total=len(prompts), spent=client.budget.spent)

            def show(done: int, total: int, spent: float) -> None:
                bars.update(task, completed=done, total=total, spent=spent)

            return await judge_battles(client, options, prompts, show)
    finally:
        await client.close()


def _counts(battles: Battles) -> str:
    won, tied = int((battles.outcome == 1).sum()), int((battles.outcome == 0.5).sum())
    return (
        f"{len(battles)} battles, {won} won by the strong model, {tied} ties, {len(battles) - won - tied} by the weak"
    )


def _estimate_text(estimate: Any, ledger: Ledger) -> str:
    text = f"{estimate.requests} requests to send, {estimate.paid} stored answers (${ledger.spent():.4f} spent)"
    if estimate.dollars is None:
        return text + "; no cost estimate without --strong-price, --weak-price and --judge-price"
    return text + f"; about ${estimate.dollars:.4f}, at most ${estimate.most_dollars:.4f}"


def _report(summary: Summary, battles: Battles, unpriced: list[str], console: Any) -> int:
    limits = "; raise --answer-tokens or --verdict-tokens"
    for fault, count in summary.faults.items():
        console.print(f"{count} prompts without a battle: {fault.value}{limits if fault.name == 'CUT' else ''}")
    if summary.undecided:
        console.print(f"{summary.undecided} prompts without a battle: the judge gave no verdict")
    if summary.failed:
        console.print(f"{len(summary.failed)} prompts failed, the first with: {summary.failed[0]}")
    if summary.unasked:
        console.print(
            f"{summary.unasked} prompts not started: a model refuses every request; fix that and run the command again"
        )
    if summary.unpaid:
        console.print(f"{summary.unpaid} prompts left because of the budget; run again with a higher --budget")
    unknown = f", without {', '.join(unpriced)}: no price was given" if unpriced else ""
    console.print(f"${summary.dollars:.4f} spent so far{unknown}")
    if summary.failed or summary.unpaid or summary.undecided or summary.faults or not len(battles):
        return EXIT_INCOMPLETE
    return 0
