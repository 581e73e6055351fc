"""Answers that are paid for and are none to judge."""

from __future__ import annotations

import json

import pytest

from turnout.data import BadRows, read_battles

#: The strong model is asked first.
ONE_AT_A_TIME = ["--concurrency", "1"]


def body(content, finish="stop"):
    return json.dumps({"choices": [{"message": {"content": content}, "finish_reason": finish}]})


@pytest.mark.parametrize(
    ("content", "finish", "told"),
    [
        (None, "stop", "an answer was empty"),
        (" \n", "stop", "an answer was empty"),
        ("The first half of", "length", "an answer was truncated at its token limit; raise --answer-tokens"),
        ("", "length", "an answer was truncated at its token limit; raise --answer-tokens"),
        ("I", "content_filter", "the endpoint's content filter withheld an answer"),
    ],
)
def test_an_answer_that_is_none_to_judge_is_kept_and_told_and_costs_no_verdict(
    content, finish, told, judge, endpoint, capsys
):
    endpoint.failures = [body(content, finish)]
    for _ in range(2):
        assert judge(*ONE_AT_A_TIME, prompts=["big wins"]) == 1
        assert f"1 prompts without a battle: {told}" in capsys.readouterr().err
        assert endpoint.asked == {"big": 1, "small": 1}
    judge("--dry-run", prompts=["big wins"])
    assert "0 requests to send, 2 stored answers" in capsys.readouterr().err


def test_two_empty_answers_are_no_tie(judge, endpoint):
    endpoint.failures = [body(None), body("")]
    assert judge(*ONE_AT_A_TIME, prompts=["big wins"]) == 1
    assert not judge.out.exists()


def test_a_verdict_that_was_cut_is_none(judge, endpoint, capsys):
    answer, verdict = body("big says, small says"), body("verdict: first would be wrong, for", "length")
    endpoint.failures = [answer, body("other"), verdict]
    assert judge(*ONE_AT_A_TIME, prompts=["big wins"]) == 1
    assert "truncated at its token limit" in capsys.readouterr().err


def test_half_a_character_in_an_answer_is_replaced_and_paid_once(judge, endpoint, capsys):
    endpoint.failures = [body("big says \ud83d, small says so")]
    assert judge(*ONE_AT_A_TIME, prompts=["big wins"]) == 0
    assert endpoint.asked == {"big": 1, "small": 1, "judge": 2}
    assert "big says \N{REPLACEMENT CHARACTER}, small" in endpoint.bodies[-1]["messages"][0]["content"]
    assert read_battles(judge.out, bad=BadRows()).prompts == ["big wins"]


def test_models_that_reason_are_asked_in_their_own_words(judge, endpoint):
    assert judge("--reasoning", "strong", "judge", "--answer-tokens", "7", prompts=["big wins"]) == 0
    by_model = {request["model"]: request for request in endpoint.bodies}
    assert by_model["big"]["max_completion_tokens"] == 7
    assert by_model["judge"]["max_completion_tokens"] == 400
    assert not {"max_tokens", "temperature"} & {*by_model["big"], *by_model["judge"]}
    assert (by_model["small"]["max_tokens"], by_model["small"]["temperature"]) == (7, 0)
