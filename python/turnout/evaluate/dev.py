"""Dev scores, as model cards give them: APGR with a bootstrap interval, next to prompt length; random routing has 0.5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turnout.data import ModelAliases, Outcomes
from turnout.evaluate.baselines import LENGTH
from turnout.evaluate.bootstrap import Estimate
from turnout.evaluate.evaluation import Options, evaluate
from turnout.terminal import grid

if TYPE_CHECKING:
    from rich.console import Console

#: Pairs to evaluate on tables that lack the router's pair, in order of preference.
PROXY_PAIRS = (
    ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"),
    ("gpt-4-turbo-2024-04-09", "mixtral-8x7b-instruct-v0.1"),
    ("gpt-4-turbo-2024-04-09", "gpt-3.5-turbo-0125"),
)

#: Win rates of prompts.
Scorer = Callable[[Sequence[str]], NDArray[Any]]


@dataclass(frozen=True)
class DevResult:
    """One dev table, with 95 % intervals over prompts.

    Attributes:
        table: Its name.
        rows: Its rows.
        strong: Strong model of the pair that is judged here.
        weak: Weak model of it.
        router: APGR of the router.
        length: APGR of the number of characters.
        difference: Router less length, on the same resamples.
    """

    table: str
    rows: int
    strong: str
    weak: str
    router: Estimate
    length: Estimate
    difference: Estimate

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class _Scored:
    """Win rates as :func:`turnout.evaluate.evaluate` takes them."""

    win_rates: Scorer
    strong: str
    weak: str
    threshold: float = 0.5


def pair_of(table: Outcomes, pairs: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The first pair of which the table has both models; else its best and its worst model by mean score."""
    aliases = ModelAliases()
    names = {aliases.canonical(model): model for model in table.scores}
    for strong, weak in pairs:
        if strong in names and weak in names:
            return names[strong], names[weak]
    ranked = sorted(table.scores, key=lambda model: float(np.nanmean(table.scores[model])))
    return ranked[-1], ranked[0]


def dev_result(table: Outcomes, scorer: Scorer, pairs: Sequence[tuple[str, str]], seed: int = 0) -> DevResult:
    """Judges win rates on one table.

    Args:
        table: Scores of models.
        scorer: Gives the win rates of prompts.
        pairs: Pairs to look for, the router's own first; see :func:`pair_of`.
        seed: Seed of the bootstrap.
    """
    strong, weak = pair_of(table, pairs)
    found = evaluate(table, {"router": _Scored(scorer, strong, weak)}, Options(seed=seed))
    router, length = (found.routers[name].figures["apgr"] for name in ("router", LENGTH))
    difference = next(one.apgr for one in found.differences if (one.first, one.second) == ("router", LENGTH))
    return DevResult(found.table, found.prompts, found.strong, found.weak, router, length, difference)


def dev_results(tables: Sequence[Outcomes], scorer: Scorer, pair: tuple[str, str], seed: int = 0) -> list[DevResult]:
    """Evaluates win rates on every table, for the router's pair or the first substitute pair in the table.

    Args:
        tables: Scores of models.
        scorer: Gives the win rates of prompts.
        pair: The router's strong and weak model.
        seed: Seed of the bootstrap.
    """
    return [dev_result(table, scorer, [pair, *PROXY_PAIRS], seed) for table in tables]


def show(results: Sequence[DevResult], console: Console) -> None:
    """Prints a table of results."""
    table = grid("dev table", "rows", "pair", "APGR", "prompt length", "difference", "random")
    for r in results:
        estimates = (str(one) for one in (r.router, r.length, r.difference))
        table.add_row(r.table, str(r.rows), f"{r.strong} / {r.weak}", *estimates, "0.500")
    console.print(table)
