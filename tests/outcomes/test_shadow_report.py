"""What ``turnout report`` says from shadow verdicts and from receipts of pools."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from tests.outcomes.conftest import receipt

from turnout.cli import main
from turnout.evaluate.traffic.estimates import Resampling, shadowed
from turnout.evaluate.traffic.report import report_of
from turnout.evaluate.traffic.traffic import join
from turnout.outcomes import Outcome, Outcomes
from turnout.token_prices import TokenPrices

PRICES = {"big": TokenPrices(10, 30), "small": TokenPrices(1, 3)}
FEW = Resampling(200)
SIMULATIONS = 100
#: 95 % intervals of 100 simulations cover less often than this once in a thousand, where they are right.
FEWEST_COVERED = 87
#: The share of shadow evaluation in the first and in the second half of the traffic, and requests of each.
SHARES, ROWS = (0.1, 0.5), 800


def compared(scores, generator, *, lost=0.0):
    """Traffic on the table whose prompts become harder; the share of comparisons grows with it. The judge prefers the better score.

    Returns:
        The traffic, and by how much `big` is better than what was answered, over decisions of `small` and over all.
    """
    big, small = scores.of("gpt-4"), scores.of("mixtral")
    noise = np.random.default_rng(3).normal(size=len(big))
    win_rate = 1 / (1 + np.exp(-(big - small + noise)))
    gap = np.sign(big - small)
    weights = np.stack([np.where(gap > 0, 1.0, 3.0), np.where(gap > 0, 3.0, 1.0)])
    weights /= weights.sum(axis=1, keepdims=True)
    receipts, verdicts = [], []
    for half, share in enumerate(SHARES):
        for row in generator.choice(len(big), ROWS, p=weights[half]):
            number = len(receipts)
            is_big = generator.random() < win_rate[row]
            one = receipt(number, "big" if is_big else "small", prompt_sha256=f"p{row}")
            if not is_big and generator.random() < share:
                one["shadow"] = {"model": "big", "propensity": share, "position": 1}
                if generator.random() >= lost:
                    value = (gap[row] + 1) / 2
                    verdicts.append(Outcome(f"r{number}", "preference", value, "big", propensity=share, position=1))
            receipts.append(one)
    others = (weights * (1 - win_rate)).sum()
    gained = (weights * (1 - win_rate) * gap).sum()
    return join(receipts, verdicts, PRICES), gained / others, gained / 2


def test_intervals_of_verdicts_cover_the_truth_though_the_share_was_changed(scores):
    generator = np.random.default_rng(0)
    covered = dict.fromkeys(["gain", "overall"], 0)
    plain = 0
    for _ in range(SIMULATIONS):
        traffic, gain, overall = compared(scores, generator)
        found = shadowed(traffic, "big", FEW)
        covered["gain"] += found.gain.low <= gain <= found.gain.high
        covered["overall"] += found.overall.low <= overall <= found.overall.high
        verdicts = 2 * traffic.verdicts["big"] - 1
        half = 1.96 * np.nanstd(verdicts) / np.sqrt((~np.isnan(verdicts)).sum())
        plain += abs(np.nanmean(verdicts) - gain) <= half
    assert {name: count for name, count in covered.items() if count < FEWEST_COVERED} == {}
    # Without propensities the second half would count five times as much.
    assert plain < FEWEST_COVERED - 20


def test_comparisons_that_were_drawn_without_a_verdict_widen_the_bounds(scores):
    traffic, gain, _ = compared(scores, np.random.default_rng(1), lost=0.3)
    found = shadowed(traffic, "big", FEW)
    assert found.drawn > found.known
    low, high = found.bounds
    assert low < found.gain.value < high
    assert low < gain < high


def test_verdicts_of_shadow_evaluation_are_not_mixed_with_preferences_of_clients():
    receipts = [receipt(number, "small") for number in range(100)]
    outcomes = [Outcome(f"r{number}", "preference", 1.0, "big", propensity=0.5) for number in range(40)]
    outcomes += [Outcome(f"r{number}", "preference", 0.0, "big") for number in range(40, 100)]
    found = shadowed(join(receipts, outcomes, PRICES), "big", FEW)
    assert (found.known, found.gain.value, found.overall.value, found.bounds) == (40, 1.0, 1.0, None)


def test_a_model_that_never_answered_is_reported():
    receipts = [receipt(number, "small", shadow={"model": "new", "propensity": 0.5}) for number in range(60)]
    outcomes = [Outcome(f"r{number}", "preference", 1.0, "new", propensity=0.5) for number in range(30)]
    report = report_of(join(receipts, outcomes, {}), {}, FEW)
    assert report["always"]["new"]["verdicts"]["gain"]["value"] == 1.0
    assert report["always"]["new"]["verdicts"]["bounds"] == (0.0, 1.0)


@pytest.fixture
def pool_log(tmp_path):
    """A log of a pool's decisions and its outcomes."""
    log, database = tmp_path / "decisions.jsonl", tmp_path / "outcomes.sqlite"
    lines = []
    for number in range(60):
        model = "small" if number % 3 else "large:high"
        fields = {"success": 0.8, "expected_cost": 0.001, "reason": "cheapest", "request": {"max_cost": 0.1}}
        one = {**receipt(number, model), **fields, "excluded": {"middle": "quota"}, "pool_hash": "ab"}
        del one["win_rate"]
        lines.append({**one, "cost": 0.002 if number % 3 else 0.03, "shadow": {"model": "middle", "propensity": 0.1}})
    log.write_text("\n".join(map(json.dumps, lines)))
    with Outcomes(database) as outcomes:
        outcomes.record_many([{"receipt_id": f"r{number}", "passed": number % 3 == 0} for number in range(60)])
        for number in range(25):
            outcomes.record_verdict(f"r{number}", "middle", "tie", propensity=0.1, position=2)
    return [str(log), "--outcomes", str(database), "--resamples", "50"]


def test_receipts_of_a_pool_are_reported(pool_log, capsys):
    assert main(["report", *pool_log, "--price", "small", "1", "3", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["served"] == {"small": 40, "large:high": 20}
    assert found["cost"]["total"] == pytest.approx(40 * 0.002 + 20 * 0.03)
    assert found["grades"]["passed"]["by_model"]["large:high"]["value"] == 1.0
    assert found["always"]["middle"]["verdicts"]["known"] == 25
    assert found["always"]["small"]["verdicts"] is None


def test_the_report_says_what_was_drawn(pool_log, capsys):
    assert main(["report", *pool_log]) == 0
    out = capsys.readouterr().out
    assert "always middle: better minus worse answers +0.000 [+0.000, +0.000] where other models answered" in out
    assert "of 60 drawn; with the missing ones anything in [-0.583, +0.583]" in out


def test_long_prompts_are_not_kept():
    def receipts():
        for number in range(2_000):
            yield receipt(number, prompt="x" * 20_000, request={"long": ["y"] * 1_000})

    tracemalloc.start()
    try:
        assert len(join(receipts(), [], PRICES)) == 2_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000 * 2_000
