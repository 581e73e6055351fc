"""RouterArena's scores (arXiv 2510.00202), as its evaluation computes them, and the files that it reads and writes.

The formulas are those of `llm_evaluation/run.py` of RouteWorks/RouterArena (commit 0d783fa1, Apache-2.0). Its rows are for measuring: nothing of
turnout was chosen on them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.evaluate.metrics import Floats

#: Dollars for 1,000 requests between which the logarithm of the cost is scaled, and the weight of the cost.
HIGHEST, LOWEST, BETA = 200.0, 0.0044, 0.1


@dataclass(frozen=True)
class ArenaScores:
    """RouterArena's scores of a router's choices.

    Attributes:
        arena: Accuracy and cost in one number, in 0..1.
        accuracy: Mean accuracy.
        cost_per_1000: Dollars for 1,000 requests.
        optimal_selection: Part of the prompts with a right answer for which the choice was the cheapest model with a right answer.
        optimal_cost: Cost of those cheapest models, as a part of what the choices cost.
        optimal_accuracy: Accuracy of the choices as a part of the best possible one. On the prompts that RouterArena counts, those with a right
            answer, it is always 1; here it is over all prompts that some model answers right, as the paper says.
    """

    arena: float
    accuracy: float
    cost_per_1000: float
    optimal_selection: float
    optimal_cost: float
    optimal_accuracy: float


def arena_score(accuracy: float, cost_per_1000: float) -> float:
    """The arena score: a weighted harmonic mean of accuracy and of the cost's place on a logarithmic scale.

    Args:
        accuracy: In 0..1.
        cost_per_1000: Dollars for 1,000 requests, more than 0; limited to 0.0044..200.

    Returns:
        In 0..1.

    Raises:
        InvalidInputError: An argument is outside.

    Example:
        >>> round(arena_score(0.6876, 4.27), 4)
        0.6347
    """
    if not 0.0 <= accuracy <= 1.0:
        raise InvalidInputError(f"accuracy is {accuracy:g}, expected a number in 0..1")
    if not cost_per_1000 > 0.0:
        raise InvalidInputError(f"cost of 1,000 requests is {cost_per_1000:g}, expected more than 0")
    cost = min(max(cost_per_1000, LOWEST), HIGHEST)
    place = math.log2(HIGHEST / cost) / math.log2(HIGHEST / LOWEST)
    below = BETA * accuracy + place
    return (1.0 + BETA) * accuracy * place / below if below else 0.0


def arena_scores(choice: NDArray[np.int64], scores: Floats, costs: Floats) -> ArenaScores:
    """Scores of the choices of a router.

    Args:
        choice: Chosen model of each prompt, int64 ``[prompts]``.
        scores: Accuracy of each model, float64 ``[prompts, models]``.
        costs: Dollars of each answer, float64 ``[prompts, models]``.
    """
    rows = np.arange(len(choice))
    got, paid = scores[rows, choice], costs[rows, choice]
    right = scores >= 1.0
    cheapest = np.where(right, costs, np.inf).argmin(axis=1)
    solvable = right.any(axis=1)
    counted = solvable & (got >= 1.0)
    optimal = costs[rows, cheapest]
    return ArenaScores(
        arena_score(float(got.mean()), float(paid.mean() * 1000.0)),
        float(got.mean()),
        float(paid.mean() * 1000.0),
        float((choice == cheapest)[counted].mean()) if counted.any() else 0.0,
        float(optimal[counted].sum() / paid[counted].sum()) if paid[counted].sum() > 0 else 0.0,
        float(got[solvable].sum() / solvable.sum()) if solvable.any() else 0.0,
    )


def robustness(choices: Sequence[str], rewritten: Sequence[str]) -> float:
    """Part of the prompts whose rewritten form goes to the same model.

    Args:
        choices: Models chosen for prompts.
        rewritten: Models chosen for their rewritten forms, in the same order.

    Example:
        >>> robustness(["a", "b", "a", "a"], ["a", "b", "b", "a"])
        0.75
    """
    if len(choices) != len(rewritten) or not choices:
        raise InvalidInputError(f"{len(choices)} choices and {len(rewritten)} of rewritten prompts, expected as many")
    return sum(one == other for one, other in zip(choices, rewritten, strict=True)) / len(choices)


def write_predictions(path: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Writes a prediction file that RouterArena runs and grades.

    Args:
        path: A ``.json`` file.
        rows: Global index, prompt and chosen model of every prompt of the split, in its order.
    """
    entries: list[dict[str, Any]] = [
        {
            "global index": index,
            "prompt": prompt,
            "prediction": model,
            "generated_result": None,
            "cost": None,
            "accuracy": None,
        }
        for index, prompt, model in rows
    ]
    path.write_text(json.dumps(entries, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8")
