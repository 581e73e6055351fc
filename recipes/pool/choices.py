"""What other rules and more candidates than those of `turnout train pool` would pick, and what that is worth on every table.

    python -m recipes.pool.choices --data DATA --artifact python/turnout/artifacts/mf --out choices.json

The further candidates are the cohort table, kNN and their blends, which profiles cannot hold. The other rule is that of one standard error: of the
candidates whose log loss is within one standard error of the least, the simplest. Folds are those of the command. Two to ten minutes a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from turnout.pool.profiles import Doubles, sigmoid
from turnout.profiles.folds import folds_of
from turnout.profiles.own import INNER, OUTER, candidates, log_loss
from turnout.profiles.predictors import Predictor, by_cohort, by_neighbors, out_of_fold
from turnout.training.own_pool import cost_at_quality

from .each_table import Measured, PoolTable, measure_each

#: The command's candidates without profiles to start from, then blends with what profiles cannot hold; the simplest first.
OWN = ("means", "own", "landmarks", "own and landmarks")
MORE: Mapping[str, Sequence[str]] = {
    "cohort table": ["cohort table"],
    "kNN": ["kNN"],
    "cohort table and own": ["cohort table", "own"],
    "kNN and own": ["kNN", "own"],
    "cohort table and landmarks": ["cohort table", "landmarks"],
    "kNN and landmarks": ["kNN", "landmarks"],
    "cohort table, kNN and landmarks": ["cohort table", "kNN", "landmarks"],
}
SIMPLEST = ("means", "cohort table", "own", "kNN", "landmarks", "own and landmarks", *list(MORE)[2:])


def least(losses: Mapping[str, Doubles]) -> str:
    """The candidate of the least mean.

    Args:
        losses: Log loss of each prompt by candidate, float64 ``[prompts]``.
    """
    return min(losses, key=lambda name: float(losses[name].mean()))


def simplest(losses: Mapping[str, Doubles]) -> str:
    """The simplest candidate whose mean is at most one standard error of the difference above the least.

    Args:
        losses: As for :func:`least`.

    Example:
        >>> noise = np.tile([0.0, 0.2], 50)
        >>> simplest({"means": 0.51 + noise, "own": 0.5 + noise[::-1]}), simplest({"means": 0.6 + noise, "own": 0.5 + noise})
        ('means', 'own')
    """
    best = losses[least(losses)]

    def is_near(name: str) -> bool:
        apart = losses[name] - best
        return float(apart.mean()) <= float(apart.std(ddof=1)) / len(apart) ** 0.5

    return next(name for name in SIMPLEST if name in losses and is_near(name))


RULES = {
    "as the command": (OWN, least),
    "one standard error": (OWN, simplest),
    "more candidates": ((*OWN, *MORE), least),
    "more candidates, one standard error": ((*OWN, *MORE), simplest),
}


def predictors() -> dict[str, Predictor]:
    """What is fitted; fits of one table are shared."""
    tried = candidates([], None)

    def linear(name: str) -> Predictor:
        return lambda seen, _, embeddings: tried[name](seen).success(embeddings)

    return {**{name: linear(name) for name in OWN}, "cohort table": by_cohort, "kNN": by_neighbors}


def with_blends(found: Mapping[str, Doubles]) -> dict[str, Doubles]:
    """Adds the blends: the means of log odds."""
    odds = {
        name: np.log(np.clip(one, 1e-9, 1.0)) - np.log(np.clip(1.0 - one, 1e-9, 1.0)) for name, one in found.items()
    }
    return {**found, **{name: sigmoid(np.mean([odds[one] for one in parts], axis=0)) for name, parts in MORE.items()}}


def losses_of(success: Mapping[str, Doubles], scores: Doubles) -> dict[str, Doubles]:
    """Log loss of each prompt that has scores, the mean over its models, by candidate."""
    known = ~np.isnan(scores).all(axis=1)
    found = {}
    for name, one in success.items():
        chance, score = np.clip(one[known], 1e-6, 1.0 - 1e-6), scores[known]
        found[name] = np.nanmean(-score * np.log(chance) - (1.0 - score) * np.log(1.0 - chance), axis=1)
    return found


def measured(pool: PoolTable) -> dict[str, Any]:
    """Cost, log loss and picks of every rule, and cost and log loss of every candidate alone."""
    seen = pool.outcomes
    outer = folds_of(seen.prompts, OUTER, 0)
    rules = {name: np.empty(seen.scores.shape) for name in RULES}
    alone = {name: np.empty(seen.scores.shape) for name in (*OWN, *MORE)}
    picks: dict[str, list[str]] = {name: [] for name in RULES}
    fitted = predictors()
    for fold in range(OUTER):
        out = outer == fold
        rest, new = seen.rows(~out), seen.rows(out)
        losses = losses_of(with_blends(out_of_fold(fitted, rest, INNER, 1 + fold)), rest.scores)
        found = with_blends({name: one(rest, new.prompts, new.embeddings) for name, one in fitted.items()})
        for name, (tried, rule) in RULES.items():
            picks[name].append(rule({one: losses[one] for one in tried}))
            rules[name][out] = found[picks[name][-1]]
        for name, success in found.items():
            alone[name][out] = success
    return {
        "rules": {name: {**_figures(pool, one), "picks": Counter(picks[name])} for name, one in rules.items()},
        "alone": {name: _figures(pool, one) for name, one in alone.items()},
    }


def _figures(pool: PoolTable, success: Doubles) -> dict[str, float]:
    scores = pool.outcomes.scores
    return {
        "cost": round(cost_at_quality(success, pool.costs, scores, pool.best), 4),
        "log loss": round(log_loss(success, scores), 4),
    }


def measure(one: Measured) -> dict[str, Any]:
    """Figures of one table."""
    found = measured(one.pool)
    for name, values in found["rules"].items():
        print(one.pool.name, name, *values.values(), flush=True)
    return found


def main() -> None:
    """Measures every table, and prints the means over them."""
    found = measure_each(str(__doc__), measure)
    for name in RULES:
        rows = [[one["rules"][name][key] for key in ("cost", "log loss")] for one in found.values()]
        print("mean", name, np.mean(rows, axis=0).round(4).tolist())


if __name__ == "__main__":
    main()
