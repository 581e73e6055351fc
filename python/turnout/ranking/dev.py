"""Scores on tables of outcomes, beside the length of the prompt."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from turnout.data import ModelAliases, Outcomes
from turnout.evaluate.baselines import LENGTH
from turnout.evaluate.bootstrap import Estimate
from turnout.evaluate.evaluation import Options, evaluate
from turnout.evaluate.win_rates import WinRates

#: Pairs to look for in a table, the best stand-in first; else its best and its worst model.
PAIRS = (
    ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"),
    ("gpt-4-turbo-2024-04-09", "mixtral-8x7b-instruct-v0.1"),
    ("gpt-4-turbo-2024-04-09", "gpt-3.5-turbo-0125"),
)


@dataclass(frozen=True)
class DevScore:
    """APGR on one table, with 95 % intervals over prompts; random routing has 0.5.

    Attributes:
        table: Its name.
        rows: Its rows.
        strong: Strong model that is judged here.
        weak: Weak model.
        router: The router's.
        length: That of the number of characters.
        difference: Router less length, on the same resamples.
    """

    table: str
    rows: int
    strong: str
    weak: str
    router: Estimate
    length: Estimate
    difference: Estimate

    @classmethod
    def of(cls, table: Outcomes, router: WinRates) -> DevScore:
        """Judges a router."""
        strong, weak = pair_of(table)
        found = evaluate(table, {"router": router}, Options(strong=strong, weak=weak))
        own, length = (found.routers[name].figures["apgr"] for name in ("router", LENGTH))
        difference = next(one.apgr for one in found.differences if (one.first, one.second) == ("router", LENGTH))
        return cls(found.table, found.prompts, found.strong, found.weak, own, length, difference)

    def to_json(self) -> dict[str, Any]:
        """The score as plain values."""
        return asdict(self)


def pair_of(table: Outcomes) -> tuple[str, str]:
    """The first of :data:`PAIRS` of which the table has both models; else its best and its worst by mean score."""
    import numpy as np

    aliases = ModelAliases()
    names = {aliases.canonical(model): model for model in table.scores}
    for strong, weak in PAIRS:
        if strong in names and weak in names:
            return names[strong], names[weak]
    ranked = sorted(table.scores, key=lambda model: float(np.nanmean(table.scores[model])))
    return ranked[-1], ranked[0]
