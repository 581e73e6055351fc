"""Fitting a judge on a log, and what it saves on held-out rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tests.cascade.conftest import log_rows, write_log

from turnout.calibrate.cascade import calibrate_cascade, fit_policy
from turnout.cascade import Answer, Judge, Policy
from turnout.cli import main
from turnout.evaluate.cascades.log import CascadeLog, read_cascade_log

COSTS = ["--call-costs", "0.01", "1", "--strong-score", "large"]


def _no_router(prompts: list[str]) -> list[float]:
    raise AssertionError("the log has risks")


def test_p_error_is_the_chance_that_the_log_was_drawn_with(log_file: Path) -> None:
    log = read_cascade_log(log_file, _no_router, strong="large", group="group")
    found = calibrate_cascade(log, Policy(0.01, 1.0, 3.0), resamples=50)
    for chance in (0.2, 0.5, 0.8):
        assert found.judge.p_error(0.5, Answer("yes", logprobs=[math.log(chance)])) == pytest.approx(
            1 - chance, abs=0.12
        )
    assert found.in_domain.ece.value < 0.05 + found.in_domain.noise
    assert set(found.out_of_domain) == {"a", "b"}
    assert found.signals["mean_logprob"].low > 0.7 > found.signals["prompt"].value
    assert found.signals["length"].value == 0.5


def test_the_band_is_that_of_least_expected_cost() -> None:
    # Risks tell everything: below 0.4 cheap answers are right, from 0.6 they are wrong, between the judge knows.
    risks = np.linspace(0.01, 0.99, 99)
    between = (risks >= 0.4) & (risks < 0.6)
    p_error = np.where(risks < 0.4, 0.0, np.where(between, np.arange(99) % 2, 1.0)).astype(np.float64)
    log = CascadeLog([str(risk) for risk in risks], [Answer("")] * 99, 1.0 - p_error, None, risks, [""] * 99)
    policy = fit_policy(log, p_error, Policy(cheap_cost=0.5, strong_cost=1.0, error_cost=10.0))
    assert 0.35 <= policy.low <= 0.45
    assert 0.55 <= policy.high <= 0.65
    assert [policy.action(risk) for risk in (0.1, 0.5, 0.9)] == ["cheap", "cascade", "strong"]


def test_a_log_without_logprobs_is_judged_by_the_rest(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl", log_rows(150, with_logprobs=False))
    found = calibrate_cascade(read_cascade_log(path, _no_router), Policy(0.01, 1.0, 3.0), resamples=0)
    assert [list(form.signals) for form in found.judge.forms] == [["length"]]


def test_the_commands(log_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = tmp_path / "judge.json"
    calibrate = ["calibrate", "--cascade", "--data", str(log_file), *COSTS, "--error-cost", "3", "--group", "group"]
    assert main([*calibrate, "--save", str(saved), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["in_domain"]["auc"]["value"] > 0.7
    assert Judge.load(saved).policy.error_cost == 3.0
    evaluated = tmp_path / "curves.json"
    assert (
        main(["eval", "--cascade", "--data", str(log_file), *COSTS, "--resamples", "50", "--json", str(evaluated)]) == 0
    )
    found = json.loads(evaluated.read_text())
    assert found["cascade"]["difference"]["value"] < -0.03
    assert found["cascade"]["difference"]["high"] <= 0.0 == found["pre-call"]["difference"]["value"]
    assert found["oracle"]["cost"]["value"] < found["cascade"]["cost"]["value"]
    assert "cascade: cost at the best single model's quality" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--error-cost", "3"], "needs --call-costs"),
        (["--call-costs", "0.1", "1"], "needs --error-cost"),
        (["--call-costs", "2", "1", "--error-cost", "3"], "expected 0 <= CHEAP <= STRONG"),
        (["--call-costs", "0.1", "1", "--error-cost", "3", "--second-cost", "1"], "belong together"),
        (["--call-costs", "0.1", "1", "--error-cost", "3", "--group", "kind"], "no column 'kind'"),
    ],
)
def test_errors_of_options(
    log_file: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--cascade", "--data", str(log_file), *options]) != 0
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("correct", 2, "correct is 2, expected a number in 0..1"),
        ("logprobs", ["x"], "logprobs: expected a list"),
        ("samples", "text", "samples: expected a list of texts"),
        ("prompt", None, "prompt is None, expected a text"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, field: str, value: object, message: str) -> None:
    from turnout.data import BadRows

    bad = BadRows()
    read_cascade_log(
        write_log(tmp_path / "log.jsonl", [{**log_rows(1)[0], field: value}, *log_rows(2)]), _no_router, bad=bad
    )
    assert [(row.row, message in row.reason) for row in bad.shown] == [(1, True)]


def test_too_few_rows_are_an_error(tmp_path: Path) -> None:
    from turnout import InvalidInputError

    path = write_log(tmp_path / "log.jsonl", log_rows(20))
    with pytest.raises(InvalidInputError, match="20 rows, expected at least 100"):
        calibrate_cascade(read_cascade_log(path, _no_router), Policy(0.01, 1.0, 3.0))
