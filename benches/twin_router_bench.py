"""TwinRouterBench's static track: 970 prefixes of agents' work, each with the cheapest tier that suffices. https://github.com/CommonstackAI/TwinRouterBench

python benches/twin_router_bench.py question_bank.jsonl [--router mf] [--share 0.2 0.5] [--weak low]

The file is the benchmark's ``data/static/question_bank.jsonl``, which is not part of this repository: a JSON object a line with ``id``, ``benchmark``,
``instance_id``, ``step_index``, ``messages`` (as in Chat Completions) and ``target_tier``, one of low, mid, mid_high and high. The strong model of a pair stands
for the tier high, the weak one for another tier. What is judged is what the server judges: the user's task, and one decision for each of its turns.

Reported are the benchmark's own rates: rows that go to at least the target tier (pass), to exactly it, and trajectories of which every row passes; beside them
the share of strong rows, and of the rows of trajectories with several steps, changes of the tier within a turn of the user.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import turnout
from turnout.conversation import is_new_turn, prompt_of
from turnout.conversation.harness import Harness

TIERS = ("low", "mid", "mid_high", "high")
HARNESS = Harness()


class Row(NamedTuple):
    """One prefix."""

    benchmark: str
    #: Of the agent's work that it belongs to.
    trajectory: str
    step: int
    #: What is judged.
    prompt: str
    #: Whether the user has just spoken; else a loop of tools goes on.
    begins_turn: bool
    #: Number of the tier that suffices.
    target: int


def read(path: Path) -> list[Row]:
    """The rows in the order of their steps.

    Raises:
        ValueError: A line has not the fields of the format; the message has its number.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            messages = found["messages"]
            rows.append(
                Row(
                    found["benchmark"],
                    found.get("instance_id") or found["id"],
                    found.get("step_index", 1),
                    prompt_of(messages, "last_user", HARNESS),
                    is_new_turn(messages, HARNESS),
                    TIERS.index(found["target_tier"]),
                )
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: line {number}: {type(error).__name__}: {error}") from error
    return sorted(rows, key=lambda row: (row.benchmark, row.trajectory, row.step))


def tiers(rows: Iterable[Row], is_strong: dict[str, bool], weak: int) -> list[int]:
    """The tier of each row: that of the turn's first step within it.

    Args:
        rows: In order.
        is_strong: Decisions by prompt.
        weak: Tier of the weak model.
    """
    found: list[int] = []
    before: tuple[str, str] | None = None
    for row in rows:
        turn = (row.trajectory, row.prompt)
        goes_on = turn == before and not row.begins_turn
        found.append(found[-1] if goes_on else len(TIERS) - 1 if is_strong[row.prompt] else weak)
        before = turn
    return found


def rates(rows: list[Row], chosen: list[int]) -> dict[str, Any]:
    """The benchmark's rates."""
    trajectories: dict[str, list[bool]] = defaultdict(list)
    switches = 0
    for index, (row, tier) in enumerate(zip(rows, chosen, strict=True)):
        trajectories[row.trajectory].append(tier >= row.target)
        is_same_turn = index and rows[index - 1][1:2] + rows[index - 1][3:4] == row[1:2] + row[3:4]
        switches += bool(is_same_turn and not row.begins_turn and chosen[index - 1] != tier)
    passed = [all(one) for one in trajectories.values()]
    return {
        "rows": len(rows),
        "strong_share": round(sum(tier == len(TIERS) - 1 for tier in chosen) / len(rows), 3),
        "pass": round(sum(tier >= row.target for row, tier in zip(rows, chosen, strict=True)) / len(rows), 3),
        "exact": round(sum(tier == row.target for row, tier in zip(rows, chosen, strict=True)) / len(rows), 3),
        "trajectory_pass": round(sum(passed) / len(passed), 3),
        "switches_within_turns": switches,
    }


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question_bank", type=Path)
    parser.add_argument("--router", default="mf", help="name or folder of a router")
    parser.add_argument("--share", type=float, nargs="+", default=[0.2, 0.5, 0.8], help="of strong decisions")
    parser.add_argument("--weak", choices=TIERS[:-1], default="low", help="tier that the weak model stands for")
    args = parser.parse_args()
    rows = read(args.question_bank)
    weak = TIERS.index(args.weak)
    print(json.dumps(measure(rows, args.router, args.share, weak), indent=1))


def measure(rows: list[Row], router: str, shares: list[float], weak: int) -> dict[str, Any]:
    """Rates at shares of strong decisions, beside those of the two models alone."""
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    win_rates = dict(zip(prompts, turnout.load(router).win_rates(prompts), strict=True))
    found = {
        "always strong": rates(rows, [len(TIERS) - 1] * len(rows)),
        "always weak": rates(rows, [weak] * len(rows)),
    }
    ordered = sorted(win_rates.values(), reverse=True)
    for share in shares:
        # The share is of these prompts: their distribution is not that of the router's calibration.
        threshold = ordered[min(int(share * len(ordered)), len(ordered) - 1)]
        is_strong = {prompt: rate > threshold for prompt, rate in win_rates.items()}
        found[f"{router}, {share:g} of the prompts"] = rates(rows, tiers(rows, is_strong, weak))
    return found


if __name__ == "__main__":
    main()
