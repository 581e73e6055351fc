"""RouterArena's scores by hand, and its prediction file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from turnout import InvalidInputError
from turnout.evaluate.pools.arena import arena_score, arena_scores, robustness, write_predictions


def test_the_score_is_a_weighted_harmonic_mean_of_accuracy_and_place_of_cost() -> None:
    assert arena_score(0.7, 0.0044) == pytest.approx(1.1 * 0.7 / (0.07 + 1.0))
    middle = math.sqrt(200.0 * 0.0044)
    assert arena_score(0.7, middle) == pytest.approx(1.1 * 0.7 * 0.5 / (0.07 + 0.5))
    assert arena_score(0.7, 200.0) == 0.0
    assert arena_score(0.7, 0.0001) == arena_score(0.7, 0.0044), "costs are limited to the scale"
    with pytest.raises(InvalidInputError, match="accuracy is 70"):
        arena_score(70.0, 1.0)
    with pytest.raises(InvalidInputError, match="expected more than 0"):
        arena_score(0.7, 0.0)


def test_optimal_choices_are_the_cheapest_right_answers() -> None:
    scores = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    costs = np.array([[0.001, 0.01]] * 4)
    found = arena_scores(np.array([1, 1, 0, 1]), scores, costs)
    assert found.accuracy == 0.5
    assert found.cost_per_1000 == pytest.approx((3 * 0.01 + 0.001) / 4 * 1000)
    # Of the two right choices one was the cheapest; together they cost .02 where .011 would have done.
    assert found.optimal_selection == 0.5
    assert found.optimal_cost == pytest.approx(0.011 / 0.02)
    assert found.optimal_accuracy == pytest.approx(2 / 3)


def test_robustness_counts_equal_choices() -> None:
    assert robustness(["a", "b"], ["a", "a"]) == 0.5
    with pytest.raises(InvalidInputError, match="expected as many"):
        robustness(["a"], [])


def test_the_prediction_file_has_the_fields_that_routerarena_checks(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    write_predictions(path, [("AIME_112", "Please solve …", "gpt-4o-mini")])
    (entry,) = json.loads(path.read_text(encoding="utf-8"))
    assert entry == {
        "global index": "AIME_112",
        "prompt": "Please solve …",
        "prediction": "gpt-4o-mini",
        "generated_result": None,
        "cost": None,
        "accuracy": None,
    }
