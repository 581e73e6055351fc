from __future__ import annotations

import numpy as np
import pytest

from turnout.training.distill import fragments, static_table
from turnout.training.features import bags, mean_bags


def test_fragments_are_sentences_of_longer_prompts():
    whole = "The river runs past the old mill. Behind the mill there is a hill! Only one sentence is here"
    found = fragments([whole, "A single sentence that has no neighbour at all"], 10, seed=0)
    assert len(found) == 1
    assert found[0] in whole
    assert found[0] != whole


def test_a_static_table_recovers_targets_that_are_linear_in_the_tokens():
    generator = np.random.default_rng(0)
    ids = [generator.integers(0, 20, 30) for _ in range(400)]
    means = mean_bags(bags(ids, 20))
    words, true = generator.normal(size=(20, 6)).astype(np.float32), generator.normal(size=(20, 2))
    targets = means @ true
    targets = targets - targets.mean(axis=0)
    table = static_table(means, targets, words, np.ones(20, np.float32), token_scale=1.0, ridge=1e-4)
    learned = means @ table
    for column in range(2):
        assert np.corrcoef(learned[:, column], targets[:, column])[0, 1] == pytest.approx(1.0, abs=0.01)
