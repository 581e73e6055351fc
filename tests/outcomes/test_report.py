"""``turnout report``: costs and grades with intervals that cover the truth, and no claim without data for it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from tests.outcomes.conftest import receipt

from turnout import InvalidInputError
from turnout.cli import main
from turnout.evaluate.traffic.estimates import Resampling, bounds, counterfactual, mean_of, savings, shadowed
from turnout.evaluate.traffic.report import report_of
from turnout.evaluate.traffic.traffic import join
from turnout.outcomes import Outcome, Outcomes
from turnout.serve.cascade.verdict import Judged, Verdict
from turnout.serve.upstreams.usage import Usage
from turnout.token_prices import TokenPrices

PRICES = {"big": TokenPrices(10, 30), "small": TokenPrices(1, 3)}
FEW = Resampling(200)
SIMULATIONS = 100
#: 95 % intervals of 100 simulations cover less often than this once in a thousand, where they are right.
FEWEST_COVERED = 87


def traffic_of(scores, generator, *, rows=600, observed=0.5, floor=0.1, skill=1.0, weak="mixtral"):
    """Requests drawn from the table, routed by a noisy win rate with exploration; half of the outcomes are missing.

    Returns:
        The traffic, and the true mean scores of `big`, `small` and the policy on the table.
    """
    big, small = scores.of("gpt-4"), scores.of(weak)
    # The same rule for every simulation: its win rates know a little of the scores.
    noise = np.random.default_rng(3).normal(size=len(big))
    win_rate = 1 / (1 + np.exp(-skill * (big - small + noise)))
    chance = np.clip(win_rate, floor, 1 - floor)
    drawn = generator.integers(0, len(big), rows)
    is_big = generator.random(rows) < chance[drawn]
    receipts, outcomes = [], []
    for number, (row, strong) in enumerate(zip(drawn, is_big, strict=True)):
        model = "big" if strong else "small"
        propensities = {"big": chance[row], "small": 1 - chance[row]}
        fields = {"prompt_sha256": f"p{row}", "win_rate": win_rate[row], "propensities": propensities}
        receipts.append(receipt(number, model, **fields, input_tokens=int(scores.tokens[row])))
        if generator.random() < observed:
            outcomes.append(Outcome(f"r{number}", "passed", float((big if strong else small)[row])))
    truth = {"big": big.mean(), "small": small.mean(), "policy": (chance * big + (1 - chance) * small).mean()}
    truth["savings"] = (
        1 - ((chance * 10 + (1 - chance) * 1) * (scores.tokens + 30)).sum() / (10 * (scores.tokens + 30)).sum()
    )
    return join(receipts, outcomes, PRICES), truth


def test_intervals_cover_the_truth_of_a_real_table(scores):
    generator = np.random.default_rng(0)
    covered = dict.fromkeys(["big", "big ips", "small", "gain", "policy", "savings"], 0)
    for _ in range(SIMULATIONS):
        traffic, truth = traffic_of(scores, generator)
        grades = traffic.grades["passed"]
        big, small = (counterfactual(traffic, grades, name, FEW) for name in ("big", "small"))
        estimates = {
            "big": (big.doubly_robust, truth["big"]),
            "big ips": (big.ips, truth["big"]),
            "small": (small.doubly_robust, truth["small"]),
            "gain": (big.gain, truth["big"] - truth["policy"]),
            "policy": (mean_of(grades, traffic, FEW).estimate, truth["policy"]),
            "savings": (savings(traffic, "big", PRICES["big"], FEW).estimate, truth["savings"]),
        }
        for name, (found, true) in estimates.items():
            covered[name] += found.low <= true <= found.high
    assert {name: count for name, count in covered.items() if count < FEWEST_COVERED} == {}


def adaptive_traffic(seed, rows=300):
    """Decisions of Thompson sampling, whose propensities depend on the outcomes before: of models with true grades of .75 and .6."""
    generator = np.random.default_rng(seed)
    count, total = np.ones(2), np.full(2, 0.5)
    receipts, outcomes = [], []
    for number in range(rows):
        win_rate = generator.random()
        good = total / count
        z = (good[1] - good[0]) / math.sqrt(0.25 / count[0] + 0.25 / count[1])
        chance = min(max(0.5 * math.erfc(-z / math.sqrt(2)), 1e-6), 1 - 1e-6)
        chosen = int(generator.random() < chance)
        truth = 0.75 + 0.1 * (win_rate - 0.5) if chosen == 0 else 0.6 + 0.7 * (win_rate - 0.5)
        outcome = float(generator.random() < truth)
        count[chosen] += 1
        total[chosen] += outcome
        name, propensities = ("big", "small")[chosen], {"big": 1 - chance, "small": chance}
        receipts.append(receipt(number, name, win_rate=win_rate, propensities=propensities))
        outcomes.append(Outcome(f"r{number}", "passed", outcome))
    return join(receipts, outcomes, PRICES)


def test_intervals_cover_the_truth_where_propensities_learn():
    """The model that is chosen less and less is the hard one: a line fitted once covered it in 79 of 100 runs."""
    covered = {"big": [], "small": []}
    for seed in range(60):
        traffic = adaptive_traffic(seed)
        for name, truth in (("big", 0.75), ("small", 0.6)):
            if (found := counterfactual(traffic, traffic.grades["passed"], name, FEW)) is not None:
                covered[name].append(found.doubly_robust.low <= truth <= found.doubly_robust.high)
    assert len(covered["small"]) >= 40
    assert {name: np.mean(found) for name, found in covered.items() if np.mean(found) < 0.9} == {}


def test_a_few_decisions_with_tiny_chances_are_no_estimate():
    chances = [1e-6 if number == 0 else 0.5 for number in range(60)]
    receipts = [
        receipt(number, "small", propensities={"big": 1 - chance, "small": chance})
        for number, chance in enumerate(chances)
    ]
    traffic = join(receipts, [Outcome(f"r{number}", "passed", 1.0) for number in range(60)], PRICES)
    assert counterfactual(traffic, traffic.grades["passed"], "small", FEW) is None


def test_the_naive_mean_of_a_model_does_not_cover_it(scores):
    """What routing chose for the strong model is not what all requests are: without propensities there is no claim."""
    generator = np.random.default_rng(0)
    missed = 0
    for _ in range(20):
        traffic, truth = traffic_of(scores, generator, skill=2.0, weak="mistral")
        found = mean_of(traffic.grades["passed"], traffic, FEW, traffic.served == "small").estimate
        missed += not found.low <= truth["small"] <= found.high
    assert missed > 10


def test_without_propensities_and_verdicts_nothing_is_said_of_a_single_model():
    receipts = [receipt(number, "big" if number % 2 else "small") for number in range(100)]
    traffic = join(receipts, [Outcome(f"r{number}", "thumbs", 1.0) for number in range(100)], PRICES)
    report = report_of(traffic, PRICES, FEW)
    assert report["always"] == {name: {"grades": {}, "verdicts": None} for name in ("big", "small")}
    assert report["grades"]["thumbs"]["known"] == 100


@pytest.mark.parametrize("chance", [0.0, None])
def test_a_model_without_a_chance_has_no_counterfactual(chance):
    receipts = [receipt(number, "big", propensities={"big": 1.0}) for number in range(100)]
    if chance is not None:
        receipts[0]["propensities"]["small"] = chance
    traffic = join(receipts, [Outcome(f"r{number}", "passed", 1.0) for number in range(100)], PRICES)
    assert counterfactual(traffic, traffic.grades["passed"], "small", FEW) is None


def test_verdicts_compare_decisions_of_other_models_and_ties_count_nothing():
    receipts = [receipt(number, "small" if number < 60 else "big") for number in range(80)]
    verdicts = [Outcome(f"r{number}", "preference", [1.0, 0.5, 0.0][number % 3], "big") for number in range(30)]
    verdicts += [Outcome(f"r{number}", "preference", 1.0, "small") for number in range(60, 80)]
    traffic = join(receipts, verdicts, PRICES)
    assert (shadowed(traffic, "big", FEW).known, shadowed(traffic, "big", FEW).gain.value) == (30, 0)
    assert (shadowed(traffic, "small", FEW).known, shadowed(traffic, "small", FEW).gain.value) == (20, 1)


def test_a_third_model_does_not_change_a_comparison():
    served = ["small", "big", "huge"]
    receipts = [receipt(number, served[number % 3]) for number in range(300)]
    # `big` is better than `small` in three of four comparisons, and never compared with `huge`.
    verdicts = [Outcome(f"r{number}", "preference", float(number % 4 > 0), "big") for number in range(0, 300, 3)]
    verdicts += [Outcome(f"r{number}", "preference", 0.0, "small") for number in range(2, 300, 3)]
    found = shadowed(join(receipts, verdicts, PRICES), "big", FEW)
    assert (found.known, found.gain.value) == (100, pytest.approx(0.5))


def test_only_a_preference_compares_and_the_first_grade_stays():
    grades = [Outcome("r0", "score", 0.95), Outcome("r0", "score", 0.9, "small"), Outcome("r0", "score", 0.1, "big")]
    traffic = join([receipt(0, "big")], grades, PRICES)
    assert traffic.verdicts == {}
    assert traffic.grades["score"].tolist() == [0.95]
    assert traffic.left_out == {
        "grades of a model that did not answer": 1,
        "outcomes after the first of their kind": 1,
    }


def test_ids_that_are_not_unique_and_outcomes_without_a_receipt_are_counted_not_used():
    receipts = [receipt(1), receipt(1, "small"), receipt(2, served=None), receipt(3)]
    outcomes = [Outcome(name, "thumbs", 1.0) for name in ("r1", "r3", "r9")]
    traffic = join(receipts, outcomes, PRICES)
    assert (len(traffic), traffic.grades["thumbs"].tolist()) == (1, [1.0])
    assert traffic.left_out == {
        "receipts whose id is not unique": 2,
        "decisions that no model answered": 1,
        "outcomes without a receipt here": 2,
    }


def test_a_model_that_answered_everything_saves_nothing_against_itself():
    """Its answers cost what they cost, whatever was cached; the other model's cached tokens are at its own price for them."""
    prices = {"big": TokenPrices(10, 30, cached=1), "small": TokenPrices(1, 3, cached=0.5)}
    paid = [receipt(number, cost=(20 * 10 + 80 * 1 + 10 * 30) / 1e6, cached_tokens=80) for number in range(100)]
    priced = [receipt(number, cost=None, cached_tokens=80) for number in range(100)]
    before_a_change_of_prices = [receipt(number, cost=0.7) for number in range(100)]
    for receipts in (paid, priced, before_a_change_of_prices):
        found = report_of(join(receipts, [], prices), prices, FEW)["savings"]
        assert (found["big"]["value"], found["big"]["low"], found["big"]["high"]) == (0, 0, 0)
    found = report_of(join(paid, [], prices), prices, FEW)["savings"]["small"]
    small = (20 * 1 + 80 * 0.5 + 10 * 3) / 1e6
    assert found["value"] == pytest.approx(1 - paid[0]["cost"] / small)


