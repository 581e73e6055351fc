"""One measurement of every table: the arguments, the tables with their embeddings, and the file of figures that they have in common."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.data import Outcomes
from turnout.pool.profiles import Doubles, Profiles
from turnout.profiles.known import known_profiles
from turnout.profiles.predictors import ScoredPrompts
from turnout.router import load

from .prices import price
from .tables import read_pooled

#: Tokens of an answer, for want of lengths in the tables, and characters of a prompt's token.
ANSWER_TOKENS, CHARACTERS = 300.0, 4.0
#: Part of a table's prompts on which a model may lack a score. Only prompts with a score of each model are measured, so a model of half of them
#: would leave few of the prompts, and not any.
MAX_MISSING = 0.1


@dataclass(frozen=True)
class PoolTable:
    """The models of a table that have prices, on its prompts.

    Attributes:
        name: Of the table.
        models: The models.
        outcomes: All prompts.
        costs: Dollars, float64 ``[prompts, models]``.
        best: Column of the model with the highest mean.
    """

    name: str
    models: list[str]
    outcomes: ScoredPrompts
    costs: Doubles
    best: int

    def rows(self, keep: NDArray[np.bool_]) -> PoolTable:
        """Some of the prompts."""
        return replace(self, outcomes=self.outcomes.rows(keep), costs=self.costs[keep])


def pool_table(table: Outcomes, embeddings: NDArray[np.float32]) -> PoolTable:
    """Prepares a table."""
    models = [
        model
        for model, scores in table.scores.items()
        if price(model) is not None and np.isnan(scores).mean() <= MAX_MISSING
    ]
    scores = np.stack([table.scores[model] for model in models], axis=1)
    tokens = np.array([len(prompt) for prompt in table.prompts])[:, None] / CHARACTERS
    prices = np.array([price(model) for model in models], dtype=np.float64)
    costs = (tokens * prices[:, 0] + ANSWER_TOKENS * prices[:, 1]) / 1e6
    outcomes = ScoredPrompts(table.prompts, embeddings, scores)
    return PoolTable(table.name, models, outcomes, costs, int(np.nanmean(scores, axis=0).argmax()))


@dataclass(frozen=True)
class Measured:
    """What is measured.

    Attributes:
        pool: A table.
        is_held: Whether prompts were held out when the shipped profiles were fitted, bool ``[prompts]``.
        known: The profiles of the artifact.
    """

    pool: PoolTable
    is_held: NDArray[np.bool_]
    known: Profiles

    @property
    def held(self) -> PoolTable:
        """The prompts that were held out."""
        return self.pool.rows(self.is_held)


def measure_each(description: str, measure: Callable[[Measured], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Reads the command line, measures table after table, the smallest first, and writes the figures after each.

    Args:
        description: Of the command.
        measure: Gives the figures of a table, and prints what is to be seen of them.

    Returns:
        Figures by table.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train, train2 and dev")
    parser.add_argument("--artifact", type=Path, required=True, help="an mf artifact with profiles")
    parser.add_argument("--out", type=Path, required=True, help="file for the figures, a .json")
    parser.add_argument("--tables", nargs="+", metavar="NAME", help="measure these alone")
    args = parser.parse_args()
    tables = read_pooled(args.data)
    router = load(args.artifact)
    embeddings = np.asarray(router.embed(tables.prompts), dtype=np.float32)
    known = known_profiles(router.path)
    found: dict[str, dict[str, Any]] = {}
    for table, place in sorted(zip(tables.tables, tables.places, strict=True), key=lambda pair: len(pair[1])):
        if args.tables and table.name not in args.tables:
            continue
        pool = pool_table(table, embeddings[place])
        found[table.name] = measure(Measured(pool, tables.is_held[place], known))
        args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found
