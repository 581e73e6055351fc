"""Metrics: RouteLLM's own numbers, closed forms, and rules that hold for any data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout import InvalidInputError
from turnout.evaluate import metrics
from turnout.evaluate.curves import Ranking, oracle_curve, random_curve
from turnout.evaluate.metrics import Prices
from turnout.evaluate.reliability import ece, reliability, strong_wins
from turnout.evaluate.routellm import apgr_of_resamples, calibrated_threshold, routellm_metrics

FIXTURES = Path(__file__).parent.parent / "fixtures" / "routellm"
EXPECTED = json.loads((FIXTURES / "metrics.json").read_text())
INPUTS = np.load(FIXTURES / "metrics.npz")
# Arithmetic in double precision on at most 1,000 terms; RouteLLM's own pandas and numpy versions differ by less.
TOLERANCE = 1e-9


def case(name):
    return tuple(INPUTS[f"{name}_{part}"].astype(float) for part in ("scores", "strong_correct", "weak_correct"))


@pytest.mark.parametrize("name", EXPECTED)
def test_routellm_figures_are_those_of_its_own_code(name):
    found, expected = routellm_metrics(*case(name)), EXPECTED[name]
    for field in ("thresholds", "strong_percentage", "accuracy", "weak_accuracy", "strong_accuracy", "auc", "apgr"):
        np.testing.assert_allclose(getattr(found, field), expected[field], rtol=0, atol=TOLERANCE, err_msg=field)
    assert {str(key): value for key, value in found.cpt.items()} == expected["cpt"]
    for target, value in expected["cpt_unrounded"].items():
        assert found.cpt_unrounded[int(target)] == pytest.approx(value, abs=TOLERANCE)
    for share, value in expected["calibrated_thresholds"].items():
        assert calibrated_threshold(case(name)[0], float(share)) == pytest.approx(value, abs=TOLERANCE)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_oracle_is_routellms_optimal_accuracy(name):
    oracle = oracle_curve(*case(name)[1:])
    for percentage, value in EXPECTED[name]["optimal_accuracy"].items():
        found = np.interp(float(percentage) / 100, oracle.shares, oracle.quality) * 100
        assert found == pytest.approx(value, abs=TOLERANCE)


def test_routellm_refuses_repeated_edges_and_so_does_its_copy():
    ties = INPUTS["heavy_ties_scores"]
    ones = np.ones(len(ties))
    with pytest.raises(InvalidInputError, match="bin edges are not unique"):
        routellm_metrics(ties, ones, 0 * ones)
    assert routellm_metrics(ties, ones, 0 * ones, repeated_edges=True).strong_accuracy == 100


def test_resampled_routellm_apgr_of_the_sample_itself_is_apgr():
    for name in EXPECTED:
        once = np.ones((1, 1000), dtype=np.int64)
        assert apgr_of_resamples(*case(name), once)[0] == pytest.approx(EXPECTED[name]["apgr"], abs=1e-9)


outcomes = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1), min_size=n, max_size=n),
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n, max_size=n),
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=n, max_size=n),
    )
)


def figures(win_rates, strong, weak):
    curve = Ranking(win_rates, strong, weak).curve()
    return curve, (curve.shares, curve.quality, curve.weak, curve.strong)


@given(outcomes)
@settings(deadline=None)
def test_curves_run_from_the_weak_to_the_strong_model(data):
    curve, _ = figures(*data)
    assert curve.shares[0] == 0
    assert curve.shares[-1] == 1
    assert (np.diff(curve.shares) > 0).all()
    assert curve.quality[0] == pytest.approx(np.mean(data[2]))
    assert curve.quality[-1] == pytest.approx(np.mean(data[1]))


@given(outcomes)
@settings(deadline=None)
def test_reversing_a_router_mirrors_its_apgr(data):
    rates, strong, weak = map(np.array, data)
    _, forward = figures(rates, strong, weak)
    _, backward = figures(1 - rates, strong, weak)
    # Equal win rates stay equal under 1 - x only where rounding makes no new ties.
    if len(np.unique(rates)) == len(np.unique(1 - rates)) and strong.mean() != weak.mean():
        assert metrics.apgr(*forward) + metrics.apgr(*backward) == pytest.approx(1.0, abs=1e-7)


@given(outcomes)
@settings(deadline=None)
def test_apgr_depends_on_order_only(data):
    rates, strong, weak = map(np.array, data)
    squashed = rates / 4 + 0.5
    if strong.mean() != weak.mean() and len(np.unique(rates)) == len(np.unique(squashed)):
        assert metrics.apgr(*figures(rates, strong, weak)[1]) == pytest.approx(
            metrics.apgr(*figures(squashed, strong, weak)[1])
        )


@given(outcomes)
@settings(deadline=None)
def test_no_router_beats_the_oracle_at_any_share(data):
    curve, _ = figures(*data)
    oracle = oracle_curve(data[1], data[2])
    assert (curve.quality <= np.interp(curve.shares, oracle.shares, oracle.quality) + 1e-9).all()


@given(outcomes)
@settings(deadline=None)
def test_a_constant_router_is_random_routing(data):
    _, strong, weak = data
    _, shape = figures(np.full(len(strong), 0.3), strong, weak)
    if np.mean(strong) != np.mean(weak):
        assert metrics.apgr(*shape) == pytest.approx(0.5)
        assert metrics.apgr_ten_point(*shape) == pytest.approx(0.55)
        assert metrics.cpt(*shape, 0.5) == pytest.approx(0.5)


@given(outcomes, st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_counts_equal_repeated_rows(data, seed):
    rates, strong, weak = map(np.array, data)
    counts = np.random.default_rng(seed).multinomial(len(rates), np.full(len(rates), 1 / len(rates)))
    by_counts = Ranking(rates, strong, weak).curve(counts)
    by_rows = Ranking(np.repeat(rates, counts), np.repeat(strong, counts), np.repeat(weak, counts)).curve()
    assert metrics.auc(by_counts.shares, by_counts.quality) == pytest.approx(
        metrics.auc(by_rows.shares, by_rows.quality)
    )
    outcome = strong_wins(strong, weak)
    assert ece(rates, outcome, bins=1, counts=counts) == pytest.approx(
        ece(np.repeat(rates, counts), np.repeat(outcome, counts), bins=1)
    )


def test_figures_of_a_curve_drawn_by_hand():
    # Three prompts; the router sends the one that gains first, the one that loses last.
    _, shape = figures([0.9, 0.5, 0.1], [1, 1, 0], [0, 1, 0])
    assert metrics.apgr(*shape) == pytest.approx((0.5 + 1 + 1) / 3)
    assert metrics.cpt(*shape, 0.5) == pytest.approx(1 / 6)
    assert metrics.cpt(*shape, 1.0) == pytest.approx(1 / 3)


def test_cpt_takes_the_first_crossing_and_knows_when_there_is_none():
    shares = np.array([0.0, 0.25, 0.5, 1.0])
    quality = np.array([0.0, 0.8, 0.2, 1.0])
    assert metrics.cpt(shares, quality, 0.0, 1.0, 0.4) == pytest.approx(0.125)
    assert np.isnan(metrics.cpt(shares, quality, 0.0, 2.0, 0.9))
    assert np.isnan(metrics.cpt(shares, quality, 0.5, 0.5, 0.5))


def test_savings():
    prices = Prices(strong=1.0, weak=0.1)
    assert metrics.saving_over_strong(0.0, prices) == pytest.approx(0.9)
    assert metrics.saving_over_strong(1.0, prices) == pytest.approx(0.0)
    assert metrics.saving_over_random(0.5, 0.5, prices) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="expected 0 <= weak"):
        Prices(strong=1.0, weak=2.0)


def test_random_curve_is_a_straight_line():
    curve = random_curve([1, 1, 0, 1], [0, 1, 0, 0])
    assert metrics.apgr(curve.shares, curve.quality, curve.weak, curve.strong) == pytest.approx(0.5)


def test_calibration_error_of_honest_and_of_boastful_win_rates():
    generator = np.random.default_rng(0)
    rates = generator.uniform(size=20_000)
    outcome = (generator.uniform(size=20_000) < rates).astype(float)
    assert ece(rates, outcome) < 0.02
    assert ece(np.full(100, 0.9), np.full(100, 0.5)) == pytest.approx(0.4)
    bins = reliability(rates, outcome)
    assert [one.prompts for one in bins] == [2000] * 10
    assert all(abs(one.predicted - one.observed) < 0.05 for one in bins)


def test_ties_count_half():
    assert strong_wins([1, 0.5, 0], [0, 0.5, 1]).tolist() == [1, 0.5, 0]