def judged(model: str, **fields: object) -> Judged:
    """An answer that a cascade discarded, with 100 input and 10 output tokens."""
    found = Judged(
        model=model, p_error=0.9, limit=0.5, signals={}, prices=None, read=10, usage=Usage(100, 10), is_complete=True
    )
    return replace(found, **fields)


@pytest.mark.parametrize("is_text", [False, True], ids=["jsonl", "parquet"])
def test_discarded_answers_are_a_cost_of_routing_alone(is_text):
    verdict = Verdict(
        [judged("small", prices=TokenPrices(1000.0, 0.0)), judged("middle", prices=TokenPrices(0.0, 1000.0))]
    )
    written = verdict.receipt(Usage(100, 10), 1.0)
    written["discarded"] = json.dumps(written["discarded"]) if is_text else written["discarded"]
    traffic = join([receipt(number, **written) for number in range(50)], [], PRICES)
    assert traffic.cost == pytest.approx(np.full(50, 1.11))
    assert traffic.discarded_cost == pytest.approx(np.full(50, 0.11))
    assert savings(traffic, "big", PRICES["big"], FEW).estimate.value == pytest.approx(-0.11)


def test_a_cascade_without_prices_costs_what_the_prices_of_the_report_say():
    written = Verdict([judged("small")]).receipt(Usage(100, 10), None)
    big, small = (100 * 10 + 10 * 30) / 1e6, (100 * 1 + 10 * 3) / 1e6
    traffic = join([receipt(0, **written)], [], PRICES)
    assert (traffic.cost.tolist(), traffic.discarded_cost.tolist()) == ([big + small], [small])
    unknown = join([receipt(0, **written)], [], {"big": PRICES["big"]})
    assert np.isnan([*unknown.cost, *unknown.discarded_cost]).all()


