"""``turnout demo``: some twenty prompts through the router, with what was decided and how long it took."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from turnout.commands._options import add_router_options, load_router
from turnout.commands._terminal import color, cut, pad
from turnout.sample_prompts import PROMPTS
from turnout.terminal import echo

if TYPE_CHECKING:
    import turnout

#: Calls per prompt whose median the table shows.
CALLS_PER_PROMPT = 21
PROMPT_COLUMNS = 58


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser("demo", help="route twenty prompts and show the time of a decision")
    parser.add_argument(
        "--decisions",
        type=int,
        default=10_000,
        metavar="N",
        help="number of decisions for p50 and p99 (default: 10000)",
    )
    add_router_options(parser)
    parser.set_defaults(run=run)


def nanoseconds(decide: Callable[[str], object], prompts: Sequence[str], calls: int) -> list[int]:
    """Times of single calls, the prompts taken in turn. The clock itself costs some 50 ns, which are included."""
    clock = time.perf_counter_ns
    times = []
    for call in range(calls):
        prompt = prompts[call % len(prompts)]
        began = clock()
        decide(prompt)
        times.append(clock() - began)
    return times


def percentile(times: Sequence[int], share: float) -> float:
    """The time in microseconds below which a share of the calls stayed (nearest rank).

    Example:
        >>> percentile([1000, 2000, 3000, 4000], 0.5)
        2.0
    """
    rank = max(-(-len(times) * share // 1), 1)
    return sorted(times)[int(rank) - 1] / 1000


def table(router: turnout.Router, prompts: Sequence[str] = PROMPTS) -> list[str]:
    """The table: prompt, model, win rate, threshold, microseconds (median of 21 calls)."""
    columns = max(len(router.strong), len(router.weak))
    head = f"{pad('prompt', PROMPT_COLUMNS)}  {pad('model', columns)}  win rate  threshold       us"
    rows = [color(head, 1), "-" * len(head)]
    for prompt in prompts:
        decision = router.route(prompt)
        us = percentile(nanoseconds(router.route, [prompt], CALLS_PER_PROMPT), 0.5)
        model = color(pad(decision.model, columns), 33 if decision.is_strong else 32)
        text = pad(cut(prompt, PROMPT_COLUMNS), PROMPT_COLUMNS)
        rows.append(f"{text}  {model}  {decision.win_rate:8.3f}  {decision.threshold:9.3g}  {us:7.1f}")
    return rows


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from turnout import ConfigError

    if args.decisions < 1:
        raise ConfigError(f"--decisions is {args.decisions}, expected 1 or more")
    began = time.perf_counter()
    router = load_router(args)
    loaded = (time.perf_counter() - began) * 1000
    echo(f"{router!r}, loaded in {loaded:.0f} ms\n")
    echo("\n".join(table(router)))
    times = nanoseconds(router.route, PROMPTS, args.decisions)
    p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
    strong = sum(router.route(prompt).is_strong for prompt in PROMPTS)
    echo(f"\n{strong} of {len(PROMPTS)} prompts go to {router.strong} at threshold {router.threshold:g}.")
    echo(
        f"{args.decisions:,} decisions, one call each, over these prompts: "
        + color(f"p50 {p50:.1f} us, p99 {p99:.1f} us", 1)
        + f" ({sys.implementation.name} {sys.version.split()[0]}, engine {router.engine} on {router.device})"
    )
    return 0
