"""``turnout retrain``: outcomes with a signal improve the pool, wrong ones and too few are refused."""

from __future__ import annotations

import json
import string
from dataclasses import replace

import numpy as np
import pytest
from tests.outcomes.profiled import profiled_artifact, profiles_of

import turnout
from turnout.cli import main
from turnout.evaluate.traffic.traffic import join
from turnout.outcomes import Outcome, Outcomes
from turnout.pool.profiles import read_profiles
from turnout.training.feedback import feedback_of

NAMES = ("large", "small")
#: What the running pool takes for true, and what is: it believes too much in the small model, which fails on code.
BELIEVED = {"large": 0.7, "small": 0.9}
TRUE = {"large": 0.9, "small": 0.4}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return profiled_artifact(tmp_path_factory.mktemp("artifacts") / "profiled")


class Traffic:
    """A server's log and outcomes.

    Args:
        folder: Where they are written.
        artifact: The router.
    """

    def __init__(self, folder, artifact):
        self.folder, self.artifact = folder, artifact
        self.out = folder / "profiles.safetensors"
        self.believe({name: f"success = {BELIEVED[name]}" for name in NAMES})

    def believe(self, chances):
        """Writes the running pool with these chances."""
        lines = ["[objective]", "error_cost = 0.05"]
        for name in NAMES:
            price = 10 if name == "large" else 1
            lines += [f"[models.{name}]", chances[name], f"input_price = {price}", f"output_price = {price}"]
        (self.folder / "pool.toml").write_text("\n".join(lines))

    def record(self, count, poison=lambda row, share: False, *, verdicts=0, seed=0, source=""):
        """Decisions whose outcomes are drawn from the true chances, and inverted where they are poisoned."""
        generator = np.random.default_rng(seed)
        with (self.folder / "log.jsonl").open("w") as log, Outcomes(self.folder / "o.sqlite") as outcomes:
            for row in range(count):
                served = NAMES[int(generator.random() < 0.7)]
                receipt = {"time": float(row), "request_id": f"r{row}", "prompt": f"Question {row}?", "served": served}
                log.write(json.dumps({**receipt, "model": served, "prompt_sha256": f"p{row}"}) + "\n")
                good = bool(generator.random() < TRUE[served])
                outcomes.record(f"r{row}", passed=good != poison(row, row / count), source=source)
                if row >= count - verdicts:
                    other = NAMES[1 - NAMES.index(served)]
                    wins = generator.random() < (0.8 if other == "large" else 0.2)
                    preference = "win" if wins else "loss"
                    outcomes.record_verdict(f"r{row}", other, preference, propensity=0.1, position=1, source="judge")

    def retrain(self, *arguments):
        """The exit code of the command."""
        files = [str(self.folder / "log.jsonl"), "--outcomes", str(self.folder / "o.sqlite")]
        pool = ["--pool", str(self.folder / "pool.toml"), "--router", str(self.artifact), "--out", str(self.out)]
        return main(["retrain", *files, *pool, *arguments])


@pytest.fixture
def traffic(tmp_path, artifact):
    return Traffic(tmp_path, artifact)


def test_outcomes_with_a_signal_improve_the_pool(traffic, capsys):
    traffic.record(1200)
    assert traffic.retrain() == 0, capsys.readouterr()
    out = capsys.readouterr().out
    assert "fitted to 900 decisions, compared on 300 later ones" in out
    assert f"wrote {traffic.out}" in out
    found = read_profiles(traffic.out)
    assert found.names == list(NAMES)
    before = turnout.load(traffic.artifact, pool=turnout.Pool.load(traffic.folder / "pool.toml"))
    traffic.believe(dict.fromkeys(NAMES, 'profile = "profiles.safetensors"'))
    after = turnout.load(traffic.artifact, pool=turnout.Pool.load(traffic.folder / "pool.toml"))
    prompts = [f"New question {row}?" for row in range(50)]
    assert {one.model for one in before.route_batch(prompts)} == {"small"}
    assert {one.model for one in after.route_batch(prompts)} == {"large"}
    assert after.success(prompts).mean(axis=0) == pytest.approx([TRUE[name] for name in NAMES], abs=0.06)