@pytest.mark.parametrize("found", [{"cost": 0.1}, "[", [1], 3])
def test_discarded_answers_that_are_no_list_of_objects_are_an_error(found):
    with pytest.raises(InvalidInputError, match=r"receipt 'r0' has discarded .*, expected a list of objects"):
        join([receipt(0, discarded=found)], [], PRICES)


def test_propensities_that_are_no_object_are_an_error():
    with pytest.raises(InvalidInputError, match=r"receipt 'r0' has propensities .*, expected an object"):
        join([receipt(0, propensities=[0.5])], [], PRICES)


def test_decisions_that_a_gateway_follows_are_graded():
    receipts = [receipt(number, served=None, by="gateway") for number in range(30)]
    traffic = join(receipts, [Outcome(f"r{number}", "thumbs", 1.0) for number in range(30)], PRICES)
    assert (traffic.served.tolist(), traffic.grades["thumbs"].tolist()) == (["big"] * 30, [1.0] * 30)
    assert traffic.left_out == {}


def test_missing_outcomes_widen_the_bounds():
    assert bounds(np.array([1.0, 0.0, np.nan, np.nan])) == (0.25, 0.75)


def test_a_line_that_is_no_receipt_is_an_error():
    with pytest.raises(InvalidInputError, match="receipt 0 lacks prompt_sha256"):
        join([{"request_id": "a", "model": "b", "served": "b"}], [], {})


