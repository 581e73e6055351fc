"""What a cascade gets at every cost of an error, beside routing before the call, the best single model and an oracle, on held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.cascade import Judge, Policy
from turnout.evaluate.bootstrap import Estimate, interval, resample_counts
from turnout.evaluate.cascades.log import CascadeLog
from turnout.evaluate.metrics import Floats
from turnout.evaluate.pools.frontier import ERROR_COSTS, Choices, Figures, figures, singles, sweep

FOLDS = 5


@dataclass(frozen=True)
class CascadeFigures:
    """Figures of one method.

    Attributes:
        cost: Cost at the quality of the best single model, as a part of that model's cost; NaN where it is not reached.
        quality: Quality at the cost of the best single model.
        difference: ``cost`` minus that of routing before the call.
        points: Mean cost and mean score at every setting, from the cheapest.
    """

    cost: Estimate
    quality: Estimate
    difference: Estimate
    points: list[tuple[float, float]]


def chances_of_error(judge: Judge, log: CascadeLog) -> Floats:
    """P(error) of each row.

    Args:
        judge: The judge.
        log: The rows.

    Returns:
        float64 ``[rows]``.
    """
    return np.array([judge.p_error(*pair) for pair in zip(log.risks.tolist(), log.answers, strict=True)])


def outcomes(policy: Policy, log: CascadeLog, p_error: Floats) -> tuple[Floats, Floats]:
    """Scores and costs when a policy serves the rows of a log.

    Args:
        policy: The policy.
        log: The rows, with scores of the strong model.
        p_error: Of each cheap answer, float64 ``[rows]``.

    Returns:
        Scores and costs, float64 ``[rows]`` each.
    """
    actions = np.array([policy.action(risk) for risk in log.risks])
    kept = p_error <= np.array([policy.threshold(risk) for risk in log.risks])
    is_cheap = (actions == "cheap") | ((actions == "cascade") & kept)
    assert log.strong is not None
    costs = np.where(actions != "strong", policy.cheap_cost, 0.0) + np.where(is_cheap, 0.0, policy.strong_cost)
    return np.where(is_cheap, log.correct, log.strong), costs


def compared(
    log: CascadeLog,
    fit: Callable[[CascadeLog], Judge],
    policy: Callable[[CascadeLog, Floats, float], Policy],
    chances: Callable[[CascadeLog, CascadeLog], Floats],
    costs: tuple[float, float],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, CascadeFigures]:
    """Cost and quality of a cascade, of routing before the call, of single models and of an oracle.

    Everything that is fitted, the band and the threshold too, is fitted on four fifths of the prompts and applied to the rest.

    Args:
        log: Rows with scores of the strong model.
        fit: Makes a judge of rows.
        policy: Its policy, from the rows, P(error) of each and the cost of an error.
        chances: P(success) of both models on the second rows, float64 ``[rows, 2]``, by what routing before the call learns on the first.
        costs: Mean cost of a call of the cheaper and of the strong model.
        resamples: Of the bootstrap.
        seed: Of folds and bootstrap.

    Returns:
        Figures of ``cascade``, ``pre-call``, ``random`` and ``oracle``.
    """
    assert log.strong is not None
    scores = np.stack([log.correct, log.strong], axis=1)
    each = np.broadcast_to(np.array(costs), scores.shape)
    settings = ERROR_COSTS[:-1] * costs[1]
    served = np.zeros((2, len(settings), len(log)))
    success = np.zeros_like(scores)
    for held in folds(log.prompts, seed):
        seen, rest = log.rows(~held), log.rows(held)
        success[held] = chances(seen, rest)
        judge = fit(seen)
        known, p_error = chances_of_error(judge, seen), chances_of_error(judge, rest)
        for at, error_cost in enumerate(settings):
            served[:, at, held] = outcomes(policy(seen, known, float(error_cost)), rest, p_error)
    choices: Mapping[str, Choices] = {
        "cascade": Choices(*served),
        "pre-call": sweep(success, each, scores, each),
        "random": singles(scores, each),
        "oracle": sweep(scores, each, scores, each),
    }
    best = int(scores.mean(axis=0).argmax())
    single = Choices(scores[:, best][None], each[:, best][None])
    counts = np.concatenate(list(resample_counts(log.prompts, resamples, seed)))
    return _figures(choices, single, singles(scores, each), counts)


def folds(prompts: object, seed: int) -> list[NDArray[np.bool_]]:
    """Masks of held-out rows; rows of one prompt share a fold.

    Args:
        prompts: One a row.
        seed: Of the folds.

    Returns:
        One mask a fold.
    """
    _, distinct = np.unique(np.array(prompts, dtype=object), return_inverse=True)
    fold = np.random.default_rng(seed).permutation(np.arange(distinct.max() + 1) % FOLDS)[distinct]
    return [fold == number for number in range(FOLDS)]


def _figures(
    choices: Mapping[str, Choices], single: Choices, models: Choices, counts: NDArray[np.int64]
) -> dict[str, CascadeFigures]:
    once = np.ones((1, counts.shape[1]), dtype=np.int64)
    drawn: dict[str, tuple[Figures, Figures]] = {}
    for name, one in choices.items():
        every = one.and_single(single.scores[0], single.costs[0])
        drawn[name] = figures(every, single, models, once), figures(every, single, models, counts)
    before = drawn["pre-call"]
    found = {}
    for name, (value, samples) in drawn.items():
        mean_costs, means = choices[name].points(once)
        found[name] = CascadeFigures(
            interval(float(value.cost[0]), samples.cost),
            interval(float(value.quality[0]), samples.quality),
            interval(float((value.cost - before[0].cost)[0]), samples.cost - before[1].cost),
            sorted(zip(mean_costs[0].tolist(), means[0].tolist(), strict=True)),
        )
    return found
