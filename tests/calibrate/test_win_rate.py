"""Calibration: honest probabilities, the same order, the same decisions, applied by the core."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import turnout
from turnout.artifact.calibration import logit
from turnout.calibrate import (
    fit_calibration,
    raw_win_rates,
    read_thresholds,
    store_calibration,
    store_threshold,
    threshold_for_share,
    write_thresholds,
)
from turnout.calibrate.win_rate import fit_isotonic, fit_platt, invert
from turnout.evaluate.reliability import ece
from turnout.reference.mf import calibrate, sigmoid

PROMPTS = [f"write a sum of {row} and {row * 7} in python, {'why' * (row % 5)}" for row in range(300)]


@pytest.fixture
def artifact(tiny, tmp_path):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny.path, folder)
    return folder


def sample(count, kind, seed=0):
    generator = np.random.default_rng(seed)
    raw = sigmoid(generator.normal(size=count))
    truth = sigmoid(2.0 * logit(raw) - 0.5) if kind == "platt" else np.where(raw < 0.5, 0.2, 0.8)
    return raw, (generator.uniform(size=count) < truth).astype(float)


def test_platt_finds_the_slope_and_intercept_of_the_truth():
    fitted = fit_platt(*sample(20_000, "platt"))
    assert fitted["slope"] == pytest.approx(2.0, abs=0.1)
    assert fitted["intercept"] == pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_the_kind_with_the_lower_log_loss_is_chosen_and_it_is_calibrated(kind):
    raw, outcome = sample(5000, kind)
    found = fit_calibration(raw, outcome)
    assert found.manifest["kind"] == kind
    assert found.log_loss[kind] == min(found.log_loss.values())
    further, truth = sample(20_000, kind, seed=1)
    assert ece(found.apply(further), truth) < 0.03 < ece(further, truth)


@given(st.lists(st.tuples(st.floats(0.001, 0.999), st.sampled_from([0.0, 0.5, 1.0])), min_size=5, max_size=100))
@settings(deadline=None)
def test_an_isotonic_map_rises_everywhere(points):
    raw, outcome = map(np.array, zip(*points, strict=True))
    try:
        fitted = fit_isotonic(raw, outcome)
    except turnout.InvalidInputError:
        return
    x, y = np.array(fitted["x"]), np.array(fitted["y"])
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) > 0).all()
    assert x[0] == 0
    assert x[-1] == 1
    assert y.min() >= 0
    assert y.max() <= 1


@given(st.floats(0.01, 0.99), st.floats(0.1, 5), st.floats(-2, 2))
@settings(max_examples=50, deadline=None)
def test_calibrations_are_inverted(raw, slope, intercept):
    platt = {"kind": "platt", "slope": slope, "intercept": intercept}
    assert invert(calibrate(logit(raw), platt), platt) == pytest.approx(raw, abs=1e-4)
    isotonic = {"kind": "isotonic", "x": [0.0, 0.3, 1.0], "y": [0.1, 0.5, 0.6]}
    assert invert(calibrate(logit(raw), isotonic), isotonic) == pytest.approx(raw, abs=1e-9)


def test_a_router_that_ranks_backwards_is_refused():
    raw, outcome = sample(1000, "platt")
    with pytest.raises(turnout.InvalidInputError, match="keeps the order"):
        fit_platt(raw, 1 - outcome)
    with pytest.raises(turnout.InvalidInputError, match="expected at least 50"):
        fit_calibration(raw[:10], outcome[:10])


def test_a_tie_is_half_a_win_and_half_a_loss():
    raw, outcome = sample(2000, "platt")
    outcome[::4] = 0.5
    whole = np.concatenate([np.ceil(outcome), np.floor(outcome)])
    tied, doubled = fit_platt(raw, outcome), fit_platt(np.concatenate([raw, raw]), whole)
    assert tied["slope"] == pytest.approx(doubled["slope"], rel=1e-3)
    assert tied["intercept"] == pytest.approx(doubled["intercept"], abs=1e-3)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_a_stored_calibration_changes_win_rates_and_no_decision(artifact, kind):
    before = turnout.load(artifact)
    raw = raw_win_rates(artifact, PROMPTS)
    store_threshold(artifact, threshold_for_share(before.win_rates(PROMPTS), 0.4), before.win_rates(PROMPTS))
    before = turnout.load(artifact)
    generator = np.random.default_rng(0)
    outcome = (generator.uniform(size=len(raw)) < 0.2 + 0.6 * (raw > np.median(raw))).astype(float)
    found = fit_calibration(raw, outcome, kind=kind)
    store_calibration(artifact, found)
    after = turnout.load(artifact)
    assert after.artifact_hash != before.artifact_hash
    np.testing.assert_allclose(after.win_rates(PROMPTS), found.apply(raw), atol=2e-6)
    decisions = [[one.is_strong for one in router.route_batch(PROMPTS)] for router in (before, after)]
    assert decisions[0] == decisions[1]
    for share in (0.1, 0.5, 0.8):
        shares = [
            np.mean([one.is_strong for one in r.route_batch(PROMPTS, strong_share=share)]) for r in (before, after)
        ]
        assert shares == pytest.approx([share, share], abs=0.01)
    # No ties are made: float32 near 0.5 has a step of 3e-8, and win rates of different prompts differ by more.
    assert len(np.unique(after.win_rates(PROMPTS))) >= 0.99 * len(np.unique(before.win_rates(PROMPTS)))


def test_a_stored_threshold_is_the_default_and_its_quantiles_serve_shares(artifact):
    router = turnout.load(artifact)
    with pytest.raises(turnout.InvalidInputError, match="turnout calibrate --save"):
        router.route("why", strong_share=0.3)
    win_rates = router.win_rates(PROMPTS)
    choice = threshold_for_share(win_rates, 0.3, precision=1)
    store_threshold(artifact, choice, win_rates, prompts_from="tests")
    router = turnout.load(artifact)
    assert router.threshold == pytest.approx(choice.threshold, rel=1e-15)
    assert np.mean([one.is_strong for one in router.route_batch(PROMPTS)]) == choice.achieved
    for share in (0.0, 0.05, 0.3, 0.77, 1.0):
        found = np.mean([one.is_strong for one in router.route_batch(PROMPTS, strong_share=share)])
        assert found == pytest.approx(share, abs=1 / len(PROMPTS) + 1e-3)
        assert turnout.load(artifact, strong_share=share).threshold == router.route("why", strong_share=share).threshold
    with pytest.raises(turnout.InvalidInputError, match="not both"):
        router.route("why", threshold=0.1, strong_share=0.3)
    with pytest.raises(turnout.InvalidInputError, match=r"strong_share is 1\.5"):
        router.route_batch(["why"], strong_share=1.5)


async def test_aroute_takes_a_share(artifact):
    router = turnout.load(artifact)
    store_threshold(artifact, threshold_for_share(router.win_rates(PROMPTS), 0.3), router.win_rates(PROMPTS))
    router = turnout.load(artifact)
    assert await router.aroute("why", strong_share=0.4) == router.route("why", strong_share=0.4)


def test_routellms_thresholds_work_as_they_are(tiny):
    decision = tiny.route("why", threshold=0.11593)
    assert decision.threshold == 0.11593
    assert decision.is_strong == (decision.win_rate >= 0.11593)


def test_a_thresholds_file_keeps_one_entry_a_target(tmp_path):
    path = tmp_path / "thresholds.json"
    for seed in (0, 1):
        win_rates = np.random.default_rng(seed).uniform(size=100)
        for share in (0.3, 0.5):
            write_thresholds(path, threshold_for_share(win_rates, share), artifact_hash="abc")
    entries = read_thresholds(path)
    assert [(one["asked"], one["artifact_hash"]) for one in entries] == [(0.3, "abc"), (0.5, "abc")]
    path.write_text("[]")
    with pytest.raises(turnout.InvalidInputError, match="a list `thresholds`"):
        read_thresholds(path)