def test_lengths_of_answers_are_kept(traffic, capsys):
    running = traffic.folder / "running.safetensors"
    running.write_bytes(profiles_of(traffic.artifact, **BELIEVED))
    found = read_profiles(running)
    models = [replace(one, facts={"output_tokens": 700.0 + row}) for row, one in enumerate(found.models)]
    running.write_bytes(replace(found, models=models).to_bytes())
    traffic.believe(dict.fromkeys(NAMES, 'profile = "running.safetensors"'))
    traffic.record(1200)
    assert traffic.retrain() == 0, capsys.readouterr()
    kept = {one.name: one.facts["output_tokens"] for one in read_profiles(traffic.out).models}
    assert kept == {one.name: one.facts["output_tokens"] for one in models}


def test_outcomes_that_were_poisoned_before_are_refused(traffic, capsys):
    traffic.believe({name: f"success = {TRUE[name]}" for name in NAMES})
    traffic.record(1200, lambda row, share: share < 0.75)
    assert traffic.retrain("--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["accepted"]
    assert found["refused"].startswith("not shown to be no worse on 300 later decisions: log loss +")
    assert found["comparison"]["grades"]["low"] > 0
    assert not traffic.out.exists()


def test_outcomes_that_are_all_poisoned_disagree_with_the_judge_and_are_refused(traffic, capsys):
    # Grades say that the small model is far better than it is believed to be; the judge prefers the large one.
    traffic.record(1200, lambda row, share: True, verdicts=200)
    traffic.out.write_bytes(b"as it was")
    assert traffic.retrain() == 1
    assert "outcomes and verdicts disagree" in capsys.readouterr().out
    assert traffic.out.read_bytes() == b"as it was"


def test_a_tenth_of_wrong_outcomes_does_no_harm(traffic, capsys):
    traffic.record(1200, lambda row, share: row % 10 == 0, verdicts=200)
    assert traffic.retrain() == 0, capsys.readouterr()


def test_what_is_true_already_is_not_made_worse(traffic, capsys):
    traffic.believe({name: f"success = {TRUE[name]}" for name in NAMES})
    traffic.record(1200)
    assert traffic.retrain("--margin", "0.05", "--json") == 0
    assert json.loads(capsys.readouterr().out)["comparison"]["grades"]["value"] == pytest.approx(0.0, abs=0.005)
    traffic.believe(dict.fromkeys(NAMES, 'profile = "profiles.safetensors"'))
    after = turnout.load(traffic.artifact, pool=turnout.Pool.load(traffic.folder / "pool.toml"))
    chances = after.success([f"New question {row}?" for row in range(50)])
    assert chances == pytest.approx(np.tile([TRUE[name] for name in NAMES], (50, 1)), abs=0.06)


def test_too_few_are_refused(traffic, capsys):
    traffic.record(250)
    assert traffic.retrain() == 1
    assert (
        "too few decisions with outcomes: 188 to train on (expected at least 200) and 62 later"
        in capsys.readouterr().out
    )
    assert not traffic.out.exists()


def test_only_sources_that_are_named_count(traffic, capsys):
    traffic.record(1200, source="mallory", verdicts=10)
    assert traffic.retrain("--source", "tests") == 1
    out = capsys.readouterr().out
    assert "1,200 outcomes of other sources" in out
    assert "too few" in out
    assert traffic.retrain("--source", "mallory") == 0


def test_prompts_that_were_trained_on_are_not_held_out(traffic, capsys):
    traffic.record(1200)
    lines = [json.loads(line) for line in (traffic.folder / "log.jsonl").read_text().splitlines()]
    lines = [{**line, "prompt": f"Question {row % 100}?"} for row, line in enumerate(lines)]
    (traffic.folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert traffic.retrain() == 1
    assert "0 later ones with other prompts" in capsys.readouterr().out


def test_near_duplicates_of_what_was_trained_on_are_not_held_out(traffic, capsys):
    traffic.record(1200)
    lines = [json.loads(line) for line in (traffic.folder / "log.jsonl").read_text().splitlines()]
    words = [first + second for first in string.ascii_lowercase for second in string.ascii_lowercase][:300]
    lines = [{**line, "prompt": f"Invoice {row} of {words[row % 300]}?"} for row, line in enumerate(lines)]
    (traffic.folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert traffic.retrain() == 1
    assert "0 later ones with other prompts" in capsys.readouterr().out


def receipt(name, served="large", **fields):
    return {"request_id": name, "model": "large", "served": served, "prompt": f"prompt {name}", "time": 0.0, **fields}


def test_verdicts_grade_what_they_say():
    receipts = [receipt(name) for name in "abcde"]
    outcomes = [
        Outcome("a", "preference", 1.0, "small", propensity=0.1),
        Outcome("b", "passed", 1.0),
        Outcome("b", "preference", 1.0, "small", propensity=0.1),
        Outcome("c", "passed", 1.0),
        Outcome("c", "preference", 0.0, "small", propensity=0.1),
        Outcome("d", "score", 0.3),
        Outcome("d", "preference", 0.5, "small", propensity=0.1),
        # A client's preference about another model is no verdict of the judge.
        Outcome("e", "preference", 1.0, "small"),
    ]
    found = feedback_of(receipts, outcomes, NAMES)
    np.testing.assert_array_equal(found.scores, [[0.0, 1.0], [1.0, 1.0], [1.0, np.nan], [0.3, 0.3], [np.nan, np.nan]])
    np.testing.assert_array_equal(
        found.verdicts, [[0, 1, 0, 1, 0.1], [1, 1, 0, 1, 0.1], [2, 1, 0, 0, 0.1], [3, 1, 0, 0.5, 0.1]]
    )


def test_decisions_are_in_the_order_of_their_times_and_unclear_ones_are_left_out():
    receipts = [
        receipt("b", time=2.0),
        receipt("a", time=1.0),
        receipt("c"),
        receipt("c"),
        receipt("d", served="other"),
    ]
    receipts += [receipt("e", prompt=None), receipt("f")]
    found = feedback_of(receipts, [Outcome(name, "passed", 1.0) for name in "abcde"], NAMES, most=100)
    assert found.prompts == ["prompt a", "prompt b"]
    assert found.left_out == {
        "decisions whose id is not unique": 2,
        "decisions that no model of the pool answered": 1,
        "decisions without their prompt": 1,
        "decisions without an outcome": 1,
    }


def test_an_id_of_several_receipts_is_left_out_whatever_they_are():
    receipts = [receipt("a"), receipt("b"), receipt("b", served=None), receipt("b", prompt=None)]
    found = feedback_of(receipts, [Outcome(name, "passed", 1.0) for name in "ab"], NAMES)
    assert found.prompts == ["prompt a"]
    assert found.left_out == {
        "decisions that no model of the pool answered": 1,
        "decisions without their prompt": 1,
        "decisions whose id is not unique": 1,
    }


def test_the_last_decisions_by_time_are_kept_whatever_the_order_of_the_files_is():
    receipts = [receipt(name, time=time) for name, time in zip("abcd", [3.0, 4.0, 1.0, 2.0], strict=True)]
    found = feedback_of(receipts, [Outcome(name, "passed", 1.0) for name in "abcd"], NAMES, most=3)
    assert found.prompts == ["prompt d", "prompt a", "prompt b"]
    assert found.left_out == {"decisions before the last 3": 1}


def test_report_and_retrain_use_the_same_decisions():
    receipts = [
        receipt("a"),
        receipt("b", served=None, by="gateway"),
        receipt("c", served=None),
        receipt("d", served="small"),
        receipt("d", served=None),
    ]
    receipts = [{**one, "prompt_sha256": one["prompt"]} for one in receipts]
    outcomes = [Outcome(name, "passed", 1.0) for name in "abcd"]
    learned, reported = feedback_of(receipts, outcomes, NAMES), join(receipts, outcomes, {})
    assert learned.prompts == list(reported.prompts) == ["prompt a", "prompt b"]
    np.testing.assert_array_equal(learned.scores, [[1.0, np.nan], [1.0, np.nan]])
    assert reported.grades["passed"].tolist() == [1.0, 1.0]


def test_a_line_that_is_no_receipt_is_an_error():
    with pytest.raises(turnout.InvalidInputError, match="receipt 1 lacks model, served, expected a line"):
        feedback_of([receipt("a"), {"request_id": "b"}], [], NAMES)


def test_a_log_without_prompts_is_an_error(traffic, capsys):
    traffic.record(10)
    lines = [json.loads(line) for line in (traffic.folder / "log.jsonl").read_text().splitlines()]
    for line in lines:
        del line["prompt"]
    (traffic.folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert traffic.retrain() == 2
    assert "expected a log with [log] prompts = true" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--held-out", "1"], "--held-out is 1"),
        (["--margin", "-1"], "--margin is -1"),
        (["--config", "turnout.toml"], "expected one of --config, --pool and --pair"),
        (["--out", "profiles.bin"], "ends in .safetensors"),
    ],
)
def test_bad_options_are_one_line(traffic, capsys, arguments, words):
    traffic.record(1)
    assert traffic.retrain(*arguments) == 2
    assert words in capsys.readouterr().err
