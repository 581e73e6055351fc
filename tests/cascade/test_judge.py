"""Signals, judges and their files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from turnout import ConfigError
from turnout.cascade import SIGNALS, Answer, Form, Judge, Policy

FORM = Form(["mean_logprob"], [-2.0], 0.0, -1.0, [0.0, 1.0], [0.0, 1.0])
BARE = Form([], [], 1.0, 0.0, [0.0, 1.0], [0.0, 1.0])
POLICY = Policy(cheap_cost=0.1, strong_cost=1.0, error_cost=4.0)


def test_values_of_all_signals() -> None:
    answer = Answer(
        "No!",
        logprobs=[-0.25, -0.75],
        first_top_logprobs=[math.log(0.25), math.log(0.5)],
        samples=["no", "yes"],
        self_check=0.75,
        score=0.4,
    )
    found = {name: round(signal(answer) or 0.0, 4) for name, signal in SIGNALS.items()}
    assert found == {
        "mean_logprob": -0.5,
        "least_logprob": -0.75,
        "first_token_entropy": round(0.5 * math.log(2) + 0.5 * math.log(4), 4),
        "first_token_margin": round(math.log(2), 4),
        "agreement": 0.5,
        "self_check": 0.75,
        "scorer": 0.4,
        "length": round(math.log(4), 4),
    }


@pytest.mark.parametrize("name", [name for name, signal in SIGNALS.items() if signal.needs != "text"])
def test_a_signal_without_what_it_needs_has_no_value(name: str) -> None:
    assert SIGNALS[name](Answer("text", logprobs=[], first_top_logprobs=[], samples=[])) is None


def test_a_completion_without_logprobs_has_none() -> None:
    assert Answer.from_completion({"choices": [{"message": {"content": None}, "logprobs": None}]}) == Answer("")


def test_infinite_logprobs_are_bounded() -> None:
    tokens = [{"logprob": -math.inf, "top_logprobs": []}]
    assert Answer.from_tokens("x", tokens).logprobs == [-100.0]


def test_an_answer_without_logprobs_is_judged_by_the_form_that_needs_none() -> None:
    judge = Judge([FORM, BARE], POLICY)
    assert judge.p_error(0.3, Answer("x")) == pytest.approx(0.3)
    assert judge.p_error(0.3, Answer("x", logprobs=[-0.5])) == pytest.approx(0.5)
    with pytest.raises(ConfigError, match="lacks some of logprobs"):
        Judge([FORM], POLICY).p_error(0.3, Answer("x"))


def test_the_map_is_interpolated_and_held_at_its_ends() -> None:
    form = Form([], [], 1.0, 0.0, [0.2, 0.6], [0.1, 0.5])
    assert [round(form.p_error(risk, []), 6) for risk in (0.0, 0.2, 0.4, 0.6, 1.0)] == [0.1, 0.1, 0.3, 0.5, 0.5]


def test_keeping_costs_as_much_as_asking_at_the_threshold() -> None:
    policy = Policy(cheap_cost=0.1, strong_cost=1.0, error_cost=4.0, strong_error=(-1.0, 0.5))
    p_strong = 1 / (1 + math.exp(-(-1.0 + 0.5 * math.log(0.7 / 0.3))))
    assert policy.error_cost * policy.threshold(0.7) == pytest.approx(policy.strong_cost + policy.error_cost * p_strong)


def test_a_free_error_keeps_every_answer() -> None:
    assert Policy(cheap_cost=0.1, strong_cost=1.0, error_cost=0.0).threshold(0.5) == math.inf


def test_a_judge_survives_its_file(tmp_path: Path) -> None:
    judge = Judge([FORM, BARE], Policy(0.1, 1.0, 4.0, 0.2, 0.9, (-2.0, 0.5)), {"auroc": 0.7})
    judge.save(tmp_path / "judge.json")
    again = Judge.load(tmp_path / "judge.json")
    assert json.dumps(again.policy.threshold(0.4)) == json.dumps(judge.policy.threshold(0.4))
    assert again.p_error(0.4, Answer("x", logprobs=[-0.3])) == judge.p_error(0.4, Answer("x", logprobs=[-0.3]))


WRONG = {
    "unknown signal 'x'": lambda document: document["forms"][0].update(signals=["x"]),
    "expected 1, one a signal": lambda document: document["forms"][0].update(weights=[]),
    "x rising": lambda document: document["forms"][0].update(x=[1.0, 1.0]),
    "finite numbers": lambda document: document["forms"][0].update(intercept=math.nan),
    "chances in 0..1": lambda document: document["forms"][0].update(y=[0.0, 2.0]),
    "`forms` is empty": lambda document: document.update(forms=[]),
    "expected 'turnout-cascade-judge'": lambda document: document.update(version=9),
    "unknown field 'color'": lambda document: document["policy"].update(color=1),
    "policy.error_cost is -1": lambda document: document["policy"].update(error_cost=-1),
    "expected 0 <= low <= high": lambda document: document["policy"].update(low=0.9, high=0.1),
    "KeyError": lambda document: document.pop("policy"),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_files_are_errors_that_name_the_field(tmp_path: Path, message: str) -> None:
    path = tmp_path / "judge.json"
    Judge([FORM, BARE], POLICY).save(path)
    document = json.loads(path.read_text())
    WRONG[message](document)
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        Judge.load(path)
