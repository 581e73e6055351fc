from __future__ import annotations

import json

import pytest

from turnout.augment import Budget, Price
from turnout.data import BadRows, read_battles

PROMPTS = ["big wins here", "small wins here", "first wins here", "nobody is better"]
PRICES = ["--strong-price", "2,4", "--weak-price", "1,2", "--judge-price", "2,4"]
#: Two answers and two verdicts at 10 and 5 tokens.
DOLLARS_A_PROMPT = (10 * 2 + 5 * 4 + 10 * 1 + 5 * 2 + 2 * (10 * 2 + 5 * 4)) / 1e6


def outcomes(path):
    battles = read_battles(path, bad=BadRows())
    return dict(zip(battles.prompts, battles.outcome.tolist(), strict=True))


def test_only_a_winner_in_both_orders_wins(judge, endpoint):
    assert judge() == 0
    assert outcomes(judge.out) == dict(zip(PROMPTS, [1.0, 0.0, 0.5, 0.5], strict=True))
    assert endpoint.asked == {"big": 4, "small": 4, "judge": 8}


def test_a_second_run_asks_nothing_and_gives_the_same(judge, endpoint):
    judge()
    first = judge.out.read_bytes()
    endpoint.asked.clear()
    assert judge() == 0
    assert not endpoint.asked
    assert judge.out.read_bytes() == first


def test_a_run_that_broke_off_goes_on_where_it_stopped(judge, endpoint):
    endpoint.failures = [400] * 3
    assert judge("--concurrency", "1", "--retries", "0") == 1
    paid = len(endpoint.bodies)
    assert judge() == 0
    assert len(endpoint.bodies) == 16
    assert 0 < paid < 16
    assert len(outcomes(judge.out)) == 4


def test_busy_and_broken_endpoints_are_asked_again(judge, endpoint):
    endpoint.failures = [429, "drop", 503, 429]
    assert judge("--concurrency", "1") == 0
    assert len(outcomes(judge.out)) == 4


def test_a_refusal_is_told_with_its_words_and_not_repeated(judge, endpoint, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    endpoint.failures = [401] * 100
    assert judge() == 1
    told = capsys.readouterr().err
    assert "status 401" in told
    assert "sk-secret" not in told
    assert sum(endpoint.asked.values()) == 8
    assert set(endpoint.keys) == {"Bearer sk-secret"}


def test_nothing_more_is_asked_once_a_model_that_never_answered_refuses(judge, endpoint, capsys):
    endpoint.failures = [401] * 100
    assert judge("--concurrency", "2", prompts=[f"prompt {number}" for number in range(20)]) == 1
    told = capsys.readouterr().err
    assert "18 prompts not started: " in told
    assert sum(endpoint.asked.values()) == 4


def test_no_more_answers_are_paid_for_once_the_judge_refuses(judge, endpoint, capsys):
    answers = [json.dumps({"choices": [{"message": {"content": f"{name} says"}}]}) for name in ("big", "small")]
    endpoint.failures = [*answers, 404, 404]
    assert judge("--concurrency", "1") == 1
    assert "3 prompts not started: " in capsys.readouterr().err
    assert endpoint.asked == {"big": 1, "small": 1, "judge": 2}


def test_a_refusal_of_a_model_that_answered_before_stops_nothing(judge, endpoint):
    endpoint.failures = ['{"choices": [{"message": {"content": ""}}]}'] * 2 + [401]
    assert judge("--concurrency", "1") == 1
    assert len(outcomes(judge.out)) == 2


def test_an_answer_in_another_shape_fails_its_prompt_alone(judge, endpoint, capsys):
    endpoint.failures = ['{"choices": []}']
    assert judge("--concurrency", "1") == 1
    assert "not OpenAI's format" in capsys.readouterr().err
    assert len(outcomes(judge.out)) == 3


def test_an_unreadable_verdict_gives_no_battle(judge, capsys):
    assert judge(prompts=["odd wins", "big wins"]) == 1
    assert list(outcomes(judge.out)) == ["big wins"]
    assert "1 prompts without a battle" in capsys.readouterr().err


def test_a_dry_run_asks_nobody_and_tells_the_cost(judge, endpoint, capsys):
    assert judge("--dry-run", *PRICES) == 0
    assert not endpoint.asked
    assert not judge.out.exists()
    told = " ".join(capsys.readouterr().err.split())
    assert "16 requests to send, 0 stored answers" in told
    assert "about $" in told
    judge(*PRICES)
    judge("--dry-run", *PRICES)
    assert f"0 requests to send, 16 stored answers (${4 * DOLLARS_A_PROMPT:.4f} spent)" in " ".join(
        capsys.readouterr().err.split()
    )


def test_the_budget_is_never_exceeded_and_a_higher_one_goes_on(judge, endpoint, capsys):
    # Little more than the most that one answer of the strong model can cost.
    budget = 0.00445
    assert judge("--budget", str(budget), *PRICES) == 1
    assert "because of the budget" in capsys.readouterr().err
    assert 0 < judge.spent() <= budget
    before = len(endpoint.bodies)
    assert judge("--budget", "1", *PRICES) == 0
    assert len(endpoint.bodies) == 16
    assert before < 16


def test_a_budget_that_lasts_is_not_given_up_for_requests_under_way(judge, endpoint):
    # Enough for two verdicts at the most they can cost; eight workers wait for each other.
    assert judge("--budget", "0.012", "--concurrency", "8", *PRICES) == 0
    assert len(endpoint.bodies) == 16


def test_dollars_without_prices_are_said_to_be_no_whole_sum(judge, capsys):
    judge("--strong-price", "1,1")
    assert "spent so far, without weak, judge: no price was given" in capsys.readouterr().err


def test_a_budget_without_prices_is_an_error(judge, endpoint, capsys):
    assert judge("--budget", "1", "--strong-price", "1,1") == 2
    assert "--weak-price, --judge-price" in capsys.readouterr().err
    assert not endpoint.asked


def test_requests_under_way_stay_below_the_limit(judge, endpoint):
    judge("--concurrency", "2", prompts=[f"prompt {number}" for number in range(12)])
    assert endpoint.most_at_once <= 2


def test_equal_prompts_are_asked_once(judge, endpoint):
    judge(prompts=["big wins"] * 5)
    assert endpoint.asked == {"big": 1, "small": 1, "judge": 2}


def test_braces_in_a_prompt_are_text(judge, endpoint):
    assert judge(prompts=["big wins: {first} {0} {prompt.__class__}"]) == 0
    assert "{prompt.__class__}" in endpoint.bodies[-1]["messages"][0]["content"]


def test_a_file_that_is_no_ledger_is_left_alone(judge, capsys):
    ledger = judge.out.with_name("battles.jsonl.ledger")
    ledger.write_text("a letter to a friend, long enough to be no empty database " * 20)
    before = ledger.read_bytes()
    assert judge() == 2
    assert "expected a ledger" in capsys.readouterr().err
    assert ledger.read_bytes() == before


def test_money_set_aside_counts_until_it_is_settled():
    budget = Budget(1.0, spent=0.5)
    assert budget.reserve(0.4)
    assert not budget.reserve(0.2)
    budget.settle(0.4, 0.1)
    assert budget.reserve(0.3)
    assert budget.spent == pytest.approx(0.6)


def test_prices_are_per_million_tokens():
    assert Price(2.5, 10.0).dollars(1_000_000, 100_000) == pytest.approx(3.5)
