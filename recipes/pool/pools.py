"""What routing saves on every table: cost at the quality of the best single model, for `train pool`, the shipped profiles and every baseline.

    python -m recipes.pool.pools --data DATA --artifact python/turnout/artifacts/mf --out pools.json

Each prompt is decided by what was learned from the other folds of its table; prompts that differ in numbers, case and punctuation are in one fold.
All methods read the same embedding, and all may send every prompt to the single model that is best on the whole table. The shipped profiles learned
from most of these prompts, so they are measured on the held-out ones alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.data import Outcomes
from turnout.evaluate.bootstrap import Estimate, interval, resample_counts
from turnout.evaluate.pools.frontier import Choices, Figures, figures, singles, sweep
from turnout.pool.profiles import Doubles, Profiles
from turnout.profiles import predictors
from turnout.profiles.known import known_profiles
from turnout.profiles.own import OUTER, candidates
from turnout.profiles.predictors import Predictor, ScoredPrompts, out_of_fold
from turnout.router import load
from turnout.training.own_pool import left_out

from .prices import price
from .tables import read_pooled

#: Tokens of an answer, for want of lengths in the tables, and characters of a prompt's token.
ANSWER_TOKENS, CHARACTERS = 300.0, 4.0
RESAMPLES = 200
#: Part of a table's prompts on which a model may lack a score. Only prompts with a score of each model are measured, so a model of half of them
#: would leave few of the prompts, and not any.
MAX_MISSING = 0.1
TRAINED, SHIPPED = "train pool", "shipped profiles"
BASELINES: Mapping[str, Predictor] = {
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


def measured(
    pool: PoolTable, methods: Mapping[str, Doubles], ours: str, seed: int = 0
) -> dict[str, dict[str, Estimate]]:
    """Figures of methods with 95 % intervals, and the difference of one method's cost to that of each other.

    Args:
        pool: The table; prompts without a score of each model do not count.
        methods: P(success) by each method, float64 ``[prompts, models]``.
        ours: The one method.
        seed: Of the bootstrap.
    """
    keep = ~np.isnan(pool.outcomes.scores).any(axis=1)
    pool, methods = pool.rows(keep), {name: success[keep] for name, success in methods.items()}
    scores, costs = pool.outcomes.scores, pool.costs
    single = Choices(scores[:, pool.best][None], costs[:, pool.best][None])
    every = singles(scores, costs)
    choices = {name: sweep(success, costs, scores, costs) for name, success in methods.items()}
    choices["random"] = every
    choices["oracle"] = sweep(scores, costs, scores, costs)
    counts = np.concatenate(list(resample_counts(pool.outcomes.prompts, RESAMPLES, seed)))
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
    at, samples_of = drawn[ours]
    for name, (values, samples) in drawn.items():
        difference = float((at.cost - values.cost)[0])
        found[name]["difference"] = interval(difference, samples_of.cost - samples.cost)
    return found


def main() -> None:
    """Reads the arguments, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    for table, place in sorted(zip(tables.tables, tables.places, strict=True), key=lambda pair: pair[0].name):
        if args.tables and table.name not in args.tables:
            continue
        pool = pool_table(table, embeddings[place])
        held = pool.rows(tables.is_held[place])
        routed = left_out(candidates(pool.models, None), pool.outcomes, pool.costs)
        verdict = routed.verdict(pool.models, resamples=RESAMPLES)
        chances = {TRAINED: routed.success, **out_of_fold(BASELINES, pool.outcomes, OUTER, 0)}
        figures = {
            "all": measured(pool, chances, TRAINED),
            "held out": measured(
                held,
                {
                    SHIPPED: shipped(held, known),
                    **{name: success[tables.is_held[place]] for name, success in chances.items()},
                },
                SHIPPED,
            ),
        }
        found[table.name] = {
            "prompts": len(pool.outcomes.prompts),
            "held out": len(held.outcomes.prompts),
            "models": len(pool.models),
        }
        figures_of = _plain({"routed": {"score": verdict.quality, "cost": verdict.cost}})
        found[table.name] |= {**figures_of, "route": verdict.route}
        print(table.name, *found[table.name].values(), flush=True)
        for part, methods in figures.items():
            found[table.name][f"figures, {part}"] = _plain(methods)
            for name, one in methods.items():
                print("   ", part, name, *(f"{key} {value}" for key, value in one.items()), flush=True)
        args.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def shipped(pool: PoolTable, known: Profiles) -> Doubles:
    """P(success) by the shipped profiles; models without a profile have their mean."""
    chances = predictors.constant(pool.outcomes, pool.outcomes.prompts, pool.outcomes.embeddings)
    success = known.success(pool.outcomes.embeddings)
    for column, model in enumerate(pool.models):
        if model in known.names:
            chances[:, column] = success[:, known.names.index(model)]
    return chances


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
