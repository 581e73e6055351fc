"""``turnout retrain --pair``: shadow verdicts calibrate a router's win rates; wrong ones, too few and those of one model are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import turnout
from turnout.artifact.calibration import logit
from turnout.calibrate import raw_win_rates
from turnout.cli import main
from turnout.outcomes import Outcomes

TINY = Path(__file__).parents[2] / "models" / "tiny"
WORDS = "prove sum list write why river code poem stone integral table verb map graph sort rhyme".split()


@pytest.fixture
def artifact(tmp_path):
    return Path(shutil.copytree(TINY, tmp_path / "mine"))


def prompts_of(count, seed=0):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, 6)) + "?" for _ in range(count)]


def record(folder, artifact, count, *, judged=lambda row, wins: wins, strong=0.3):
    """Shadow verdicts: the strong model wins half of the time, more often where the router says so; gives the chances."""
    generator = np.random.default_rng(1)
    prompts = prompts_of(count)
    truth = 1 / (1 + np.exp(-1.5 * (logit(raw_win_rates(artifact, prompts)) + 4.7)))
    with (folder / "log.jsonl").open("w") as log, Outcomes(folder / "o.sqlite") as outcomes:
        for row, prompt in enumerate(prompts):
            served, other = ("large", "small") if generator.random() < strong else ("small", "large")
            receipt = {"time": float(row), "request_id": f"r{row}", "prompt": prompt, "served": served, "model": served}
            log.write(json.dumps(receipt) + "\n")
            wins = judged(row, bool(generator.random() < truth[row]))
            preference = "win" if wins == (other == "large") else "loss"
            outcomes.record_verdict(f"r{row}", other, preference, propensity=0.1, position=1, source="judge")
    return truth


def record_unequal(folder, artifact, count, chances=(0.5, 0.05)):
    """Half of the requests are of a kind of which the win rates know nothing; the strong model wins more of them, and more are drawn."""
    generator = np.random.default_rng(2)
    prompts = prompts_of(count)
    # By rank, because a monotone map is fitted.
    rank = np.argsort(np.argsort(raw_win_rates(artifact, prompts))) / count
    truth = np.stack([0.45 + 0.5 * rank, 0.05 + 0.5 * rank])
    with (folder / "log.jsonl").open("w") as log, Outcomes(folder / "o.sqlite") as outcomes:
        for row, prompt in enumerate(prompts):
            kind = int(generator.random() < 0.5)
            served, other = ("large", "small") if generator.random() < 0.5 else ("small", "large")
            if generator.random() >= chances[kind]:
                continue
            receipt = {"time": float(row), "request_id": f"r{row}", "prompt": prompt, "served": served, "model": served}
            log.write(json.dumps(receipt) + "\n")
            wins = bool(generator.random() < truth[kind, row])
            preference = "win" if wins == (other == "large") else "loss"
            outcomes.record_verdict(f"r{row}", other, preference, propensity=chances[kind], position=1, source="judge")
    return prompts, truth


def retrain(folder, artifact, out, *arguments):
    files = [str(folder / "log.jsonl"), "--outcomes", str(folder / "o.sqlite")]
    return main(
        ["retrain", *files, "--pair", "large", "small", "--router", str(artifact), "--out", str(out), *arguments]
    )


def test_verdicts_calibrate_the_win_rates_in_a_copy(tmp_path, artifact, capsys):
    truth = record(tmp_path, artifact, 1200)
    content = (artifact / "router.json").read_bytes()
    assert retrain(tmp_path, artifact, tmp_path / "new") == 0, capsys.readouterr()
    out = capsys.readouterr().out
    assert "fitted to 900 verdicts, compared on 300 later ones" in out
    assert "wrote" in out
    prompts = prompts_of(1200)
    before, after = (turnout.load(one).win_rates(prompts) for one in (artifact, tmp_path / "new"))
    assert np.abs(after - truth).mean() < 0.06 < 0.15 < np.abs(before - truth).mean()
    # A monotone map: what was more likely stays more likely.
    assert (np.argsort(after, kind="stable") == np.argsort(before, kind="stable")).mean() > 0.99
    assert (artifact / "router.json").read_bytes() == content


def test_requests_that_were_drawn_more_often_count_no_more_than_others(tmp_path, artifact, capsys):
    prompts, truth = record_unequal(tmp_path, artifact, 10_000)
    assert retrain(tmp_path, artifact, tmp_path / "new", "--json") == 0, capsys.readouterr()
    after = turnout.load(tmp_path / "new").win_rates(prompts)
    assert abs(after.mean() - truth.mean()) < 0.04
    assert np.abs(after - truth.mean(axis=0)).mean() < 0.06
    # Counted alike, they would say .68.
    seen = np.average(truth.mean(axis=1), weights=[0.5, 0.05])
    assert abs(after.mean() - seen) > 0.1


def test_verdicts_that_few_rare_ones_decide_are_too_few(tmp_path, artifact, capsys):
    record_unequal(tmp_path, artifact, 10_000, chances=(0.06, 0.0005))
    assert retrain(tmp_path, artifact, tmp_path / "new") == 1
    assert "too few verdicts (counted by their chances)" in capsys.readouterr().out


def test_the_running_artifact_may_be_replaced_in_place(tmp_path, artifact):
    record(tmp_path, artifact, 1200)
    before = turnout.load(artifact)
    assert retrain(tmp_path, artifact, artifact) == 0
    after = turnout.load(artifact)
    assert after.artifact_hash != before.artifact_hash
    # The default threshold is converted, so that its decisions are the same.
    prompts = prompts_of(100, seed=5)
    assert [one.is_strong for one in after.route_batch(prompts)] == [
        one.is_strong for one in before.route_batch(prompts)
    ]


def test_verdicts_that_were_poisoned_before_are_refused(tmp_path, artifact, capsys):
    record(tmp_path, artifact, 1200)
    assert retrain(tmp_path, artifact, artifact) == 0
    content = (artifact / "router.json").read_bytes()
    (tmp_path / "later").mkdir()
    record(tmp_path / "later", artifact, 1200, judged=lambda row, wins: wins or (row < 900 and row % 5 > 1))
    capsys.readouterr()
    assert retrain(tmp_path / "later", artifact, artifact, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["accepted"]
    assert "not shown to be no worse on 300 later verdicts" in found["refused"]
    assert found["comparison"]["verdicts"]["low"] > 0
    assert (artifact / "router.json").read_bytes() == content


def test_a_router_that_ranks_in_the_wrong_order_is_not_calibrated(tmp_path, artifact, capsys):
    record(tmp_path, artifact, 1200, judged=lambda row, wins: not wins)
    assert retrain(tmp_path, artifact, tmp_path / "new") == 1
    assert "refused" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("count", "strong", "words"),
    [
        (1, 0.3, "too few verdicts: 1 to train on (expected at least 200)"),
        (150, 0.3, "too few verdicts: 112 to train on (expected at least 200)"),
        (600, 0.0, "earlier verdicts are on 0 answers of the strong model and 450 of the weak one"),
    ],
)
def test_too_few_verdicts_and_those_on_one_model_alone_are_refused(tmp_path, artifact, capsys, count, strong, words):
    record(tmp_path, artifact, count, strong=strong)
    assert retrain(tmp_path, artifact, tmp_path / "new") == 1
    assert words in capsys.readouterr().out


def test_outcomes_of_single_answers_say_nothing_of_a_pair(tmp_path, artifact, capsys):
    with (tmp_path / "log.jsonl").open("w") as log, Outcomes(tmp_path / "o.sqlite") as outcomes:
        for row, prompt in enumerate(prompts_of(500)):
            receipt = {
                "time": float(row),
                "request_id": f"r{row}",
                "prompt": prompt,
                "served": "small",
                "model": "small",
            }
            log.write(json.dumps(receipt) + "\n")
            outcomes.record(f"r{row}", passed=row % 2 == 0)
    assert retrain(tmp_path, artifact, tmp_path / "new") == 1
    out = capsys.readouterr().out
    assert "decisions with outcomes  500; shadow verdicts 0" in out
    assert "too few verdicts: 0 to train on" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pair", "a", "a", "--out", "new"], "--pair has 'a' twice"),
        (["--pair", "a", "b", "--out", "p.safetensors"], "expected a folder for the artifact"),
        (["--pair", "a", "b", "--pool", "pool.toml", "--out", "new"], "expected one of --config, --pool and --pair"),
        (["--pair", "a", "b", "--out", "."], "which exists: expected a new folder"),
    ],
)
def test_bad_options_are_one_line(tmp_path, artifact, capsys, monkeypatch, arguments, words):
    record(tmp_path, artifact, 1)
    monkeypatch.chdir(tmp_path)
    files = ["log.jsonl", "--outcomes", "o.sqlite", "--router", str(artifact)]
    assert main(["retrain", *files, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_models_that_the_router_scores_itself_have_another_calibration(tmp_path, artifact, capsys):
    record(tmp_path, artifact, 1)
    router = turnout.load(artifact)
    files = [str(tmp_path / "log.jsonl"), "--outcomes", str(tmp_path / "o.sqlite"), "--router", str(artifact)]
    assert main(["retrain", *files, "--pair", router.weak, router.strong, "--out", str(tmp_path / "new")]) == 2
    assert "the router scores models of these names itself" in capsys.readouterr().err
