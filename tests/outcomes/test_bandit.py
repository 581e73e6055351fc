"""Learning routers: exact propensities, a bound on what exploring costs, and the same decision again from the same state."""

from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest

from turnout.errors import ConfigError, InvalidInputError
from turnout.outcomes.bandit import Bandit, BanditSettings, _chance_of_best, _normal_cdf
from turnout.outcomes.draw import uniform

NOTHING = np.zeros(2)


def run(bandit, chances, success, rounds, generator, baseline=0, flip=0.0):
    """Choices of a bandit whose models succeed with these chances."""
    chosen = []
    for _ in range(rounds):
        choice = bandit.choose(success, np.zeros(len(success)), baseline)
        outcome = float(generator.random() < chances[choice.model])
        outcome = 1 - outcome if generator.random() < flip else outcome
        bandit.learn(choice.model, outcome, success[choice.model], choice.features)
        chosen.append(choice.model)
    return np.array(chosen)


def test_the_chance_of_being_best_is_that_of_sampling():
    mean, std = np.array([0.5, 0.45, 0.2]), np.array([0.05, 0.1, 0.3])
    drawn = np.random.default_rng(0).normal(mean, std, (200_000, 3)).argmax(axis=1)
    assert _chance_of_best(mean, std) == pytest.approx(np.bincount(drawn) / len(drawn), abs=0.005)


def test_many_models_take_memory_in_proportion():
    generator = np.random.default_rng(0)
    mean, std = generator.uniform(0.3, 0.7, 400), generator.uniform(0.02, 0.3, 400)
    tracemalloc.start()
    chances = _chance_of_best(mean, std)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20
    drawn = generator.normal(mean, std, (40_000, 400)).argmax(axis=1)
    assert chances == pytest.approx(np.bincount(drawn, minlength=400) / len(drawn), abs=0.01)
    assert chances.sum() == pytest.approx(1)


def test_certain_and_uncertain_models_are_compared():
    mean, std = np.array([0.5, 0.5, 0.499]), np.array([1e-9, 0.2, 1e-9])
    assert _chance_of_best(mean, std) == pytest.approx([0.5, 0.5, 0], abs=0.01)


def test_the_normal_distribution_is_right():
    values = np.linspace(-6, 6, 101)
    assert _normal_cdf(values) == pytest.approx([0.5 * math.erfc(-one / math.sqrt(2)) for one in values], abs=2e-7)


def test_choices_follow_their_propensities():
    bandit = Bandit(["a", "b", "c"], BanditSettings(max_loss=1.0))
    success = np.array([0.6, 0.58, 0.5])
    choices = [bandit.choose(success, np.zeros(3), 0) for _ in range(1500)]
    share = np.bincount([one.model for one in choices], minlength=3) / len(choices)
    assert share == pytest.approx(np.mean([one.propensities for one in choices], axis=0), abs=0.05)
    assert all(one.propensities.sum() == pytest.approx(1) for one in choices)


def test_without_a_loss_allowed_the_baseline_decides():
    bandit = Bandit(["a", "b"], BanditSettings(max_loss=0))
    assert {bandit.choose(np.array([0.5, 0.9]), NOTHING, 0).model for _ in range(200)} == {0}


def test_a_better_model_is_found_and_a_worse_one_left_alone():
    success = np.array([0.6, 0.6])
    better = run(Bandit(["a", "b"]), [0.5, 0.8], success, 1500, np.random.default_rng(1))
    assert (better[-300:] == 1).mean() > 0.9
    worse = run(Bandit(["a", "b"]), [0.6, 0.3], success, 1500, np.random.default_rng(1))
    assert (worse == 1).mean() < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_against_the_baseline_stays_within_the_bound(seed):
    """The other models are worse than predicted, as far as their intervals reach."""
    chances = np.array([0.7, 0.45, 0.4])
    chosen = run(
        Bandit(["a", "b", "c"], BanditSettings(seed=seed)),
        chances,
        np.array([0.7, 0.65, 0.6]),
        1500,
        np.random.default_rng(seed),
    )
    loss = np.cumsum(chances[0] - chances[chosen]) / np.arange(1, len(chosen) + 1)
    assert loss[100:].max() <= 0.02


