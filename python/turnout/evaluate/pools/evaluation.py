"""Evaluates a pool on a table of outcomes: its cost-quality curve and figures, beside baselines that learn from the same table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.data import ModelAliases
from turnout.evaluate.bootstrap import Estimate, interval, resample_counts
from turnout.evaluate.json_values import json_values
from turnout.evaluate.metrics import Floats
from turnout.evaluate.perturb import Change
from turnout.evaluate.pools.arena import ArenaScores, arena_scores
from turnout.evaluate.pools.frontier import Choices, figures, hull, singles, sweep
from turnout.evaluate.pools.readers import CostedOutcomes
from turnout.evaluate.pools.stability import Latency, latency, unchanged
from turnout.evaluate.success import SuccessScores, success_scores
from turnout.profiles import predictors
from turnout.profiles.predictors import Predictor, ScoredPrompts, out_of_fold

#: Name of the pool among the methods.
POOL = "pool"
FOLDS = 5
BASELINES: Mapping[str, Predictor] = {
    "prompt length": predictors.by_length,
    "cohort table": predictors.by_cohort,
    "kNN": predictors.by_neighbors,
    "MLP": predictors.by_network,
}
FIGURES = ("cost", "quality", "aiq", "regret", "best")


class PoolOnTable(Protocol):
    """What is measured: :class:`turnout.PoolRouter` has it."""

    @property
    def models(self) -> list[str]:
        """Names, in the order of the columns."""

    def success(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """P(success), float32 ``[prompts, models]``."""

    def costs(self, prompts: Sequence[str]) -> NDArray[np.float64]:
        """Expected costs, float64 ``[prompts, models]``; NaN without prices."""

    def embed(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings, float32 ``[prompts, dim]``."""

    def route(self, prompt: str) -> Any:
        """A decision with the pool's own objective."""

    def route_batch(self, prompts: Sequence[str]) -> list[Any]:
        """Decisions with the pool's own objective."""


@dataclass(frozen=True)
class Method:
    """One method on the table.

    Attributes:
        figures: By name, see :data:`FIGURES`: cost at the best single model's quality as a part of that model's cost, quality at its cost, AIQ,
            regret (the oracle's quality at that cost less this one's), and the highest quality.
        difference: Cost of the pool less this method's, on the same resamples; NaN for the pool itself.
        curve: Costs and qualities of the corners of its curve.
    """

    figures: Mapping[str, Estimate]
    difference: Estimate
    curve: tuple[Floats, Floats]


