"""Budgets of a pool hold under drift, price changes and bursts; replay is exact; state survives restarts."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import turnout
from turnout import Model, Pool, PoolBudget, PoolRouter

HOUR = 3600.0


class Stream:
    """A router whose prompts are the chances and uses of two or more models."""

    def __init__(self, models: int = 2, largest: float = 1.0) -> None:
        price = {"input_price": largest * 1e6 / 800, "output_price": largest * 1e6 / 800, "co2_grams": 1.0}
        self.pool = Pool([Model(f"m{at}", success=0.5, **price) for at in range(models)])

    def _route_budget(self, prompt: Any, resource: str, price: float, limit_ms: float) -> tuple[int, float]:
        if prompt == "":
            return 0, 0.0
        success, use = prompt
        chosen = int(np.argmin(1 - np.asarray(success) + price * np.asarray(use)))
        return chosen, float(use[chosen])


def run(budget: PoolBudget, stream: list[tuple[float, Any]]) -> np.ndarray:
    used = []
    for at, prompt in stream:
        before = budget.used
        budget.route(prompt, at=at)
        used.append(budget.used - before)
    return np.array(used)


def stream_of(seconds: np.ndarray, gains: np.ndarray, uses: tuple[float, float]) -> list[tuple[float, Any]]:
    return [(float(at), ((0.5, min(0.5 + gain, 1.0)), uses)) for at, gain in zip(seconds, gains, strict=True)]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(0, 0.5), st.floats(0.0, 60.0), st.integers(1, 300), st.floats(0.01, 300.0)),
        min_size=1,
        max_size=6,
    ),
    st.floats(0.5, 200.0),
    st.sampled_from([0.005, 0.02, 0.2]),
)
def test_use_never_exceeds_the_allowance_by_more_than_the_proven_bound(
    pieces: list[tuple[float, float, int, float]], limit: float, horizon: float
) -> None:
    # The second model costs nothing, so that every limit can be kept.
    budget = PoolBudget(Stream(), cost=limit, per="hour", horizon=horizon)
    at, stream = 0.0, []
    for gain, pause, count, use in pieces:
        for _ in range(count):
            at += pause
            stream.append((at, ((0.5, 0.5 + gain), (0.0, use))))
    used, times = run(budget, stream), np.array([at for at, _ in stream])
    excess = np.cumsum(used) - limit / HOUR * times
    # From every start to every end.
    assert (excess - np.minimum.accumulate(np.concatenate([[0.0], excess])[:-1])).max() <= budget.overshoot + 1e-9


def test_a_request_larger_than_any_before_is_paid_back() -> None:
    budget = PoolBudget(Stream(), cost=1.0, per="hour")
    # The allowance of the pause expires, then a request of a hundred units comes, again and again.
    for cycle in range(1, 40):
        for at in (0.0, 0.5):
            budget.route(((0.5, 1.0), (0.0, 0.0)), at=(cycle + at) * HOUR)
        used = run(budget, [((cycle + 0.5) * HOUR, ((0.5, 1.0), (0.0, 100.0)))])
        assert used[0] in (0.0, 100.0)
        assert budget.used <= budget.allowed + budget.overshoot
    assert budget.overshoot < 200.0


def test_a_budget_of_an_hour_holds_while_prompts_traffic_and_prices_change() -> None:
    rng = np.random.default_rng(0)
    stream: list[tuple[float, Any]] = []
    at = 0.0
    # Six hours: traffic from 600 to 6,000 an hour, gains of the expensive model small, then large, its price trebles in the fourth.
    for hour, (rate, scale, expensive) in enumerate(
        [
            (600, 0.1, 0.01),
            (6000, 0.1, 0.01),
            (3000, 0.4, 0.01),
            (3000, 0.4, 0.03),
            (600, 0.4, 0.03),
            (6000, 0.05, 0.01),
        ]
    ):
        seconds = np.sort(rng.uniform(hour * HOUR, (hour + 1) * HOUR, rate))
        stream += stream_of(seconds, rng.beta(1, 3, rate) * scale, (0.0005, expensive))
        at = (hour + 1) * HOUR
    budget = PoolBudget(Stream(largest=0.01), cost=10.0, per="hour")
    used, hours = run(budget, stream), np.array([int(at // HOUR) for at, _ in stream])
    spent = np.array([used[hours == hour].sum() for hour in range(6)])
    # Where the expensive model for every prompt costs more than the budget, the budget is used, and not exceeded by more than a tenth.
    assert at == 6 * HOUR
    assert (spent <= 11.0).all(), spent
    for hour in (1, 2, 3, 4, 5):
        assert spent[hour] >= 8.5, spent


def test_a_budget_buys_more_success_than_spending_it_at_random() -> None:
    rng = np.random.default_rng(1)
    seconds, gains = np.sort(rng.uniform(0, 4 * HOUR, 20_000)), rng.beta(0.5, 2, 20_000) / 2
    budget = PoolBudget(Stream(largest=0.01), cost=10.0, per="hour")
    used = run(budget, stream_of(seconds, gains, (0.0, 0.01)))
    bought = used > 0
    # At random the mean gain of the prompts that get the expensive model is that of all; the best possible is that of the largest gains.
    best = np.sort(gains)[-int(bought.sum()) :].mean()
    assert gains[bought].mean() > 0.95 * best > 1.5 * gains.mean()


def test_p95_latency_holds_when_a_model_slows_down() -> None:
    rng = np.random.default_rng(2)
    gains = rng.beta(1, 3, 12_000) / 2
    # The likelier model misses the limit with 3 % of its answers, then with 40 %; the other one with 1 %.
    chances = [(0.01, 0.03)] * 6000 + [(0.01, 0.4)] * 6000
    stream = [(0.0, ((0.5, 0.5 + gain), slow)) for gain, slow in zip(gains, chances, strict=True)]
    budget = PoolBudget(Stream(), p95_latency_ms=2000)
    slow = run(budget, stream)
    assert slow[:6000].mean() == pytest.approx(0.03, abs=0.002)
    assert slow[7000:].mean() == pytest.approx(0.05, abs=0.004)


def test_a_limit_that_no_model_keeps_is_said() -> None:
    budget = PoolBudget(Stream(), cost=1.0, per="hour")
    for _ in range(500):
        assert budget.route(((0.5, 0.9), (1.0, 2.0)), at=0.0) in (0, 1)
    assert budget.is_exceeded
    assert budget.route(((0.5, 0.9), (1.0, 2.0)), at=0.0) == 0


def test_replay_is_exact_and_state_goes_on_where_it_was(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    stream = stream_of(np.cumsum(rng.exponential(1.0, 2000)), rng.uniform(0, 0.5, 2000), (0.001, 0.01))
    whole, again = (PoolBudget(Stream(), cost=5.0) for _ in range(2))
    expected = run(whole, stream)
    assert (run(again, stream) == expected).all()

    file = tmp_path / "budget.json"
    first = PoolBudget(Stream(), cost=5.0, path=file)
    run(first, stream[:1000])
    first.save()
    second = PoolBudget(Stream(), cost=5.0, path=file)
    assert second.state() == first.state()
    assert (run(second, stream[1000:]) == expected[1000:]).all()
    assert list(tmp_path.iterdir()) == [file]
    third = PoolBudget(Stream(), cost=5.0)
    third.restore(json.loads(file.read_text()))


def test_the_state_is_kept_where_the_limit_is_another_one_and_not_where_the_resource_is(tmp_path: Path) -> None:
    file = tmp_path / "budget.json"
    first = PoolBudget(Stream(), cost=5.0, path=file)
    run(first, [(float(at), ((0.5, 0.9), (0.001, 0.01))) for at in range(100)])
    first.save()
    other = PoolBudget(Stream(), cost=6.0, per="day", horizon=0.1, path=file)
    assert (other.used, other.allowed, other.requests, other.price) == (first.used, first.allowed, 100, first.price)
    assert other.is_like(first)
    with pytest.raises(
        turnout.InvalidInputError, match=r"budget\.json: the state is of a budget of 'cost', expected 'co2'"
    ):
        PoolBudget(Stream(), co2_grams=6.0, path=file)


def test_a_budget_that_has_counted_nothing_leaves_the_state_of_another_process(tmp_path: Path) -> None:
    file = tmp_path / "budget.json"
    running = PoolBudget(Stream(), cost=5.0, path=file)
    running.save()
    opened = PoolBudget(Stream(), cost=5.0, path=file)
    running.route(((0.5, 0.9), (0.0, 1.0)), at=0.0)
    running.save()
    opened.try_save()
    assert json.loads(file.read_text())["requests"] == 1
    opened.spend(2.0)
    opened.try_save()
    assert json.loads(file.read_text())["used"] == 2.0


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"log_price": NaN}', "null"])
def test_a_damaged_state_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "budget.json").write_text(text)
    with pytest.raises(turnout.InvalidInputError, match="expected the state of a PoolBudget"):
        PoolBudget(Stream(), cost=5.0, path=tmp_path / "budget.json")
    good = PoolBudget(Stream(), cost=5.0).state()
    for wrong in (
        {"log_price": -1e9},
        {"largest": -1.0},
        {"log_price": "x"},
        {"used": math.inf},
        {"at": math.nan},
        {"requests": "five"},
    ):
        with pytest.raises(turnout.InvalidInputError):
            PoolBudget(Stream(), cost=5.0).restore({**good, **wrong})


def test_what_a_request_really_used_counts() -> None:
    one, other = PoolBudget(Stream(), cost=100.0), PoolBudget(Stream(), cost=100.0)
    for budget in (one, other):
        budget.route(((0.5, 0.9), (0.0, 1.0)), at=0.0)
    one.spend(5.0)
    assert one.used == other.used + 5.0
    assert one.price > other.price
    one.spend(-5.0)
    assert one.price == pytest.approx(other.price)
    with pytest.raises(turnout.InvalidInputError):
        one.spend(math.nan)


def test_a_clock_that_goes_back_counts_as_no_time() -> None:
    budget = PoolBudget(Stream(), cost=3600.0)
    prompt = ((0.5, 0.9), (0.0, 1.0))
    for at in (10.0, 5.0, 9.0, 11.0):
        budget.route(prompt, at=at)
    assert budget.allowed == pytest.approx(1.0)
    with pytest.raises(turnout.InvalidInputError, match="at is nan"):
        budget.route(prompt, at=math.nan)


def test_threads_lose_no_request() -> None:
    budget = PoolBudget(Stream(), cost=50.0, clock=lambda: 0.0)
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        for _ in range(500):
            budget.route(((0.5, 0.9), (0.25, 0.5)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.requests == 4000
    assert 1000 <= budget.used <= 2000


@pytest.mark.parametrize(
    "options",
    [{}, {"cost": 1.0, "co2_grams": 1.0}, {"cost": 0.0}, {"cost": math.nan}, {"cost": 1.0, "per": "week"},
     {"cost": 1.0, "per": 0.0}, {"cost": 1.0, "horizon": 0.0}, {"cost": 1.0, "horizon": 2.0}, {"p95_latency_ms": -1.0}],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(turnout.InvalidInputError):
        PoolBudget(Stream(), **options)


def test_the_core_counts_cost_co2_and_slow_answers(with_models: Callable[..., PoolRouter]) -> None:
    router = with_models(
        Model("a", success=0.9, input_price=1, output_price=2, co2_grams=500, latency_ms={"p50": 500, "p95": 2000}, output_tokens=100),
        Model("b", success=0.5, input_price=0, output_price=0, co2_grams=0, tokens_per_second=1e6, output_tokens=100),
    )  # fmt: skip
    for options, used in (
        ({"cost": 1.0}, (10 * 1 + 100 * 2) / 1e6),
        ({"co2_grams": 1.0}, 500 * 110 / 1e6),
        ({"p95_latency_ms": 2000}, 0.05),
    ):
        budget = PoolBudget(router, **options)
        decision = budget.route("Hi", at=0.0, input_tokens=10)
        assert (decision.model, decision.reason) == ("a", "best use of the budget")
        assert budget.used == pytest.approx(used, rel=5e-3)
        with pytest.raises(turnout.InvalidInputError, match="an objective is given"):
            budget.route("Hi", target=0.5)
    for options, missing in (
        ({"co2_grams": 1.0}, "co2_grams"),
        ({"p95_latency_ms": 5}, "latency_ms"),
        ({"cost": 1}, "input_price"),
    ):
        with pytest.raises(turnout.InvalidInputError, match=f"a budget needs {missing}"):
            PoolBudget(with_models(Model("a", success=0.5), tolerance=0), **options)
