"""Thresholds for a share, a cost and a quality: what is promised is achieved or said to be missed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout import InvalidInputError
from turnout.calibrate import CostModel, threshold_for_cost, threshold_for_quality, threshold_for_share
from turnout.calibrate.choice import candidate_thresholds
from turnout.calibrate.share import clopper_pearson, prompts_for_precision, quantile_table

rates = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=80)


@given(rates, st.floats(0, 1))
@settings(deadline=None)
def test_the_achieved_share_is_what_the_threshold_does(sample, share):
    choice = threshold_for_share(sample, share)
    assert 0 <= choice.threshold <= 1
    assert choice.achieved == np.mean(np.array(sample) >= choice.threshold)
    assert choice.low <= choice.achieved <= choice.high
    best = min(abs(np.mean(np.array(sample) >= t) - share) for t in [*sample, 0.0, 1.0])
    assert abs(choice.achieved - share) <= best + 1e-12


@given(rates)
@settings(deadline=None)
def test_cuts_are_all_the_divisions_there_are(sample):
    made = candidate_thresholds(sample)
    for threshold, calls in zip(made.thresholds, made.calls, strict=True):
        assert (np.array(sample) >= threshold).sum() == calls


def test_a_plateau_is_told_with_what_can_be_had():
    choice = threshold_for_share([0.1] * 30 + [0.5] * 60 + [0.9] * 10, 0.3, precision=1)
    assert choice.achieved == 0.1
    assert choice.warnings == [
        "60 prompts share one win rate: no threshold gives a share of 0.3000, the nearest are 0.1000 or 0.7000"
    ]


def test_a_small_sample_is_told_with_the_size_it_would_take():
    sample = np.random.default_rng(0).uniform(size=100)
    (warning,) = threshold_for_share(sample, 0.3, precision=0.02).warnings
    assert "100 prompts" in warning
    assert f"{prompts_for_precision(0.3, 0.02):,} prompts" in warning
    assert threshold_for_share(np.random.default_rng(0).uniform(size=20_000), 0.3).warnings == []


def test_the_interval_covers_the_share_of_further_prompts():
    # Uniform win rates: the true share above a threshold t is 1 - t. Clopper-Pearson promises at least 95 %.
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        choice = threshold_for_share(generator.uniform(size=150), 0.3)
        hits += choice.low <= 1 - choice.threshold <= choice.high
    assert hits / 400 >= 0.94
    assert clopper_pearson(0, 20)[0] == 0
    assert clopper_pearson(20, 20)[1] == 1


def test_quantiles_give_back_the_shares():
    sample = np.random.default_rng(1).beta(2, 5, size=5000)
    table = quantile_table(sample)
    for share in (0.1, 0.3, 0.5, 0.9):
        threshold = np.interp((1 - share) * 1000, np.arange(1001), table)
        assert np.mean(sample >= threshold) == pytest.approx(share, abs=1e-3)


def test_costs_of_a_prompt_are_prices_times_tokens():
    strong, weak = CostModel(10, 30, 1, 2, strong_answer_tokens=100, weak_answer_tokens=50).costs(["x" * 400])
    assert strong[0] == pytest.approx((100 * 10 + 100 * 30) / 1e6)
    assert weak[0] == pytest.approx((100 * 1 + 50 * 2) / 1e6)


@given(st.integers(0, 10_000), st.floats(0.1, 1.0))
@settings(deadline=None)
def test_the_cost_stays_within_the_budget_and_spends_it(seed, part):
    generator = np.random.default_rng(seed)
    sample = generator.uniform(size=200)
    strong, weak = generator.uniform(5, 15, size=200), generator.uniform(0, 1, size=200)
    budget = weak.mean() + part * (strong.mean() - weak.mean())
    choice = threshold_for_cost(sample, strong, weak, per_request=budget, resamples=20)
    assert choice.achieved == pytest.approx(np.where(sample >= choice.threshold, strong, weak).mean())
    assert choice.achieved <= budget * (1 + 1e-9)
    # One more strong call would cost at most 15/200 more.
    assert choice.strong_share == 1 or choice.achieved > budget - 0.1
    assert choice.low <= choice.achieved <= choice.high


def test_a_month_is_requests_times_cost():
    sample = np.linspace(0, 1, 500)
    per_request = threshold_for_cost(sample, np.full(500, 2.0), np.full(500, 1.0), per_request=1.5)
    per_month = threshold_for_cost(
        sample, np.full(500, 2.0), np.full(500, 1.0), per_month=1500, requests_per_month=1000
    )
    assert per_month.threshold == per_request.threshold
    assert per_month.details["per_month"] == pytest.approx(1500)


def test_a_budget_below_the_weak_model_is_refused_with_numbers():
    with pytest.raises(InvalidInputError, match=r"budget is 0\.5 per request, and no threshold costs less than 1 "):
        threshold_for_cost([0.1, 0.2], [2, 2], [1, 1], per_request=0.5)
    with pytest.raises(InvalidInputError, match="either per request or per month"):
        threshold_for_cost([0.1, 0.2], [2, 2], [1, 1])


def test_quality_takes_the_fewest_calls_that_recover_the_gap():
    sample = np.arange(10) / 10
    strong, weak = np.ones(10), np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0.0])
    choice = threshold_for_quality(sample, strong, weak, recovered=0.8, resamples=50)
    assert choice.strong_share == pytest.approx(0.4)
    assert choice.achieved == pytest.approx(0.8)
    with pytest.raises(InvalidInputError, match="no gap"):
        threshold_for_quality(sample, weak, strong)


def test_quality_says_when_the_sample_flatters_itself():
    generator = np.random.default_rng(3)
    sample = generator.uniform(size=150)
    strong = (generator.uniform(size=150) < 0.7).astype(float)
    weak = (generator.uniform(size=150) < 0.5).astype(float)
    choice = threshold_for_quality(sample, strong, weak, recovered=0.95, resamples=200)
    assert choice.low < choice.achieved
    assert any("150 prompts give PGR to within" in warning for warning in choice.warnings)
