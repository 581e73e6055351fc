"""`turnout train pool`: profiles from a user's outcomes, and whether to route by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from turnout._core import InvalidInputError
from turnout.data import Outcomes
from turnout.evaluate.bootstrap import Estimate, ratio
from turnout.evaluate.pools.evaluation import PoolOnTable
from turnout.evaluate.pools.frontier import ERROR_COSTS, Choices, chosen, figures, singles, sweep
from turnout.pool.profiles import Doubles, Profile, Profiles
from turnout.profiles.folds import folds_of
from turnout.profiles.own import OUTER, Candidate, candidates, log_loss, pick
from turnout.profiles.predictors import Predictor, ScoredPrompts, by_cohort, by_neighbors, out_of_fold

#: Mean score that routing may lose against the best single model, at the lower end of its 95 % interval.
MARGIN = 0.01
#: Fewest prompts with a score of each model.
MIN_OUTCOMES = 50
#: What is measured beside the candidates; the core runs neither.
BESIDE: Mapping[str, Predictor] = {"cohort table": by_cohort, "kNN": by_neighbors}
#: Name of what routes by the picked candidates, beside those.
ROUTED = "train pool"


@dataclass(frozen=True)
class Verdict:
    """Whether to route, measured on prompts that neither the profiles nor the cost of an error have seen.

    Attributes:
        route: Whether routing is worth it.
        single: The best single model.
        quality: Mean score of routing less that of the single model.
        cost: Mean cost of routing, as a part of the single model's.
        margin: What routing may lose.
        column: Of the single model.
    """

    route: bool
    single: str
    quality: Estimate
    cost: Estimate
    margin: float
    column: int

    def __str__(self) -> str:
        figures = f"score {self.quality.value:+.3f} [{self.quality.low:+.3f}, {self.quality.high:+.3f}], cost {self.cost} times that of {self.single}"
        if self.route:
            return f"route: {figures}"
        condition = f"routing has to be cheaper at a score at most {self.margin:g} lower, or better"
        return f"do not route: {self._against()} ({figures}; {condition})"

    def _against(self) -> str:
        """Why not to route."""
        if self.cost.high < 1.0 and self.quality.low > -self.margin:
            return f"no cost of an error keeps the score of {self.single} on all of the outcomes"
        if self.cost.high < 1.0:
            return (
                f"routing is cheaper, but its score may be more than {self.margin:g} lower than that of {self.single}"
            )
        if self.quality.low > 0.0:
            return f"routing is better, but {self.single} alone is cheaper"
        if self.cost.value < 1.0:
            return f"it is not certain that routing is cheaper than {self.single} alone"
        return f"{self.single} alone is as good and cheaper"


@dataclass(frozen=True)
class TrainedPool:
    """Profiles from outcomes.

    Attributes:
        profiles: Of every model; of the best single one alone where the verdict is not to route.
        verdict: Whether to route by them.
        picked: Name of the candidate.
        losses: Log loss on left-out prompts by candidate, and of what is measured beside them.
        costs: Cost at the score of the best single model, as a part of that one's cost, on left-out prompts: of routing by the picked candidates
            (:data:`ROUTED`), and of what is measured beside them; NaN where no prompt has a score of every model.
        error_cost: Cost of an error at which routing keeps the score of the best single model; infinite where the verdict is not to route.
    """

    profiles: Profiles
    verdict: Verdict
    picked: str
    losses: Mapping[str, float]
    costs: Mapping[str, float]
    error_cost: float

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        verdict = self.verdict
        return {
            "route": verdict.route,
            "verdict": str(verdict),
            "single": verdict.single,
            "quality": [verdict.quality.value, verdict.quality.low, verdict.quality.high],
            "cost": [verdict.cost.value, verdict.cost.low, verdict.cost.high],
            "picked": self.picked,
            "log_loss": dict(self.losses),
            "cost_at_quality": dict(self.costs),
            "error_cost": self.error_cost,
        }


def train_pool(
    seen: ScoredPrompts,
    names: Sequence[str],
    costs: Doubles,
    known: Profiles | None,
    embedding: str,
    *,
    margin: float = MARGIN,
    resamples: int = 1000,
    seed: int = 0,
    output_tokens: Mapping[str, float] | None = None,
) -> TrainedPool:
    """Trains profiles on outcomes and measures what routing by them is worth.

    Args:
        seen: The outcomes.
        names: Models of the columns, in canonical form.
        costs: Expected cost of each model on each prompt, float64 ``[prompts, models]``.
        known: Profiles to start from, or ``None``.
        embedding: SHA-256 of the router's graph.
        margin: Mean score that routing may lose.
        resamples: Of the bootstrap.
        seed: Of the folds and of the bootstrap.
        output_tokens: Mean output tokens of an answer by model, for the profiles.
    """
    tried = candidates(names, known)
    routed = left_out(tried, seen, costs, seed)
    verdict = routed.verdict(names, margin, resamples, seed)
    last = pick(tried, seen, seed)
    error = error_cost(last.success, costs, seen.scores, verdict.column)
    beside = out_of_fold(BESIDE, seen, OUTER, seed)
    losses = {**last.losses, **{name: log_loss(found, seen.scores) for name, found in beside.items()}}
    at_quality = {
        name: cost_at_quality(found, costs, seen.scores, verdict.column)
        for name, found in {ROUTED: routed.success, **beside}.items()
    }
    # No cost of an error keeps the quality on all of the outcomes: the one that the folds had is not enough.
    verdict = replace(verdict, route=verdict.route and bool(np.isfinite(error)))
    picked = last.name if verdict.route else "means"
    profiles = profiles_from(tried[picked], seen, names, embedding, "own outcomes", output_tokens or {})
    if not verdict.route:
        # A profile of any other model would be one to route to.
        profiles = replace(profiles, models=[profiles.models[verdict.column]])
    return TrainedPool(profiles, verdict, picked, losses, at_quality, float(error) if verdict.route else np.inf)


@dataclass(frozen=True)
class LeftOut:
    """What routing does with prompts by what was learned from the others.

    Attributes:
        prompts: The prompts.
        success: P(success), float64 ``[prompts, models]``.
        routed: Score and cost of the model that it chooses, float64 ``[2, prompts]``.
        alone: Score and cost of the best single model, float64 ``[2, prompts]``.
        single: Column of the model that is the best one on all prompts.
    """

    prompts: Sequence[str]
    success: Doubles
    routed: Doubles
    alone: Doubles
    single: int

    def verdict(self, names: Sequence[str], margin: float = MARGIN, resamples: int = 1000, seed: int = 0) -> Verdict:
        """Whether to route, by a paired bootstrap over prompts; those for which a chosen model has no score do not count.

        Args:
            names: Of the models.
            margin: Mean score that routing may lose.
            resamples: Of the bootstrap.
            seed: Of the bootstrap.
        """
        known = ~np.isnan(self.routed[0]) & ~np.isnan(self.alone[0])
        routed, alone = self.routed[:, known], self.alone[:, known]
        kept = [prompt for prompt, one in zip(self.prompts, known, strict=True) if one]
        ones = np.ones(len(kept))
        quality = ratio(routed[0] - alone[0], ones, kept, resamples=resamples, seed=seed)
        cost = ratio(routed[1], alone[1], kept, resamples=resamples, seed=seed)
        cheaper = cost.high < 1.0 and quality.low > -margin
        better = quality.low > 0.0 and cost.value <= 1.0
        return Verdict(cheaper or better, names[self.single], quality, cost, margin, self.single)


def left_out(tried: Mapping[str, Candidate], seen: ScoredPrompts, costs: Doubles, seed: int = 0) -> LeftOut:
    """Routes every prompt by what was learned from the other folds; inner folds of those pick the candidate and the cost of an error.

    Args:
        tried: The candidates.
        seen: The outcomes.
        costs: Expected cost of each model on each prompt, float64 ``[prompts, models]``.
        seed: Of the folds.
    """
    outer = folds_of(seen.prompts, OUTER, seed)
    success = np.empty(seen.scores.shape)
    routed, alone = np.empty((2, len(seen.prompts))), np.empty((2, len(seen.prompts)))
    for fold in range(OUTER):
        out = outer == fold
        rest, rest_costs = seen.rows(~out), costs[~out]
        found = pick(tried, rest, seed + 1 + fold)
        single = best_single(rest.scores, rest_costs)
        error = error_cost(found.success, rest_costs, rest.scores, single)
        success[out] = tried[found.name](rest).success(seen.embeddings[out])
        choice = _choice(success[out], costs[out], error, single)
        rows = np.arange(int(out.sum()))
        for into, column in ((routed, choice), (alone, np.full(len(rows), single))):
            into[0, out] = seen.scores[out][rows, column]
            into[1, out] = costs[out][rows, column]
    return LeftOut(seen.prompts, success, routed, alone, best_single(seen.scores, costs))


def scored_prompts_of(table: Outcomes, pool: PoolOnTable) -> tuple[ScoredPrompts, Doubles, list[str]]:
    """Outcomes of a pool's models with their embeddings and expected costs.

    Args:
        table: The outcomes.
        pool: The pool.

    Returns:
        The outcomes, the costs, float64 ``[prompts, models]``, and the names of the models.

    Raises:
        InvalidInputError: The table lacks a model, a score is outside 0..1, a model has no prices, or there are too few prompts.
    """
    names = pool.models
    scores = np.stack([table.scores[table.find(name)] for name in names], axis=1)
    outside = scores[(scores < 0.0) | (scores > 1.0)]
    if len(outside):
        raise InvalidInputError(f"table {table.name!r}: a score is {outside[0]:g}, expected scores in 0..1")
    few = [name for name, column in zip(names, scores.T, strict=True) if (~np.isnan(column)).sum() < MIN_OUTCOMES]
    if few:
        raise InvalidInputError(
            f"table {table.name!r}: fewer than {MIN_OUTCOMES} prompts with a score of {', '.join(few)}"
        )
    costs = np.asarray(pool.costs(table.prompts), dtype=np.float64)
    unpriced = [name for name, column in zip(names, costs.T, strict=True) if np.isnan(column).any()]
    if unpriced:
        raise InvalidInputError(
            f"no prices of {', '.join(unpriced)} in the pool: routing has to pay in comparison with them"
        )
    return ScoredPrompts(table.prompts, np.asarray(pool.embed(table.prompts)), scores), costs, list(names)


def best_single(scores: Doubles, costs: Doubles) -> int:
    """Column of the model with the highest mean score; of equals the cheapest."""
    means = np.nanmean(scores, axis=0)
    equal = means >= means.max() - 1e-12
    return int(np.where(equal, costs.mean(axis=0), np.inf).argmin())


def error_cost(success: Doubles, costs: Doubles, scores: Doubles, single: int) -> float:
    """The cost of an error at which routing is cheapest among those that keep the score of the single model.

    Args:
        success: P(success) on left-out prompts, float64 ``[prompts, models]``.
        costs: float64 ``[prompts, models]``.
        scores: float64 ``[prompts, models]``.
        single: Column of the single model.

    Returns:
        Infinite where none keeps it.
    """
    scale = float(costs.mean(axis=0).max())
    rows = np.arange(len(success))
    best, lowest = np.inf, np.inf
    target = np.nanmean(scores[:, single])
    for error in ERROR_COSTS[:-1] * scale:
        choice = chosen(success, costs, float(error))
        cost = float(costs[rows, choice].mean())
        if cost < lowest and np.nanmean(scores[rows, choice]) >= target:
            best, lowest = float(error), cost
    return best


def cost_at_quality(success: Doubles, costs: Doubles, scores: Doubles, single: int) -> float:
    """Cost at the score of the best single model, as a part of that one's cost, on the prompts with a score of each model.

    Args:
        success: P(success) on left-out prompts, float64 ``[prompts, models]``.
        costs: float64 ``[prompts, models]``.
        scores: float64 ``[prompts, models]``.
        single: Column of the single model, to which every prompt may be sent.

    Returns:
        NaN where no prompt has all scores.
    """
    known = ~np.isnan(scores).any(axis=1)
    if not known.any():
        return float("nan")
    success, costs, scores = success[known], costs[known], scores[known]
    alone = Choices(scores[:, single][None], costs[:, single][None])
    choices = sweep(success, costs, scores, costs).and_single(alone.scores[0], alone.costs[0])
    return float(figures(choices, alone, singles(scores, costs), np.ones((1, len(scores)))).cost[0])


def _choice(success: Doubles, costs: Doubles, error: float, single: int) -> Any:
    """Models of prompts; the single model where no cost of an error keeps its score."""
    return chosen(success, costs, error) if np.isfinite(error) else np.full(len(success), single)


def profiles_from(
    candidate: Candidate,
    seen: ScoredPrompts,
    names: Sequence[str],
    embedding: str,
    source: str,
    output_tokens: Mapping[str, float],
) -> Profiles:
    """Profiles of a candidate.

    Args:
        candidate: Fits the models.
        seen: What it is fitted to.
        names: Models of the columns.
        embedding: SHA-256 of the router's graph.
        source: Where the outcomes are from.
        output_tokens: Mean output tokens of an answer by model, where they are known.
    """
    fitted = candidate(seen)
    counts = (~np.isnan(seen.scores)).sum(axis=0)
    models = [
        Profile(name, one.mean, one.covariance, int(count), [source], _facts(output_tokens.get(name)))
        for name, one, count in zip(names, fitted.models, counts, strict=True)
    ]
    return Profiles(fitted.basis, models, embedding, landmarks=fitted.landmarks)


def _facts(output_tokens: float | None) -> dict[str, Any]:
    return {} if output_tokens is None else {"output_tokens": output_tokens}
