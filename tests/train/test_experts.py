from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from turnout.training.experts import difficulty_directions, expert_rows, fit_expert
from turnout.training.features import bags, count_table, encode, inverse_frequency, vocabulary


def _encode(tokenizer, prompts):
    return encode(tokenizer, prompts, 64)


def _fitted(tokenizer, tables, config, part):
    words = vocabulary(tokenizer)
    counts = count_table(words)
    every = {table.name: bags(_encode(tokenizer, table.prompts), len(words)) for table in tables}
    frequency = inverse_frequency(bags(_encode(tokenizer, [p for t in tables for p in t.prompts]), len(words)))
    directions = difficulty_directions(tables, config.difficulties, config.calculation, every, frequency)
    prompts, gain = expert_rows(tables, part)
    ids = _encode(tokenizer, prompts)
    return fit_expert(part, ids, gain, frequency=frequency, counts=counts, directions=directions), ids, gain, counts


@pytest.mark.parametrize("name", ["choice", "word"])
def test_an_expert_ranks_its_own_prompts(tokenizer, tables, config, name):
    expert, ids, gain, counts = _fitted(tokenizer, tables, config, getattr(config, name))
    score = expert.score(ids, counts)
    assert spearmanr(score, gain).statistic > 0.7
    assert score.mean() == pytest.approx(0.0, abs=1e-6)
    assert score.std() == pytest.approx(1.0, abs=1e-6)


def test_a_direction_of_difficulty_points_at_what_weak_models_get_wrong(tokenizer, tables, config):
    words = vocabulary(tokenizer)
    every = {table.name: bags(_encode(tokenizer, table.prompts), len(words)) for table in tables}
    directions = difficulty_directions(
        tables, config.difficulties, config.calculation, every, np.ones(len(words), np.float32)
    )
    assert directions.shape == (len(words), 2)
    assert directions[words.index("hard"), 0] > directions[words.index("easy"), 0]


def test_the_closed_form_is_the_gaussian_process_it_says(tokenizer, tables, config):
    """Scores on the training prompts equal ``K (K + ridge)^-1 y`` for the bag kernel alone, up to standardising."""
    part, words = replace(config.choice, difficulty_weight=0.0), vocabulary(tokenizer)
    expert, ids, gain, counts = _fitted(tokenizer, tables, config, part)
    frequency = inverse_frequency(bags(_encode(tokenizer, [p for t in tables for p in t.prompts]), len(words)))
    counted = bags(ids, len(words)).toarray()
    x = counted / counted.sum(axis=1, keepdims=True) * frequency
    x /= np.sqrt((x**2).sum(axis=1).mean())
    kernel = part.bag_weight * x @ x.T
    fit = kernel @ np.linalg.solve(kernel + part.ridge * np.eye(len(x)), gain - gain.mean())
    np.testing.assert_allclose(expert.score(ids, counts), (fit - fit.mean()) / fit.std(), atol=1e-4)
