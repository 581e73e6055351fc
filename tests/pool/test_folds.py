"""Near-duplicates are learned from together or left out together."""

from __future__ import annotations

import numpy as np

from turnout.profiles.folds import folds_of
from turnout.profiles.new_model import cross_fitted
from turnout.profiles.own import candidates, log_loss, pick
from turnout.profiles.predictors import ScoredPrompts
from turnout.profiles.regression import Gaussian
from turnout.training.own_pool import train_pool

TEMPLATES, EACH, DIM = 40, 20, 6


def _of_templates(seed: int) -> ScoredPrompts:
    """Prompts of templates that differ in numbers alone; the cheap model solves every second template, which nothing else tells."""
    generator = np.random.default_rng(seed)
    names = [f"{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(TEMPLATES)]
    prompts = [f"Task {name}: {row}" for name in names for row in range(EACH)]
    embeddings = np.repeat(generator.normal(size=(TEMPLATES, DIM)), EACH, axis=0)
    embeddings += generator.normal(scale=0.05, size=embeddings.shape)
    solved = np.repeat(generator.permutation(TEMPLATES) % 2, EACH).astype(np.float64)
    expensive = (generator.random(len(prompts)) < 0.9).astype(np.float64)
    return ScoredPrompts(prompts, embeddings.astype(np.float32), np.column_stack([solved, expensive]))


def test_near_duplicates_are_in_one_fold_and_a_large_group_is_in_all() -> None:
    prompts = [f"Add {row} and {row + 1}!" for row in range(10)] + [f"Spell {chr(97 + row)}b" for row in range(20)]
    folds = folds_of(prompts, 3, 0)
    assert len(set(folds[:10].tolist())) == 1
    assert set(folds.tolist()) == {0, 1, 2}
    folds = folds_of([f"Add {row} and 2" for row in range(100)] + ["Spell ab", "Spell cd"], 5, 0)
    assert set(folds[:100].tolist()) == {0, 1, 2, 3, 4}


def test_what_only_near_duplicates_tell_is_no_reason_to_route() -> None:
    seen = _of_templates(0)
    found = pick(candidates(["cheap", "expensive"], None), seen, 0)
    assert found.losses["landmarks"] > found.losses["means"] - 0.05
    assert log_loss(found.success, seen.scores) > 0.45, "templates that were left out are not told"
    costs = np.tile([1.0, 20.0], (len(seen.prompts), 1))
    trained = train_pool(seen, ["cheap", "expensive"], costs, None, "ab", resamples=200)
    assert not trained.verdict.route, str(trained.verdict)
    assert trained.profiles.names == ["expensive"], "no router is written"
    assert np.isinf(trained.error_cost)


def test_a_profile_is_measured_on_templates_that_it_has_not_seen() -> None:
    generator = np.random.default_rng(0)
    templates = 40
    coins = generator.integers(0, 2, templates).astype(np.float64)
    embeddings = np.repeat(generator.normal(size=(templates, 30)), 10, axis=0)
    prompts = [
        f"question {chr(97 + row // 26)}{chr(97 + row % 26)} {number}"
        for row in range(templates)
        for number in range(10)
    ]
    features = np.column_stack([embeddings, np.ones(len(prompts))])
    before = Gaussian(np.zeros(31), np.eye(31))
    found = cross_fitted(before, features, np.repeat(coins, 10), prompts)
    assert found["log_loss"] > found["log_loss_constant"], "the coins of templates say nothing of other templates"
