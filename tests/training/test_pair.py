"""What tables, battles and grades say about a pair of models."""

from __future__ import annotations

import numpy as np
import pytest

import turnout
from turnout.data import Battles, Outcomes
from turnout.training.pair import Grades, LabelledPrompts, Pair, labelled_prompts
from turnout.training.targets import balanced_weights, class_targets, scores

PAIR = Pair("big", "small")
NAN = float("nan")


def _table(name: str = "own") -> Outcomes:
    return Outcomes(name, ["a", "b", "c"], {"big": np.array([1.0, 0.5, 1.0]), "small": np.array([1.0, 0.0, NAN])})


def _battles(verdicts: list[tuple[str, str, str, float]]) -> Battles:
    prompts, first, second, outcome = zip(*verdicts, strict=True)
    return Battles(list(prompts), list(first), list(second), np.array(outcome))


def test_a_table_gives_the_difference_of_the_scores_where_both_are_known():
    found = labelled_prompts(PAIR, [_table()])
    assert (found.prompts, found.gain.tolist(), found.source) == (["a", "b"], [0.0, 0.5], ["own", "own"])


def test_battles_of_the_pair_give_the_mean_of_their_verdicts_and_those_of_other_models_nothing():
    verdicts = [("x", "small", "big", 0.0), ("y", "small", "big", 1.0), ("x", "small", "big", 0.5)]
    found = labelled_prompts(PAIR, battles=_battles([*verdicts, ("z", "big", "large", 1.0)]))
    assert (found.prompts, found.gain.tolist()) == (["x", "y"], [0.5, -1.0])


def test_a_grade_gives_the_chance_that_the_small_models_answer_is_clearly_worse():
    found = labelled_prompts(PAIR, grades=Grades(["g", "h", "i"], np.array([1.0, 1.5, 5.0])))
    np.testing.assert_allclose(found.gain, [0.025, 0.075, 0.85])


def test_all_sources_weigh_the_same_in_sum():
    battles = _battles([("x", "big", "small", 1.0)])
    found = labelled_prompts(PAIR, [_table("one"), _table("two")], battles, Grades(["g", "h"], np.array([1.0, 5.0])))
    np.testing.assert_allclose(found.weight, [0.5, 0.5, 0.5, 0.5, 1.0, 0.5, 0.5])


def test_a_table_without_the_pair_is_reported_and_the_rest_is_used():
    other = Outcomes("other", ["x"], {"big": np.ones(1), "large": np.ones(1)})
    lines: list[str] = []
    assert labelled_prompts(PAIR, [other, _table()], warn=lines.append).prompts == ["a", "b"]
    expected = "other: none of its 1 prompts has scores of both big (strong) and small (weak); its models: big, large"
    assert lines == [expected]


def test_nothing_about_the_pair_is_an_error_that_names_the_models():
    message = r"between a \(strong\) and b \(weak\); models found: big, small, large; name .* --strong and --weak"
    battles = _battles([("x", "big", "large", 1.0)])
    with pytest.raises(turnout.ConfigError, match=message):
        labelled_prompts(Pair("a", "b"), [_table()], battles, warn=lambda line: None)


def test_a_split_keeps_equal_prompts_together():
    prompts = [str(index % 20) for index in range(100)]
    first, second = LabelledPrompts(prompts, np.zeros(100), ["own"] * 100).split(0.3, 0)
    assert first.prompts
    assert second.prompts
    assert not set(first.prompts) & set(second.prompts)


def test_balanced_classes_weigh_the_same_and_absent_ones_nothing():
    targets = class_targets(np.array([1.0] * 6 + [0.0] * 2))
    balance = balanced_weights(targets, np.ones(8))
    np.testing.assert_allclose((targets * balance).sum(axis=0), [4, 4, 0])


def test_a_score_from_four_on_means_that_the_weak_model_suffices():
    gain = np.linspace(-1, 1, 41)
    np.testing.assert_array_equal(scores(gain) < 4, gain > 0.1)
    assert set(scores(gain)) == {1, 2, 3, 4, 5}
