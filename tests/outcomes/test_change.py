"""A change is noticed soon, and false alarms are as rare as stated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from turnout.errors import ConfigError, InvalidInputError
from turnout.outcomes import change
from turnout.outcomes.change import ChangeDetector


def first_alarm(detector, values):
    return next((number for number, value in enumerate(values) if detector.add(value)), None)


@pytest.mark.parametrize("kind", ["outcomes", "latencies"])
def test_the_mean_time_to_a_false_alarm_is_at_least_what_is_stated(kind):
    generator = np.random.default_rng(0)
    times = []
    for seed in range(60):
        values = generator.random(4000) < 0.8 if kind == "outcomes" else generator.lognormal(size=4000)
        found = first_alarm(ChangeDetector(200, seed), values)
        times.append(4000 if found is None else found)
    # Sequences without an alarm count as shorter than they are.
    assert np.mean(times) >= 200


def test_the_mean_time_to_a_false_alarm_holds_where_values_are_forgotten(monkeypatch):
    monkeypatch.setattr(change, "MOST_VALUES", 100)
    generator = np.random.default_rng(1)
    times = []
    for seed in range(40):
        found = first_alarm(ChangeDetector(200, seed), generator.random(3000) < 0.8)
        times.append(3000 if found is None else found)
    assert np.mean(times) >= 200


@pytest.mark.parametrize("number", [1000, 1020, 1499])
def test_a_change_is_noticed_after_values_were_forgotten(monkeypatch, number):
    monkeypatch.setattr(change, "MOST_VALUES", 1000)
    generator, detector = np.random.default_rng(0), ChangeDetector(10_000)
    assert first_alarm(detector, generator.random(number) < 0.8) is None
    assert first_alarm(detector, generator.random(1000) < 0.5) < 200


@pytest.mark.parametrize(("before", "after", "most"), [(0.8, 0.5, 200), (0.5, 0.8, 200), (0.9, 0.7, 400)])
def test_a_change_of_outcomes_is_noticed(before, after, most):
    delays = []
    for seed in range(10):
        generator, detector = np.random.default_rng(seed), ChangeDetector(10_000, seed)
        assert first_alarm(detector, generator.random(500) < before) is None
        delays.append(first_alarm(detector, generator.random(4000) < after))
    assert np.median(delays) <= most


def test_slower_answers_are_noticed_whatever_their_scale():
    generator = np.random.default_rng(0)
    fast, slow = generator.lognormal(size=500), generator.lognormal(size=500) * 2
    detectors = [ChangeDetector(), ChangeDetector()]
    for detector, scale in zip(detectors, (1.0, 1e-6), strict=True):
        assert first_alarm(detector, fast * scale) is None
    assert first_alarm(detectors[0], slow) == first_alarm(detectors[1], slow * 1e-6) < 150


def test_after_an_alarm_the_new_level_is_the_usual_one():
    detector = ChangeDetector()
    assert first_alarm(detector, [0.0] * 300) is None
    assert first_alarm(detector, [1.0] * 300) is not None
    assert detector.evidence == 0
    assert first_alarm(detector, [1.0] * 300) is None


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(change, "MOST_VALUES", 100)
    detector = ChangeDetector()
    for value in np.random.default_rng(0).random(1000):
        detector.add(value)
        assert len(detector._values) <= 100


def test_bad_values_are_errors():
    with pytest.raises(InvalidInputError, match="value is nan"):
        ChangeDetector().add(math.nan)
    with pytest.raises(ConfigError, match="mean_values is 1"):
        ChangeDetector(1)
