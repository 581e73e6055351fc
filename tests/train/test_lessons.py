from __future__ import annotations

import numpy as np

from turnout.training.lessons import Lesson, mixed, topic_lesson


def test_mixed_prompts_are_made_of_tokens_of_their_parents_and_are_not_tiny():
    generator = np.random.default_rng(0)
    made = mixed([np.arange(0, 20), np.arange(100, 130)], 50, generator)
    assert len(made) == 50
    assert all(len(row) >= 5 and set(row) <= {*range(20), *range(100, 130)} for row in made)


def test_a_split_keeps_equal_prompts_together():
    rows = [np.array([place % 40]) for place in range(400)]
    first, second = Lesson(rows, np.zeros(400), 1.0, 1.0).split(0.3, np.random.default_rng(0))
    held = {int(row[0]) for row in second.ids}
    assert held
    assert held.isdisjoint(int(row[0]) for row in first.ids)
    assert len(first.ids) + len(second.ids) == 400 == len(first.gain) + len(second.gain)


def test_length_pulls_the_gain_up():
    short, long = topic_lesson([np.zeros(10), np.zeros(1000)], np.zeros(2), 0.1, share=1.0, weight=1.0).gain
    assert long - short == np.float64(0.1) * (np.log1p(1000) - np.log1p(10))