@dataclass(frozen=True)
class PoolEvaluation:
    """A pool on one table.

    Attributes:
        table: Its name.
        prompts: Prompts on which every model has a score.
        dropped: Prompts that lack one.
        single: The model with the highest mean score.
        models: Mean cost and mean score of each model.
        methods: By name, the pool first.
        success: Figures of P(success) by model.
        arena: RouterArena's scores of the pool's own objective, and of the best single model.
        shares: Part of the prompts that each model gets by the pool's own objective.
        latency: Of one decision.
        robustness: By kind of change, the part of rewritten prompts that go to the same model; ``None`` where no prompt changes.
    """

    table: str
    prompts: int
    dropped: int
    single: str
    models: Mapping[str, tuple[float, float]]
    methods: Mapping[str, Method]
    success: Mapping[str, SuccessScores]
    arena: Mapping[str, ArenaScores]
    shares: Mapping[str, float]
    latency: Latency
    robustness: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain values."""
        methods = {
            name: {
                "figures": {key: asdict(value) for key, value in one.figures.items()},
                "difference": asdict(one.difference),
                "curve": [part.tolist() for part in one.curve],
            }
            for name, one in self.methods.items()
        }
        plain: dict[str, Any] = json_values(
            {
                "table": self.table,
                "prompts": self.prompts,
                "dropped": self.dropped,
                "single": self.single,
                "models": {name: list(pair) for name, pair in self.models.items()},
                "methods": methods,
                "success": {name: asdict(one) for name, one in self.success.items()},
                "arena": {name: asdict(one) for name, one in self.arena.items()},
                "shares": dict(self.shares),
                "latency_us": asdict(self.latency),
                "robustness": dict(self.robustness),
            }
        )
        return plain


def evaluate_pool(
    pool: PoolOnTable,
    outcomes: CostedOutcomes,
    *,
    changes: Mapping[str, Change] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> PoolEvaluation:
    """Evaluates a pool on one table.

    Baselines learn from the table itself, each prompt's chance from the other folds. Every method may send all prompts to the best single
    model, so none needs to cost more than that at its quality.

    Args:
        pool: The pool.
        outcomes: Scores, and costs of the answers where they are known; else the pool's expected costs count.
        changes: Of prompts, by name, under which the choice is compared; by default none.
        resamples: Of the bootstrap over prompts; 0 for no intervals.
        seed: Of the bootstrap, of the folds, of the changes and of the prompts on which latency and robustness are measured.

    Raises:
        InvalidInputError: The table lacks models of the pool, no prompt has scores of all, or a model has neither costs nor prices.
    """
    names = pool.models
    scores, costs = _columns(names, outcomes)
    known = np.asarray(~np.isnan(scores).any(axis=1))
    if not known.any():
        raise InvalidInputError(f"table {outcomes.table.name!r}: no prompt has scores of all of {', '.join(names)}")
    prompts = [prompt for prompt, kept in zip(outcomes.table.prompts, known.tolist(), strict=True) if kept]
    scores, costs = scores[known], costs[known]
    expected = np.asarray(pool.costs(prompts), dtype=np.float64)
    costs = np.where(np.isnan(costs), expected, costs)
    expected = np.where(np.isnan(expected), np.nanmean(costs, axis=0), expected)
    for name, column in zip(names, costs.T, strict=True):
        if np.isnan(column).any():
            raise InvalidInputError(f"model {name!r} has no prices in the pool and no costs in the table")
    success = np.asarray(pool.success(prompts), dtype=np.float64)
    scored = ScoredPrompts(prompts, np.asarray(pool.embed(prompts)), scores)
    chances = {POOL: success, **out_of_fold(BASELINES, scored, FOLDS, seed)}
    best = int(np.lexsort((costs.mean(axis=0), -scores.mean(axis=0)))[0])
    choices = {name: sweep(chance, expected, scores, costs) for name, chance in chances.items()}
    choices["random"] = singles(scores, costs)
    choices["cheapest"] = _single(scores, costs, int(costs.mean(axis=0).argmin()))
    choices["best single"] = _single(scores, costs, best)
    choices["oracle"] = sweep(scores, costs, scores, costs)
    decided = np.array([names.index(decision.model) for decision in pool.route_batch(prompts)])
    return PoolEvaluation(
        outcomes.table.name,
        len(prompts),
        int((~known).sum()),
        names[best],
        {name: (float(c), float(s)) for name, c, s in zip(names, costs.mean(axis=0), scores.mean(axis=0), strict=True)},
        _measured(choices, scores, costs, best, prompts, resamples, seed),
        {name: success_scores(success[:, row], scores[:, row], seed=seed) for row, name in enumerate(names)},
        {
            "the pool's objective": arena_scores(decided, scores, costs),
            names[best]: arena_scores(np.full(len(prompts), best), scores, costs),
        },
        {name: float((decided == row).mean()) for row, name in enumerate(names)},
        latency(pool, prompts, seed),
        unchanged(pool, prompts, changes or {}, seed),
    )


def _columns(names: Sequence[str], outcomes: CostedOutcomes) -> tuple[Floats, Floats]:
    """Scores and costs of the pool's models, float64 ``[prompts, models]`` each."""
    aliases = ModelAliases()
    found = [outcomes.table.find(name, aliases) for name in names]
    unknown = np.full(len(outcomes.table), np.nan)
    scores = np.stack([outcomes.table.scores[name] for name in found], axis=1)
    outside = scores[(scores < 0.0) | (scores > 1.0)]
    if len(outside):
        raise InvalidInputError(f"table {outcomes.table.name!r} has the score {outside[0]:g}, expected scores in 0..1")
    return scores, np.stack([outcomes.costs.get(name, unknown) for name in found], axis=1)


def _single(scores: Floats, costs: Floats, column: int) -> Choices:
    return Choices(scores[:, column][None], costs[:, column][None])


def _measured(
    choices: Mapping[str, Choices],
    scores: Floats,
    costs: Floats,
    best: int,
    prompts: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, Method]:
    single, every = _single(scores, costs, best), singles(scores, costs)
    once = np.ones((1, len(scores)), dtype=np.int64)
    counts = np.concatenate([once, *resample_counts(prompts, resamples, seed)])
    drawn = {}
    for name, one in choices.items():
        with_single = one.and_single(single.scores[0], single.costs[0])
        drawn[name] = figures(with_single, single, every, counts)
    methods = {}
    for name, found in drawn.items():
        values = {key: getattr(found, key) for key in ("cost", "quality", "aiq", "best")}
        values["regret"] = drawn["oracle"].quality - found.quality
        estimates = {key: interval(float(values[key][0]), values[key][1:]) for key in FIGURES}
        less = drawn[POOL].cost - found.cost
        difference = interval(float(less[0]), less[1:]) if name != POOL else Estimate(np.nan, np.nan, np.nan)
        methods[name] = Method(estimates, difference, hull(*(part[0] for part in choices[name].points(once))))
    return methods
