"""What routing saves on held-out prompts of every table: cost at the quality of the best single model, for profiles and every baseline.

    python -m recipes.pool.pools --data DATA --artifact python/turnout/artifacts/mf --out DIR

Predictors learn from the prompts of the table that are not held out. All may send every prompt to the single model that was best there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnout.data import Outcomes
from turnout.evaluate.bootstrap import Estimate, interval, resample_counts
from turnout.evaluate.pools.frontier import Choices, Figures, figures, singles, sweep
from turnout.pool.profiles import Doubles, Profiles
from turnout.profiles import predictors
from turnout.profiles.known import known_profiles
from turnout.profiles.predictors import Lessons, Predictor
from turnout.router import load

from .prices import price
from .tables import Pooled, read_pooled

#: Tokens of an answer, for want of lengths in the tables, and characters of a prompt's token.
ANSWER_TOKENS, CHARACTERS = 300.0, 4.0
RESAMPLES = 200
_CONSTANT = "means"
BASELINES: Mapping[str, Predictor] = {
    _CONSTANT: predictors.constant,
    "prompt length": predictors.by_length,
    "cohort table": predictors.by_cohort,
    "kNN": predictors.by_neighbors,
    "MLP": predictors.by_network,
}


@dataclass(frozen=True)
class PoolTable:
    """The models of a table that have prices, on its prompts.

    Attributes:
        name: Of the table.
        models: The models.
        seen: Prompts to learn from.
        held: Prompts to measure on, without missing scores.
        costs: Of the held-out prompts, dollars, float64 ``[prompts, models]``.
        best: Column of the model with the highest mean among the prompts to learn from.
        place: Rows of the held-out prompts among all prompts.
    """

    name: str
    models: list[str]
    seen: Lessons
    held: Lessons
    costs: Doubles
    best: int
    place: NDArray[np.int64]


def pool_table(tables: Pooled, table: Outcomes, place: NDArray[np.int64], embeddings: NDArray[np.float32]) -> PoolTable:
    """Prepares a table."""
    models = [model for model in table.scores if price(model) is not None]
    scores = np.stack([table.scores[model] for model in models], axis=1)
    lessons = Lessons(table.prompts, embeddings[place], scores)
    is_held = tables.is_held[place] & ~np.isnan(scores).any(axis=1)
    seen, held = lessons.rows(tables.is_fitted[place]), lessons.rows(is_held)
    tokens = np.array([len(prompt) for prompt in held.prompts])[:, None] / CHARACTERS
    prices = np.array([price(model) for model in models], dtype=np.float64)
    costs = (tokens * prices[:, 0] + ANSWER_TOKENS * prices[:, 1]) / 1e6
    means = np.nanmean(seen.scores, axis=0)
    return PoolTable(table.name, models, seen, held, costs, int(means.argmax()), place[is_held])


def measured(pool: PoolTable, methods: Mapping[str, Doubles], seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Figures of methods with 95 % intervals, and the difference of each one's cost to that of `profiles`.

    Args:
        pool: The table.
        methods: P(success) on its held-out prompts by each method, float64 ``[prompts, models]``.
        seed: Of the bootstrap.
    """
    scores, costs = pool.held.scores, pool.costs
    single = Choices(scores[:, pool.best][None], costs[:, pool.best][None])
    every = singles(scores, costs)
    choices = {name: sweep(success, costs, scores, costs) for name, success in methods.items()}
    choices["random"] = every
    choices["oracle"] = sweep(scores, costs, scores, costs)
    counts = np.concatenate(list(resample_counts(pool.held.prompts, RESAMPLES, seed)))
    once = np.ones((1, len(scores)), dtype=np.int64)
    found: dict[str, dict[str, Estimate]] = {}
    drawn: dict[str, tuple[Figures, Figures]] = {}
    for name, one in choices.items():
        with_single = one.and_single(single.scores[0], single.costs[0])
        drawn[name] = figures(with_single, single, every, once), figures(with_single, single, every, counts)
        values, samples = drawn[name]
        found[name] = {
            key: interval(float(getattr(values, key)[0]), getattr(samples, key))
            for key in ("cost", "quality", "aiq", "best")
        }
    ours = drawn.get("profiles")
    if ours is not None:
        for name, (values, samples) in drawn.items():
            difference = float((ours[0].cost - values.cost)[0])
            found[name]["difference"] = interval(difference, ours[1].cost - samples.cost)
    return found


def main() -> None:
    """Reads the arguments, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train, train2 and dev")
    parser.add_argument("--artifact", type=Path, required=True, help="an mf artifact with profiles")
    parser.add_argument("--out", type=Path, required=True, help="file for the figures, a .json")
    args = parser.parse_args()
    tables = read_pooled(args.data)
    router = load(args.artifact)
    embeddings = np.asarray(router.embed(tables.prompts), dtype=np.float32)
    known = known_profiles(router.path)
    found = {}
    for table, place in sorted(zip(tables.tables, tables.places, strict=True), key=lambda pair: pair[0].name):
        pool = pool_table(tables, table, place, embeddings)
        figures = measured(pool, methods_of(pool, known))
        found[table.name] = {"prompts": len(pool.held.prompts), "models": len(pool.models), "methods": figures}
        print(table.name, len(pool.held.prompts), len(pool.models), flush=True)
        for name, one in figures.items():
            print("   ", name, *(f"{key} {value}" for key, value in one.items()), flush=True)
        document = {name: {**one, "methods": _plain(one["methods"])} for name, one in found.items()}
        args.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def methods_of(pool: PoolTable, known: Profiles) -> dict[str, Doubles]:
    """P(success) on the held-out prompts by every method; models without a profile have their mean."""
    chances = {name: predict(pool.seen, pool.held.prompts, pool.held.embeddings) for name, predict in BASELINES.items()}
    ours = chances[_CONSTANT].copy()
    success = known.success(pool.held.embeddings)
    for column, model in enumerate(pool.models):
        if model in known.names:
            ours[:, column] = success[:, known.names.index(model)]
    return {"profiles": ours, **chances}


def _plain(methods: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict[str, list[float | None]]]:
    return {
        name: {
            key: [None if np.isnan(number) else round(number, 4) for number in (one.value, one.low, one.high)]
            for key, one in figures.items()
        }
        for name, figures in methods.items()
    }


if __name__ == "__main__":
    main()
