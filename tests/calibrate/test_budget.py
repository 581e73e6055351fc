"""The budget holds on any stream: the proven bound, drift, threads, state."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import turnout
from turnout import BudgetController


class Stream:
    """A router whose prompts are their win rates."""

    threshold = 0.5

    def route(self, prompt, *, threshold):
        return SimpleNamespace(win_rate=float(prompt), is_strong=float(prompt) >= threshold)


def run(budget, rates):
    return np.array([budget.route(rate).is_strong for rate in rates])


@given(
    st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 400)), min_size=1, max_size=8),
    st.floats(0.02, 0.98),
    st.sampled_from([20, 100, 500]),
    st.sampled_from([0.01, 0.05, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_the_share_holds_within_the_proven_bound_on_any_stream(pieces, share, window, max_step):
    budget = BudgetController(Stream(), strong_share=share, window=window, max_step=max_step)
    rates = np.concatenate([np.full(count, level) for level, count in pieces])
    run(budget, rates)
    bound = (window + 1 / max_step + 1) / len(rates)
    assert abs(budget.realized_share - share) <= bound + 1e-9


def test_the_share_converges_on_a_shifted_stream():
    generator = np.random.default_rng(0)
    # The arena's prompts first, then harder ones, then easier ones, each with a range of win rates of its own.
    rates = np.concatenate(
        [generator.beta(2, 8, 6000), generator.beta(8, 2, 6000), 0.2 + 0.02 * generator.beta(2, 2, 6000)]
    )
    fixed = np.quantile(rates[:6000], 0.7)
    assert abs((rates[6000:12000] >= fixed).mean() - 0.3) > 0.5
    chosen = run(BudgetController(Stream(), strong_share=0.3, window=500), rates)
    assert abs(chosen.mean() - 0.3) < 0.005
    for start in (2000, 8000, 14_000):
        assert abs(chosen[start : start + 4000].mean() - 0.3) < 0.02


def test_the_threshold_moves_by_bounded_steps():
    budget = BudgetController(Stream(), strong_share=0.5, window=50, max_step=0.02)
    before = budget.threshold
    for rate in np.random.default_rng(1).uniform(size=500):
        budget.route(rate)
        assert abs(budget.threshold - before) <= 0.02 + 1e-12
        before = budget.threshold


def test_state_goes_through_json_and_goes_on_the_same():
    rates = np.random.default_rng(2).beta(2, 5, 3000)
    whole = BudgetController(Stream(), strong_share=0.3, window=200)
    first = BudgetController(Stream(), strong_share=0.3, window=200)
    expected = run(whole, rates)
    run(first, rates[:1500])
    second = BudgetController.restore(Stream(), json.dumps(first.state()))
    assert (run(second, rates[1500:]) == expected[1500:]).all()
    assert second.state() == whole.state()
    with pytest.raises(turnout.InvalidInputError, match="expected the state"):
        BudgetController.restore(Stream(), {"window": 10})


def test_threads_lose_no_prompt_and_the_share_holds():
    budget = BudgetController(Stream(), strong_share=0.25, window=200)
    barrier = threading.Barrier(8)

    def work(seed):
        barrier.wait()
        run(budget, np.random.default_rng(seed).uniform(size=1000))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.prompts == 8000
    # Each call in flight adds 1/T to the bound.
    assert abs(budget.realized_share - 0.25) <= (200 + 20 + 1 + 8) / 8000


def test_a_router_routes_through_it(tiny):
    budget = turnout.BudgetController(tiny, strong_share=0.3, window=50)
    decisions = [budget.route(f"prompt {row}") for row in range(400)]
    assert all(decision.model in (tiny.strong, tiny.weak) for decision in decisions)
    assert abs(budget.realized_share - 0.3) <= (50 + 21) / 400
    assert 0 <= budget.recent_share <= 1


def test_options_that_make_no_sense_are_refused():
    for options in ({"strong_share": 0.0}, {"strong_share": 0.5, "window": 1}, {"strong_share": 0.5, "max_step": 0}):
        with pytest.raises(turnout.InvalidInputError):
            BudgetController(Stream(), **options)
