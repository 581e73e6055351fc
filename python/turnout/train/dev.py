"""Dev metrics: APGR with a bootstrap interval, next to prompt length and to random routing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turnout.data import ModelAliases, Outcomes
from turnout.evaluate.baselines import length_win_rates
from turnout.evaluate.bootstrap import Estimate, interval, resample_counts
from turnout.evaluate.curves import Ranking
from turnout.evaluate.metrics import apgr

if TYPE_CHECKING:
    from rich.console import Console

    from turnout.train.config import MfConfig

RESAMPLES = 1000

#: Win rates of prompts.
WinRates = Callable[[Sequence[str]], NDArray[np.floating]]


@dataclass(frozen=True)
class DevResult:
    """One dev table.

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

    def as_json(self) -> dict[str, object]:
        """The result as plain values."""
        return asdict(self)


def pair_of(table: Outcomes, pairs: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The first pair of which the table has both models; else its best and its worst model by mean score."""
    aliases = ModelAliases()
    names = {aliases.canonical(model): model for model in table.scores}
    for strong, weak in pairs:
        if strong in names and weak in names:
            return names[strong], names[weak]
    ranked = sorted(table.scores, key=lambda model: float(np.nanmean(table.scores[model])))
    return ranked[-1], ranked[0]


def dev_result(table: Outcomes, win_rates: WinRates, pairs: Sequence[tuple[str, str]], seed: int) -> DevResult:
    """Judges a router on one table.

    Args:
        table: Scores of models.
        win_rates: The router.
        pairs: Pairs to look for, the best stand-in first; see :func:`pair_of`.
        seed: Seed of the bootstrap.
    """
    strong, weak = pair_of(table, pairs)
    table = table.with_scores_of((strong, weak))
    rankings = [
        Ranking(rates, table.scores[strong], table.scores[weak])
        for rates in (win_rates(table.prompts), length_win_rates(table.prompts))
    ]
    values = [float(_apgr(ranking)) for ranking in rankings]
    parts = [
        [_apgr(ranking, counts) for ranking in rankings] for counts in resample_counts(table.prompts, RESAMPLES, seed)
    ]
    router, length = (np.concatenate([part[place] for part in parts]) for place in range(2))
    return DevResult(
        table.name,
        len(table),
        strong,
        weak,
        interval(values[0], router),
        interval(values[1], length),
        interval(values[0] - values[1], router - length),
    )


def dev_results(tables: Sequence[Outcomes], win_rates: WinRates, config: MfConfig) -> list[DevResult]:
    """Judges a router on every table, on the pair of the config or the stand-ins that it names."""
    pairs = [(config.strong, config.weak), *config.dev_pairs]
    return [dev_result(table, win_rates, pairs, config.seed) for table in tables]


def show(results: Sequence[DevResult], console: Console) -> None:
    """Prints a table of results."""
    from rich.table import Table

    grid = Table("dev table", "rows", "pair", "APGR", "prompt length", "difference", "random")
    for r in results:
        grid.add_row(
            r.table,
            str(r.rows),
            f"{r.strong} / {r.weak}",
            *(_text(e) for e in (r.router, r.length, r.difference)),
            "0.500",
        )
    console.print(grid)


def _apgr(ranking: Ranking, counts: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    curve = ranking.curve(counts)
    return apgr(curve.shares, curve.quality, curve.weak, curve.strong)


def _text(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