@pytest.fixture
def files(tmp_path):
    log, database = tmp_path / "decisions.jsonl", tmp_path / "outcomes.sqlite"
    lines = [json.dumps(receipt(number, "big" if number < 40 else "small")) for number in range(100)]
    log.write_text("\n".join(lines))
    with Outcomes(database) as outcomes:
        outcomes.record_many([{"receipt_id": f"r{number}", "thumbs": "up"} for number in range(50)])
        outcomes.record("r1", regenerated=True)
        outcomes.record("elsewhere", thumbs="up")
    return [str(log), "--outcomes", str(database)]


def test_the_command_reports_costs_and_grades(files, capsys):
    prices = ["--price", "big", "10", "30", "--price", "small", "1", "3"]
    assert main(["report", *files, *prices, "--resamples", "100"]) == 0
    out = capsys.readouterr().out
    assert "decisions        100: small 60, big 40" in out
    assert "outcomes         50 of 100 (50%) have one; 1 regenerated" in out
    assert "1 outcomes without a receipt here" in out
    assert "always big: 54.0% [" in out
    assert (
        "thumbs           1.000 [1.000, 1.000], of 50 of 100 (50%); with the unknown ones anything in [0.500, 1.000]"
        in out
    )
    assert "always big: not known" in out


def test_prices_come_from_the_configuration_and_json_has_no_nan(files, tmp_path, capsys):
    config = tmp_path / "turnout.toml"
    config.write_text(
        '[pair]\nstrong = "big"\nweak = "small"\n[upstreams.u]\nbase_url = "http://localhost:1/v1"\n'
        '[models.big]\nupstream = "u"\ninput_price = 10.0\noutput_price = 30.0\n[models.small]\nupstream = "u"\n'
    )
    assert main(["report", *files, "--config", str(config), "--resamples", "50", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cost"]["known"] == 40
    assert found["cost"]["total"] == pytest.approx(40 * (100 * 10 + 10 * 30) / 1e6)
    assert found["savings"]["big"]["value"] == 0
    assert not math.isnan(found["grades"]["thumbs"]["mean"]["low"])


def test_cached_tokens_have_a_price_of_their_own(tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(json.dumps(receipt(number, cached_tokens=100)) for number in range(30)))
    prices = ["--price", "big", "10", "30", "--cached-price", "big", "1"]
    assert main(["report", str(log), *prices, "--resamples", "50", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"]["total"] == pytest.approx(30 * (100 * 1 + 10 * 30) / 1e6)


def test_tokens_that_are_written_to_the_cache_have_a_price_of_their_own(tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    tokens = {"cached_tokens": 60, "written_tokens": 30, "written_1h_tokens": 20}
    log.write_text("\n".join(json.dumps(receipt(number, **tokens)) for number in range(30)))
    prices = ["--price", "big", "10", "30", "--cached-price", "big", "1", "--cache-write-price", "big", "12.5"]
    prices += ["--cache-write-1h-price", "big", "20"]
    assert main(["report", str(log), *prices, "--resamples", "50", "--json", "-"]) == 0
    cost = (10 * 10 + 60 * 1 + 10 * 12.5 + 20 * 20 + 10 * 30) / 1e6
    assert json.loads(capsys.readouterr().out)["cost"]["total"] == pytest.approx(30 * cost)


def test_discarded_answers_cost_what_they_read_from_the_cache_and_wrote_to_it():
    usage = Usage(100, 10, cached_tokens=60, written_tokens=30, written_1h_tokens=20)
    prices = TokenPrices(10, 30, cached=1, written=12.5, written_1h=20)
    cost = (10 * 10 + 60 * 1 + 10 * 12.5 + 20 * 20 + 10 * 30) / 1e6
    written = Verdict([judged("big", prices=prices, usage=usage)]).receipt(Usage(100, 10), 0.0)
    assert written["cost"] == pytest.approx(cost)
    unpriced = Verdict([judged("big", usage=usage)]).receipt(Usage(100, 10), 0.0)
    assert join([receipt(0, **unpriced)], [], {"big": prices}).discarded_cost == pytest.approx([cost])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jsonl"], "missing.jsonl: no such file"),
        (["-", "--price", "a", "b", "c"], "expected prices of at least 0"),
        (["-", "--price", "a", "-1", "nan"], "expected prices of at least 0"),
        (["-", "--cached-price", "a", "1"], "the model has no prices"),
        (["-", "--cache-write-price", "a", "1"], "the model has no prices"),
        (["-", "--resamples", "0"], "expected at least 1"),
        (["-", "--outcomes", "missing.sqlite"], "missing.sqlite: no such file"),
    ],
)
def test_bad_options_are_one_line(capsys, arguments, words):
    assert main(["report", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_an_empty_log_is_a_report_of_nothing(tmp_path, capsys):
    (tmp_path / "log.jsonl").touch()
    assert main(["report", str(tmp_path / "log.jsonl")]) == 0
    assert capsys.readouterr().out == "decisions        0\n"
