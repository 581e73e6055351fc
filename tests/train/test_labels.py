from __future__ import annotations

import numpy as np

from turnout.train.labels import LabelledPrompts, balanced_weights, class_targets, labelled_prompts, scores


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
