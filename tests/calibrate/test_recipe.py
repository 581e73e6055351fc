"""How the recipe of the shipped `mf` calibrates and scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from recipes.mf import calibration
from recipes.mf.scores import apgr_of

from turnout.artifact.calibration import calibrate, logit


def test_equal_scores_have_one_figure_whatever_the_order_of_the_rows() -> None:
    score = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    gain = np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    assert apgr_of(score, gain) == pytest.approx(apgr_of(score[::-1], gain[::-1]))
    # Half of the gap after the first fifth, the rest on a straight line over three fifths.
    assert apgr_of(score, gain) == pytest.approx(0.2 * 0.25 + 0.6 * 0.75 + 0.2)


def test_outcomes_count_three_times_where_they_contradict_grades() -> None:
    generator = np.random.default_rng(0)
    raw = generator.uniform(0.2, 0.8, 3000)
    is_outcome = np.arange(3000) < 1500
    chance = np.where(is_outcome, 0.3 + 0.2 * raw, 0.6 + 0.2 * raw)
    fitted = calibration.fit_map(raw, chance, is_outcome)
    assert fitted["kind"] == "isotonic"
    found = calibrate(logit(np.array([0.5])), fitted)[0]
    assert found == pytest.approx((3 * 0.4 + 0.7) / 4, abs=0.02)


def test_the_error_is_that_of_prompts_that_the_map_has_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    raw = generator.uniform(0.2, 0.8, 2000)
    true = np.clip(0.3 + 0.5 * raw**2, 0.0, 1.0)
    chance = (generator.random(2000) < true).astype(np.float64)
    is_outcome = np.arange(2000) < 700
    prompts = [str(row) for row in range(2000)]

    def chances(data: object) -> tuple[list[str], np.ndarray, np.ndarray]:
        return prompts, chance, is_outcome

    def raw_rates(asked: Sequence[str]) -> np.ndarray:
        return raw[[int(prompt) for prompt in asked]]

    monkeypatch.setattr(calibration, "held_out_chances", chances)
    found = calibration.calibration_error(None, raw_rates)
    assert [found[name]["prompts"] for name in ("all", "outcomes", "grades")] == [2000, 700, 1300]
    low, high = found["all"]["interval"]
    # The noise of a perfect map on ten bins of 200 prompts is about .03; one that had seen each prompt alone would have less.
    assert 0.005 < found["all"]["error"] < 0.06
    assert low <= found["all"]["error"] <= high
    drawn = generator.permutation(chance)
    monkeypatch.setattr(calibration, "held_out_chances", lambda data: (prompts, drawn, is_outcome))
    flat = calibration.calibration_error(None, raw_rates)
    assert flat["all"]["error"] < 0.1, "without a signal the map is nearly flat"
