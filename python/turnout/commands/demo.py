"""``turnout demo``: some twenty prompts through the router, with what was decided and how long it took."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from turnout.commands._options import add_router_options, load_router
from turnout.commands._terminal import colour, cut, pad

if TYPE_CHECKING:
    import turnout

INCIDENT = """\
Below is the log of last night's incident. Write a blameless post-mortem for engineers and a summary of three sentences for
customers, then list the five most valuable follow-ups in order, each with an owner and an estimate.
23:02 the deploy of billing 4.18 reaches the first of three regions; error rate 0.02 %, as before.
23:09 the canary's p99 rises from 180 ms to 240 ms; the alarm stands at 250 ms and stays silent.
23:15 the second region is deployed. The new version reads invoices by an index that exists on the primary only.
23:21 replicas in the second region reach 100 % CPU; reads time out after two seconds and are retried three times.
23:24 the retry storm saturates the connection pool of the primary; writes fail with "too many clients already".
23:26 two pages go out, one for checkout and one for billing; each team opens a bridge and does not know of the other.
23:31 checkout turns off recommendations to shed load, which helps nothing, as they read from another cluster.
23:38 billing starts a rollback; it waits for the migration lock of the index build, and nobody can see that it waits.
23:52 a database engineer joins both bridges, kills the index build and raises the connection limit.
23:54 writes recover. 00:10 the rollback completes.
00:30 the count: 1,812 payments were tried twice, 37 customers were charged twice, all were refunded by 02:30.
00:40 the incident is closed. Open questions: why did staging not show it, why did the canary compare with a fixed limit
and not with the old version, why do retries have no budget, and why does the runbook for billing not name the primary's
owners?"""

#: Written for this demo: small talk, facts, maths, code, law, other languages, and one long text.
PROMPTS: tuple[str, ...] = (
    "Hi there! How are you today?",
    "What is the capital of Portugal?",
    "Give me three dinner ideas with chickpeas and spinach.",
    "Rewrite this more politely: I need the report now.",
    "What is 17 * 23?",
    "A train leaves at 14:05 and arrives at 16:50 after two stops of 7 minutes each. How long was it moving?",
    "Prove that there are infinitely many primes of the form 4k + 3.",
    "Let f be continuous on [0, 1] with f(0) = f(1). Show that some x has f(x) = f(x + 1/3).",
    "Write a Python function that reverses a string.",
    'Why does the borrow checker refuse this, and what is the fix? let r; { let s = String::from("a"); r = &s; } dbg!(r);',
    "Implement a lock-free bounded queue for many producers and one consumer in C++, and argue why its orderings suffice.",
    "SELECT the second highest salary per department without window functions, and say how it behaves with ties.",
    "Under the GDPR, may a processor based in Brazil appoint a sub-processor in India without telling the controller?",
    "A tenant stops paying after six winter weeks without heating. Which defences does she have in New York?",
    "A 54-year-old has fatigue, a ferritin of 6 and a normal haemoglobin. What should be ruled out first, and why?",
    "请用三句话解释什么是量子纠缠，并举一个生活中的比喻。",
    "证明：对任意正整数 n，n^3 - n 都能被 6 整除。",
    "¿Qué ingredientes lleva una tortilla de patatas?",
    "Compara las causas económicas y sociales de la Revolución mexicana con las de la Revolución rusa.",
    INCIDENT,
)

#: Calls per prompt whose median the table shows.
CALLS_PER_PROMPT = 21
PROMPT_COLUMNS = 58


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser("demo", help="route some twenty prompts and tell how long a decision takes")
    parser.add_argument(
        "--decisions", type=int, default=10_000, metavar="N", help="decisions for p50 and p99 (default: 10000)"
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
    rows = [colour(head, 1), "-" * len(head)]
    for prompt in prompts:
        decision = router.route(prompt)
        us = percentile(nanoseconds(router.route, [prompt], CALLS_PER_PROMPT), 0.5)
        model = colour(pad(decision.model, columns), 33 if decision.is_strong else 32)
        text = pad(cut(prompt, PROMPT_COLUMNS), PROMPT_COLUMNS)
        rows.append(f"{text}  {model}  {decision.win_rate:8.3f}  {decision.threshold:9.3g}  {us:7.1f}")
    return rows


def run(args: argparse.Namespace) -> int:
    """Does it."""
    from turnout import ConfigError

    if args.decisions < 1:
        raise ConfigError(f"--decisions is {args.decisions}, expected 1 or more")
    began = time.perf_counter()
    router = load_router(args)
    loaded = (time.perf_counter() - began) * 1000
    print(f"{router!r}, loaded in {loaded:.0f} ms\n")
    print("\n".join(table(router)))
    times = nanoseconds(router.route, PROMPTS, args.decisions)
    p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
    strong = sum(router.route(prompt).is_strong for prompt in PROMPTS)
    print(f"\n{strong} of {len(PROMPTS)} prompts go to {router.strong} at threshold {router.threshold:g}.")
    print(
        f"{args.decisions:,} decisions, one call each, these prompts in turn: "
        + colour(f"p50 {p50:.1f} us, p99 {p99:.1f} us", 1)
        + f" ({sys.implementation.name} {sys.version.split()[0]}, engine {router.engine} on {router.device})"
    )
    return 0
