"""Whole evaluations: intervals, baselines, reports, cache, speed."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import turnout
from turnout.data import Outcomes
from turnout.evaluate import Options, Prices, evaluate
from turnout.evaluate.baselines import LENGTH
from turnout.evaluate.bootstrap import bootstrap, interval, ratio, resample_counts
from turnout.evaluate.provenance import seen_in_training, similar_names
from turnout.evaluate.win_rates import prompts_hash, win_rates_of


class Fake:
    """A router that knows, up to noise, where the strong model is better."""

    strong, weak, threshold = "big", "small", 0.5

    def __init__(self, rates, artifact_hash=None):
        self.by_prompt = dict(rates)
        self.calls = 0
        if artifact_hash:
            self.artifact_hash = artifact_hash

    def win_rates(self, prompts):
        self.calls += 1
        return np.array([self.by_prompt[prompt] for prompt in prompts], dtype=np.float32)


@pytest.fixture
def table():
    generator = np.random.default_rng(1)
    prompts = [f"prompt {row} " + "x" * int(generator.integers(1, 50)) for row in range(600)]
    weak = (generator.uniform(size=600) < 0.5).astype(float)
    strong = np.maximum(weak, (generator.uniform(size=600) < 0.6).astype(float))
    return Outcomes(
        "made up", prompts, {"org/Big": strong, "small": weak}, ["even" if r % 2 else "odd" for r in range(600)]
    )


@pytest.fixture
def good(table):
    gain = table.scores["org/Big"] - table.scores["small"]
    noise = np.random.default_rng(2).uniform(size=600)
    return Fake(zip(table.prompts, 0.4 * gain + 0.6 * noise, strict=True))


def test_an_informed_router_beats_length_beyond_doubt(table, good):
    result = evaluate(table, {"good": good}, Options(resamples=200, prices=Prices(10, 1)))
    apgr = result.routers["good"].figures["apgr"]
    assert apgr.low < apgr.value < apgr.high
    assert apgr.low > 0.6
    (difference,) = result.differences
    assert (difference.first, difference.second) == ("good", LENGTH)
    assert difference.apgr.low > 0
    assert result.random["apgr"] == 0.5
    assert result.oracle_apgr > apgr.value
    assert set(result.categories) == {"even", "odd"}
    assert "good" in result.categories["even"]["apgr"]
    # A quarter of the prompts gain: the informed router pays for those first.
    assert result.routers["good"].figures["saving_over_strong_100"].value > 0.2


def test_the_same_seed_gives_the_same_numbers(table, good):
    options = Options(resamples=50, seed=3)
    first, second = (evaluate(table, {"good": good}, options).to_json() for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # The mean of 50 coins with bias 0.3: nominal 95 %, the percentile interval is known to fall a little short.
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        coins = (generator.uniform(size=50) < 0.3).astype(float)
        means = bootstrap(
            lambda counts, c=coins: {"m": counts @ c / counts.sum(axis=1)},
            list(map(str, range(50))),
            resamples=200,
            seed=trial,
        )
        found = interval(coins.mean(), means["m"])
        hits += found.low <= 0.3 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_rows_of_one_prompt_are_drawn_together():
    counts = np.concatenate(list(resample_counts(["a", "b", "a", "c"], 100, seed=0)))
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_a_ratio_has_the_interval_of_its_resamples():
    top, bottom = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 4.0, 4.0])
    counts = np.concatenate(list(resample_counts(["a", "b", "a", "c"], 100, seed=3)))
    expected = interval(10 / 12, (counts @ top) / (counts @ bottom))
    assert ratio(top, bottom, ["a", "b", "a", "c"], resamples=100, seed=3) == expected


def test_missing_scores_and_missing_gaps_are_noted(table, good):
    strong = table.scores["org/Big"].copy()
    strong[:10] = np.nan
    holes = Outcomes("holes", table.prompts, {"big": strong, "small": table.scores["small"]})
    notes = evaluate(holes, {"good": good}, Options(resamples=0)).notes
    assert notes == ["10 of 600 rows lack a score of big or small and are left out"]
    flat = Outcomes("flat", table.prompts, {"big": np.zeros(600), "small": np.zeros(600)})
    result = evaluate(flat, {"good": good}, Options(resamples=20))
    assert "no gap" in result.notes[0]
    assert np.isnan(result.routers["good"].figures["apgr"].value)
    json.dumps(result.to_json(), allow_nan=False)


def test_an_unknown_model_is_told_with_those_there_are(table, good):
    with pytest.raises(
        turnout.InvalidInputError, match=r"'huge' not found among 'org/Big', 'small'; choose one with --strong"
    ):
        evaluate(table, {"good": good}, Options(strong="huge"))


def test_the_report_is_whole_and_offline(table, good, tmp_path):
    from turnout.evaluate.report import write_report

    result = evaluate(table, {"<b>good</b>": good}, Options(resamples=20, prices=Prices(10, 1)))
    path = write_report([result], tmp_path, title="t", facts={"seed": "0"})
    page = path.read_text()
    assert not re.search(r"(src|href)\s*=\s*['\"](?!data:)", page)
    assert "<b>good</b>" not in page
    assert page.count("data:image/svg+xml;base64,") == 3
    assert {file.name for file in tmp_path.iterdir()} == {
        "report.html",
        "results.json",
        *(f"made-up-{kind}.{suffix}" for kind in ("curves", "reliability", "categories") for suffix in ("png", "svg")),
    }
    numbers = json.loads((tmp_path / "results.json").read_text())
    assert numbers["tables"][0]["routers"]["<b>good</b>"]["figures"]["apgr"]["value"] == pytest.approx(
        result.routers["<b>good</b>"].figures["apgr"].value
    )


def test_win_rates_are_cached_by_artifact_pair_and_prompts(good, table, tmp_path):
    router = Fake(good.by_prompt, artifact_hash="abc")
    first = win_rates_of(router, table.prompts, cache=tmp_path)
    calls = router.calls
    assert (win_rates_of(router, table.prompts, cache=tmp_path) == first).all()
    assert router.calls == calls
    win_rates_of(router, table.prompts[:-1], cache=tmp_path)
    other = Fake(good.by_prompt, artifact_hash="abd")
    win_rates_of(other, table.prompts, cache=tmp_path)
    assert router.calls > calls
    assert other.calls > 0
    assert prompts_hash(["ab", "c"]) != prompts_hash(["a", "bc"])


def test_win_rates_that_are_none_are_refused():
    with pytest.raises(turnout.InvalidInputError, match="prompt 1 is nan"):
        win_rates_of(Fake({"a": 0.5, "b": np.nan}), ["a", "b"])


def test_fourteen_thousand_prompts_are_scored_in_few_calls():
    prompts = [f"question {row}" for row in range(14_042)]
    router = Fake(dict.fromkeys(prompts, 0.5))
    assert len(win_rates_of(router, prompts)) == 14_042
    # The first call is a small one; the others are of 2,048 prompts.
    assert router.calls == 8


def test_provenance_is_decided_by_content_and_not_by_name():
    class Router:
        manifest = {  # noqa: RUF012
            "provenance": {
                "data": [{"file": "mmlu_gold.parquet", "sha256": "a1"}],
                "dev_data": [{"file": "crux.parquet", "sha256": "b2"}],
            }
        }

    assert seen_in_training(Router(), "a1")
    assert not seen_in_training(Router(), "b2")
    assert not seen_in_training(Router(), "mmlu_gold")
    assert not seen_in_training(object(), "a1")
    assert similar_names(Router(), "mmlu") == ["mmlu_gold.parquet"]
    assert similar_names(Router(), "crux") == []