def test_inverted_outcomes_do_no_lasting_harm():
    generator = np.random.default_rng(2)
    bandit = Bandit(["a", "b"], BanditSettings(decay=0.99))
    success, chances = np.array([0.8, 0.6]), [0.8, 0.6]
    run(bandit, chances, success, 300, generator, flip=1.0)
    chosen = run(bandit, chances, success, 900, generator)
    assert (chosen[-300:] == 0).mean() > 0.9


def test_all_models_forget_so_that_one_that_is_not_chosen_is_tried_again():
    bandit = Bandit(["a", "b"], BanditSettings(decay=0.98))
    success = np.array([0.6, 0.6])
    run(bandit, [0.6, 0.1], success, 600, np.random.default_rng(3))
    chosen = run(bandit, [0.3, 0.9], success, 900, np.random.default_rng(4))
    assert (chosen[-300:] == 1).mean() > 0.8


def test_a_saved_state_decides_the_same_bits():
    bandit = Bandit(["a", "b"], BanditSettings(max_loss=0.3))
    success = np.array([0.6, 0.55])
    run(bandit, [0.5, 0.7], success, 300, np.random.default_rng(0))
    again = Bandit.from_dict(json.loads(json.dumps(bandit.to_dict())))
    assert again.state == bandit.state
    for _ in range(50):
        first, second = bandit.choose(success, NOTHING, 0), again.choose(success, NOTHING, 0)
        assert (first.model, first.state, first.number) == (second.model, second.state, second.number)
        assert first.propensities.tobytes() == second.propensities.tobytes()


def test_every_decision_and_outcome_changes_the_state():
    bandit = Bandit(["a", "b"])
    states = {bandit.state}
    choice = bandit.choose(np.array([0.5, 0.5]), NOTHING, 0)
    states.add(bandit.state)
    bandit.learn(choice.model, 1.0, 0.5, choice.features)
    states.add(bandit.state)
    assert len(states) == 3


def test_models_that_may_not_serve_are_never_chosen():
    bandit = Bandit(["a", "b", "c"], BanditSettings(max_loss=1.0))
    allowed = np.array([True, False, True])
    choices = [bandit.choose(np.array([0.2, 0.9, 0.2]), np.zeros(3), 0, allowed) for _ in range(200)]
    assert {one.model for one in choices} == {0, 2}
    assert all(one.propensities[1] == 0 for one in choices)


def test_the_draw_is_uniform_and_depends_on_seed_and_number():
    drawn = np.array([uniform(7, number) for number in range(4000)])
    assert np.histogram(drawn, 4, (0, 1))[0] == pytest.approx(np.full(4, 1000), abs=120)
    assert uniform(7, 1) != uniform(8, 1)


@pytest.mark.parametrize(
    ("values", "words"),
    [({"max_loss": -1}, "max_loss is -1"), ({"decay": math.nan}, "decay is nan"), ({"prior_std": 0}, "prior_std is 0")],
)
def test_settings_out_of_range_are_errors(values, words):
    with pytest.raises(ConfigError, match=words):
        BanditSettings(**values)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.zeros(3), NOTHING, 0), "success has the shape"),
        ((np.array([0.5, np.nan]), NOTHING, 0), "finite"),
        ((np.array([0.5, 0.5]), NOTHING, 1, np.array([True, False])), "the baseline b is not allowed"),
    ],
)
def test_bad_numbers_are_errors(arguments, words):
    with pytest.raises(InvalidInputError, match=words):
        Bandit(["a", "b"]).choose(*arguments)


@pytest.mark.parametrize("values", [{}, {"models": ["a"], "settings": {"x": 1}}, {"models": 7, "settings": {}}])
def test_a_bad_state_is_an_error(values):
    with pytest.raises(ConfigError, match="not the state of a bandit"):
        Bandit.from_dict(values)
