"""Only what may have left is charged."""

from __future__ import annotations

import socket
import time

import pytest

PRICES = ["--strong-price", "2,4", "--weak-price", "1,2", "--judge-price", "2,4"]


def test_requests_to_an_endpoint_that_nobody_listens_at_cost_nothing(judge, capsys):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        assert judge("--base-url", url, "--retries", "1", *PRICES) == 1
    assert "failed 2 times: ConnectError" in capsys.readouterr().err
    assert judge.spent() == 0.0


def test_a_request_that_httpx_refuses_to_send_costs_nothing_and_is_not_repeated(judge, capsys):
    assert judge("--base-url", "http://☃/v1", *PRICES) == 1
    assert "failed 1 time:" in capsys.readouterr().err
    assert judge.spent() == 0.0


def test_a_request_whose_answer_is_lost_is_charged_at_the_most_it_can_cost(judge, endpoint):
    assert judge(*PRICES) == 0
    whole = judge.spent()
    judge.out.with_name("battles.jsonl.ledger").unlink()
    endpoint.failures = ["drop"]
    # The first request of a worker asks the strong model for up to 1024 tokens at 4 dollars a million.
    assert judge("--concurrency", "1", *PRICES) == 0
    assert whole + 1024 * 4e-6 < judge.spent() < whole + 1024 * 4e-6 + 300 * 2e-6


@pytest.mark.parametrize(("status", "charged"), [(503, False), (504, True)])
def test_of_statuses_only_a_gateways_time_out_is_charged(status, charged, judge, endpoint):
    judge(*PRICES)
    whole = judge.spent()
    judge.out.with_name("battles.jsonl.ledger").unlink()
    endpoint.failures = [status]
    assert judge("--concurrency", "1", *PRICES) == 0
    assert (judge.spent() > whole * 1.01) == charged


def test_an_attempt_ends_at_its_time_out_however_often_bytes_come_and_is_charged(judge, endpoint, capsys):
    endpoint.failures = ["drip"]
    began = time.monotonic()
    limits = ["--concurrency", "1", "--retries", "0", "--timeout-s", "1.5"]
    assert judge(*limits, *PRICES, prompts=["big wins"]) == 1
    assert time.monotonic() - began < 10
    assert "failed 1 time: no complete answer within 1.5 s" in capsys.readouterr().err
    assert judge.spent() > 1024 * 4e-6


def test_a_nonsensical_count_of_tokens_is_charged_at_the_most(judge, endpoint):
    answer = '{"choices": [{"message": {"content": "big says, small says"}}], "usage": %s}'
    for usage in (
        '{"prompt_tokens": -1000000, "completion_tokens": 5}',
        '{"prompt_tokens": 1e999, "completion_tokens": 5}',
    ):
        endpoint.failures = [answer % usage]
        judge("--concurrency", "1", *PRICES, prompts=["big wins " + usage])
        judge.out.unlink()
    assert judge.spent() > 2 * 1024 * 4e-6
