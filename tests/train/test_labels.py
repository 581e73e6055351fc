from __future__ import annotations

import numpy as np
import pytest

import turnout
from turnout.data import Battles, Outcomes
from turnout.training.labels import LabelledPrompts, balanced_weights, class_targets, labelled_prompts, scores


def test_every_table_and_the_battles_weigh_the_same(config, tables, battles):
    found = labelled_prompts(config, tables, battles)
    assert len(found.prompts) == len(found.gain) == len(found.weight)
    np.testing.assert_allclose(found.weight.sum(), len(tables) + 1)
    by_prompt = dict(zip(found.prompts, found.gain, strict=True))
    assert all(by_prompt[prompt] == 0 for prompt in battles.prompts)
    gold = tables[0]
    assert all(by_prompt[p] == big - small for p, big, small in zip(gold.prompts, *gold.scores.values(), strict=True))


def test_balanced_classes_weigh_the_same_and_absent_ones_nothing():
    targets = class_targets(np.array([1.0] * 6 + [0.0] * 2))
    weight = np.ones(8)
    balance = balanced_weights(targets, weight)
    np.testing.assert_allclose((targets * balance).sum(axis=0), [4, 4, 0])


def test_a_split_keeps_equal_prompts_together():
    prompts = [str(place % 20) for place in range(100)]
    first, second = LabelledPrompts(prompts, np.zeros(100), np.ones(100)).split(0.3, 0)
    assert first.prompts
    assert second.prompts
    assert not set(first.prompts) & set(second.prompts)


def test_a_score_from_four_on_means_that_the_weak_model_suffices():
    gain = np.linspace(-1, 1, 41)
    np.testing.assert_array_equal(scores(gain) < 4, gain > 0.1)
    assert set(scores(gain)) == {1, 2, 3, 4, 5}


def _fought(pair: tuple[str, str], verdicts: list[tuple[str, float]]) -> Battles:
    prompts = [prompt for prompt, _ in verdicts]
    outcome = np.array([won for _, won in verdicts])
    return Battles(prompts, [pair[0]] * len(prompts), [pair[1]] * len(prompts), outcome)


def test_battles_of_the_pair_teach_the_mean_of_their_verdicts(config, tables):
    fought = _fought(("small", "big"), [("x", 0.0), ("y", 1.0), ("x", 0.5), ("y", 1.0)])
    chat = Battles(
        ["x", "z", *fought.prompts],
        ["big", "big", *fought.model_a],
        ["large", "large", *fought.model_b],
        np.array([1.0, 1.0, *fought.outcome]),
    )
    found = labelled_prompts(config, tables, chat)
    gain = {prompt: gain for prompt, gain in zip(found.prompts, found.gain, strict=True) if prompt in {"x", "y", "z"}}
    assert gain == {"x": 0.5, "y": -1.0, "z": 0.0}
    assert [found.prompts.count(prompt) for prompt in "xyz"] == [1, 1, 1]
    np.testing.assert_allclose(found.weight.sum(), len(tables) + 2)


def test_battles_alone_teach_a_pair(config):
    found = labelled_prompts(config.for_pair("a", "b"), [], _fought(("a", "b"), [("x", 1.0), ("y", 0.5)]))
    assert (found.prompts, found.gain.tolist(), found.weight.tolist()) == (["x", "y"], [1.0, 0.0], [0.5, 0.5])


def test_another_pair_has_no_stand_ins(config, tables):
    pair = config.for_pair("big", "middle[1]")
    assert pair.strong_stand_ins == pair.weak_stand_ins == ()
    table = Outcomes("own", ["x"], {"big": np.array([1.0]), "middle[1]": np.array([0.5])})
    told: list[str] = []
    found = labelled_prompts(pair, [*tables, table], Battles([], [], [], np.empty(0)), told.append)
    assert (found.prompts, found.gain.tolist()) == (["x"], [0.5])
    assert [line.split(":")[0] for line in told] == ["gold", "aux", "tasks"]
    assert config.for_pair("big", "small") == config


def test_nothing_about_the_pair_is_an_error_that_names_the_models(config, tables, battles):
    message = (
        r"between a \(strong\) and b \(weak\); models found: big, small, large, middle; name .* --strong and --weak"
    )
    with (
        pytest.raises(turnout.ConfigError, match=message),
        pytest.warns(UserWarning, match="none of its 160 prompts says anything about a"),
    ):
        labelled_prompts(config.for_pair("a", "b"), tables, battles)
