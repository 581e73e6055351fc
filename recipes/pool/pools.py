"""What routing saves on every table: cost at the quality of the best single model, for `train pool`, the shipped profiles and every baseline.

    python -m recipes.pool.pools --data DATA --artifact python/turnout/artifacts/mf --out pools.json

Each prompt is decided by what was learned from the other folds of its table; prompts that differ in numbers, case and punctuation are in one fold.
All methods read the same embedding, and all may send every prompt to the single model that is best on the whole table. The shipped profiles learned
from most of these prompts, so they are measured on the held-out ones alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from turnout.evaluate.bootstrap import Estimate, interval, resample_counts
from turnout.evaluate.pools.frontier import Choices, Figures, figures, singles, sweep
from turnout.pool.profiles import Doubles, Profiles
from turnout.profiles import predictors
from turnout.profiles.own import OUTER, candidates
from turnout.profiles.predictors import Predictor, out_of_fold
from turnout.training.own_pool import left_out

from .each_table import Measured, PoolTable, measure_each

RESAMPLES = 200
TRAINED, SHIPPED = "train pool", "shipped profiles"
BASELINES: Mapping[str, Predictor] = {
    "prompt length": predictors.by_length,
    "cohort table": predictors.by_cohort,
    "kNN": predictors.by_neighbors,
    "MLP": predictors.by_network,
}


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


def measure(one: Measured) -> dict[str, Any]:
    """Figures of one table, and the verdict of `train pool`."""
    pool, held = one.pool, one.held
    routed = left_out(candidates(pool.models, None), pool.outcomes, pool.costs)
    verdict = routed.verdict(pool.models, resamples=RESAMPLES)
    chances = {TRAINED: routed.success, **out_of_fold(BASELINES, pool.outcomes, OUTER, 0)}
    on_held = {name: success[one.is_held] for name, success in chances.items()}
    figures = {
        "all": measured(pool, chances, TRAINED),
        "held out": measured(held, {SHIPPED: shipped(held, one.known), **on_held}, SHIPPED),
    }
    found = {
        "prompts": len(pool.outcomes.prompts),
        "held out": len(held.outcomes.prompts),
        "models": len(pool.models),
        **_plain({"routed": {"score": verdict.quality, "cost": verdict.cost}}),
        "route": verdict.route,
    }
    print(pool.name, *found.values(), flush=True)
    for part, methods in figures.items():
        found[f"figures, {part}"] = _plain(methods)
        for name, values in methods.items():
            print("   ", part, name, *(f"{key} {value}" for key, value in values.items()), flush=True)
    return found


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
    measure_each(str(__doc__), measure)
