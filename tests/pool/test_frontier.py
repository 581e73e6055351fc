"""Cost-quality curves: the hull, what is read from it, and choices at a cost of an error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.evaluate.pools.frontier import Choices, chosen, figures, hull, singles, sweep

SCORES = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
COSTS = np.tile([1.0, 10.0], (4, 1))
ONCE = np.ones((1, 4), dtype=np.int64)


def test_a_perfect_method_pays_for_the_dear_model_only_where_it_is_needed() -> None:
    single = Choices(SCORES[:, 1][None], COSTS[:, 1][None])
    found = figures(sweep(SCORES, COSTS, SCORES, COSTS), single, singles(SCORES, COSTS), ONCE)
    assert found.best[0] == 1.0
    # Quality .75 of the expensive model alone (cost 10): one of the two prompts that need it, at a mean of 3.25.
    assert found.cost[0] == pytest.approx(0.325)
    assert found.quality[0] == 1.0


def test_random_routing_has_the_hull_of_the_single_models() -> None:
    single = Choices(SCORES[:, 1][None], COSTS[:, 1][None])
    found = figures(singles(SCORES, COSTS), single, singles(SCORES, COSTS), ONCE)
    assert found.cost[0] == pytest.approx(1.0)
    assert found.aiq[0] == pytest.approx((0.5 + 0.75) / 2.0)


def test_a_method_that_never_reaches_the_quality_has_no_cost_there() -> None:
    single = Choices(SCORES[:, 1][None], COSTS[:, 1][None])
    cheap = Choices(SCORES[:, 0][None], COSTS[:, 0][None])
    assert np.isnan(figures(cheap, single, singles(SCORES, COSTS), ONCE).cost[0])


def test_equal_totals_go_to_the_cheaper_model_then_to_the_first() -> None:
    success = np.array([[0.5, 0.5, 0.5]])
    assert chosen(success, np.array([[2.0, 1.0, 1.0]]), 0.0).tolist() == [1]
    assert chosen(success, np.array([[2.0, 1.0, 1.0]]), np.inf).tolist() == [1]
    assert chosen(np.array([[0.9, 0.5, 0.5]]), np.array([[2.0, 1.0, 1.0]]), 10.0).tolist() == [0]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12))
def test_the_hull_is_above_every_point_rises_and_bends_down(points: list[tuple[int, int]]) -> None:
    costs, quality = np.array(points, dtype=float).T
    at, values = hull(costs, quality)
    assert (np.diff(at) > 0).all()
    assert (np.diff(values) > 0).all()
    slopes = np.diff(values) / np.diff(at)
    assert (np.diff(slopes) < 1e-9).all()
    assert (np.interp(costs, at, values) >= quality - 1e-9)[costs >= at[0]].all()
    assert values[-1] == quality.max()
