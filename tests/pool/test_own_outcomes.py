"""`turnout train pool`: routes where there is something to gain, and says so where there is not."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import turnout
from turnout.calibrate.pool import calibrate_pool, shift_of
from turnout.evaluate.bootstrap import Estimate
from turnout.pool.profiles import Profile, Profiles, sigmoid
from turnout.profiles.linear import Linear, joined
from turnout.profiles.new_model import MIN_KNOWN
from turnout.profiles.own import CALIBRATED, candidates, log_loss, pick
from turnout.profiles.predictors import ScoredPrompts, by_cohort, by_length, by_neighbors, by_network, constant
from turnout.training.own_pool import LeftOut, Verdict, best_single, profiles_from, train_pool

ROWS, DIM = 900, 6


def _scored(seed: int, slope: float, gap: float) -> ScoredPrompts:
    """A cheap and an expensive model whose chances depend on the first number of the embedding."""
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(size=(ROWS, DIM)).astype(np.float32)
    logit = slope * embeddings[:, 0].astype(np.float64)
    chances = sigmoid(np.column_stack([logit, logit + gap if slope else np.full(ROWS, gap)]))
    scores = (generator.random((ROWS, 2)) < chances).astype(np.float64)
    return ScoredPrompts([f"prompt {row}" for row in range(ROWS)], embeddings, scores)


def _costs() -> np.ndarray:
    return np.tile([1.0, 20.0], (ROWS, 1))


def _easy_and_hard(seed: int) -> ScoredPrompts:
    """The cheap model is good on the half of the prompts that the embedding tells apart."""
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(size=(ROWS, DIM)).astype(np.float32)
    easy = embeddings[:, 0] > 0
    chances = np.column_stack([np.where(easy, 0.97, 0.1), np.where(easy, 0.9, 0.9)])
    scores = (generator.random((ROWS, 2)) < chances).astype(np.float64)
    return ScoredPrompts([f"prompt {row}" for row in range(ROWS)], embeddings, scores)


def test_it_routes_where_the_embedding_shows_which_prompts_the_cheap_model_is_good_at() -> None:
    found = train_pool(_easy_and_hard(0), ["cheap", "expensive"], _costs(), None, "ab", resamples=300)
    assert found.verdict.route, str(found.verdict)
    assert found.verdict.cost.high < 0.8
    assert found.picked in ("own", "landmarks", "own and landmarks")
    assert np.isfinite(found.error_cost)
    assert found.losses["own"] < found.losses["means"]
    assert found.costs["train pool"] < 0.8 < found.costs["cohort table"] + 1e-9, "the prompts' texts say nothing"
    assert found.costs["train pool"] < found.costs["kNN"] <= 1.0 + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_without_a_signal_it_does_not_route(seed: int) -> None:
    found = train_pool(_scored(seed, 0.0, 1.0), ["cheap", "expensive"], _costs(), None, "ab", resamples=300, seed=seed)
    assert not found.verdict.route, str(found.verdict)
    assert found.verdict.single == "expensive"
    assert str(found.verdict).startswith("do not route: "), str(found.verdict)
    assert found.losses["means"] <= min(found.losses.values()) + 0.01
    assert found.profiles.names == ["expensive"], "a profile of the other model would be one to route to"
    assert np.isinf(found.error_cost)
    success = found.profiles.success(np.random.default_rng(1).normal(size=(5, DIM)))
    assert np.ptp(success, axis=0).max() < 1e-12, "the same chance for every prompt"


@pytest.mark.parametrize("seed", range(3))
def test_what_it_routes_is_never_much_worse_than_the_single_model_on_new_prompts(seed: int) -> None:
    from turnout.evaluate.pools.frontier import chosen

    seen, new = _easy_and_hard(seed), _easy_and_hard(seed + 100)
    found = train_pool(seen, ["cheap", "expensive"], _costs(), None, "ab", resamples=300, seed=seed)
    single = best_single(seen.scores, _costs())
    assert found.verdict.route, str(found.verdict)
    choice = chosen(found.profiles.success(new.embeddings), _costs(), found.error_cost)
    got = new.scores[np.arange(ROWS), choice] - new.scores[:, single]
    assert got.mean() > -0.01 - 2.0 * got.std() / np.sqrt(ROWS)


@pytest.mark.parametrize(
    ("route", "quality", "cost", "text"),
    [
        (True, (0.0, -0.005, 0.005), (0.6, 0.5, 0.7), "route: score +0.000 [-0.005, +0.005], cost 0.600"),
        (
            False,
            (0.0, -0.02, 0.02),
            (0.6, 0.5, 0.7),
            "do not route: routing is cheaper, but its score may be more than",
        ),
        (False, (0.0, -0.005, 0.005), (0.6, 0.5, 0.7), "do not route: no cost of an error keeps the score of x"),
        (
            False,
            (0.0, -0.005, 0.005),
            (0.9, 0.8, 1.1),
            "do not route: it is not certain that routing is cheaper than x",
        ),
        (False, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "do not route: x alone is as good and cheaper"),
        (False, (0.05, 0.02, 0.08), (1.3, 1.2, 1.4), "do not route: routing is better, but x alone is cheaper"),
    ],
)
def test_a_verdict_says_why(
    route: bool, quality: tuple[float, float, float], cost: tuple[float, float, float], text: str
) -> None:
    assert str(Verdict(route, "x", Estimate(*quality), Estimate(*cost), 0.01, 0)).startswith(text)


def test_a_verdict_on_many_prompts_holds_few_resamples_at_once() -> None:
    generator = np.random.default_rng(0)
    rows = 20_000
    routed, alone = generator.random((2, 2, rows))
    found = LeftOut([str(row) for row in range(rows)], np.empty((rows, 2)), routed, alone, 0)
    tracemalloc.start()
    verdict = found.verdict(["a", "b"], resamples=500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert verdict.quality.low < verdict.quality.value < verdict.quality.high
    assert peak < 40e6, f"{peak:,} bytes, all resamples are {500 * rows * 8:,}"


@pytest.mark.parametrize(("models", "has_spread"), [(MIN_KNOWN - 1, False), (MIN_KNOWN, True)])
def test_what_starts_from_the_spread_of_known_models_needs_several(models: int, has_spread: bool) -> None:
    profiles = [Profile(f"m{number}", np.zeros(2), np.eye(2)) for number in range(models)]
    found = candidates(["m0", "m1"], Profiles(np.eye(DIM)[:, :1], profiles, "ab"))
    assert ({"mf, refitted", "mf and own", "mf and landmarks"} <= set(found)) == has_spread
    assert set(found) >= {"means", "own", "landmarks", "own and landmarks", CALIBRATED}
    assert has_spread or len(found) == 5


def test_candidates_learn_and_the_best_is_picked() -> None:
    seen, new = _scored(0, 2.0, 0.5), _scored(50, 2.0, 0.5)
    picked = pick(candidates(["cheap", "expensive"], None), seen, 0)
    assert picked.name in ("own", "own and landmarks")
    losses = {
        predict.__name__: log_loss(predict(seen, new.prompts, new.embeddings), new.scores)
        for predict in (constant, by_length, by_cohort, by_neighbors, by_network)
    }
    assert losses["by_neighbors"] < losses["constant"]
    assert losses["by_network"] < losses["constant"]
    assert losses["by_cohort"] == pytest.approx(losses["constant"], abs=0.01)


def _bent(seed: int) -> ScoredPrompts:
    """Models that are good at some distance of the embedding from its mean: which is linear in no direction."""
    generator = np.random.default_rng(seed)
    embeddings = generator.normal(size=(ROWS, DIM)).astype(np.float32)
    logit = 3.0 * (embeddings[:, 0].astype(np.float64) ** 2 - 1.0)
    scores = (generator.random((ROWS, 2)) < sigmoid(np.column_stack([logit, 1.0 - logit]))).astype(np.float64)
    return ScoredPrompts([f"prompt {row}" for row in range(ROWS)], embeddings, scores)


def test_landmarks_follow_what_bends() -> None:
    seen, new = _bent(0), _bent(1)
    picked = pick(candidates(["near", "far"], None), seen, 0)
    assert "landmarks" in picked.name
    tried = candidates(["near", "far"], None)
    losses = {name: log_loss(one(seen).success(new.embeddings), new.scores) for name, one in tried.items()}
    assert losses["landmarks"] < losses["own"] - 0.05
    assert losses["landmarks"] < log_loss(by_neighbors(seen, new.prompts, new.embeddings), new.scores)


def test_landmarks_of_scores_without_a_signal_are_the_means() -> None:
    seen = _scored(3, 0.0, 1.0)
    found = candidates(["a", "b"], None)["landmarks"](seen).success(seen.embeddings)
    assert found == pytest.approx(np.broadcast_to(seen.scores.mean(axis=0), found.shape), abs=0.1)


def test_copies_of_prompts_make_no_signal_of_noise() -> None:
    generator = np.random.default_rng(0)
    prompts = [f"question {chr(97 + row // 26)}{chr(97 + row % 26)}" for row in range(300)]
    embeddings = generator.normal(size=(300, DIM)).astype(np.float32)
    coins = generator.integers(0, 2, (300, 2)).astype(np.float64)
    seen = ScoredPrompts(prompts * 4, np.tile(embeddings, (4, 1)), np.tile(coins, (4, 1)))
    found = candidates(["a", "b"], None)["landmarks"](seen).success(embeddings)
    assert found == pytest.approx(np.full((300, 2), 0.5), abs=0.1)


def test_blends_are_the_mean_of_both_log_odds() -> None:
    seen = _bent(2)
    tried = candidates(["near", "far"], None)
    odds = {name: _log_odds(tried[name](seen).success(seen.embeddings)) for name in tried}
    assert odds["own and landmarks"] == pytest.approx(0.25 * odds["own"] + 0.75 * odds["landmarks"], abs=1e-6)


def _log_odds(success: np.ndarray) -> np.ndarray:
    return np.log(success) - np.log1p(-success)


def test_profiles_of_several_files_are_joined_over_one_basis() -> None:
    seen = _bent(4)
    tried = candidates(["near", "far"], None)
    own, bent, means = (tried[name](seen) for name in ("own", "landmarks", "means"))
    parts = {
        "a": Linear(own.basis, own.models[:1]),
        "b": Linear(bent.basis, bent.models[1:], bent.landmarks),
        "c": Linear(means.basis, means.models[:1]),
    }
    found = joined(parts).success(seen.embeddings)
    apart = np.hstack([one.success(seen.embeddings) for one in parts.values()])
    assert found == pytest.approx(apart, abs=1e-9)
    other = tried["landmarks"](_bent(5))
    with pytest.raises(turnout.InvalidInputError, match="different landmarks"):
        joined({**parts, "d": Linear(other.basis, other.models[:1], other.landmarks)})


def test_missing_scores_do_not_count() -> None:
    seen = _scored(1, 1.0, 0.5)
    scores = seen.scores.copy()
    scores[::3, 0] = np.nan
    some = ScoredPrompts(seen.prompts, seen.embeddings, scores)
    for predict in (constant, by_length, by_cohort, by_neighbors, by_network):
        assert np.isfinite(predict(some, seen.prompts[:20], seen.embeddings[:20])).all(), predict.__name__
    found = candidates(["cheap", "expensive"], None)
    assert all(np.isfinite(one(some).success(seen.embeddings[:20])).all() for one in found.values())
    profiles = profiles_from(found["own"], some, ["cheap", "expensive"], "ab", "tests", {"cheap": 80.0})
    assert [one.prompts for one in profiles.models] == [ROWS - ROWS // 3, ROWS]
    assert [one.facts for one in profiles.models] == [{"output_tokens": 80.0}, {}]


def test_calibration_finds_the_models_that_do_not_fit() -> None:
    generator = np.random.default_rng(2)
    true = sigmoid(generator.normal(size=(1500, 2)))
    scores = (generator.random((1500, 2)) < true).astype(np.float64)
    claimed = np.column_stack([true[:, 0], sigmoid(3.0 * np.log(true[:, 1] / (1.0 - true[:, 1])) + 1.0)])
    found = calibrate_pool(claimed, scores, ["right", "wrong"], [str(row) for row in range(1500)])
    assert not found["right"].is_unlike
    assert found["wrong"].is_unlike
    assert found["wrong"].slope == pytest.approx(1 / 3, abs=0.08)
    assert found["wrong"].after.ece.value < found["wrong"].before.ece.value / 2
    assert found["wrong"].after.ece.value < 0.06


def test_prompts_from_elsewhere_differ_from_the_fitted_ones() -> None:
    generator = np.random.default_rng(3)
    profiles = Profiles(np.eye(4)[:, :2], [], "ab", np.array([1.0, 0.0]))
    alike = generator.normal([1.0, 0.0, 5.0, 5.0], 1.0, (400, 4))
    same, other = shift_of(profiles, alike), shift_of(profiles, alike + np.array([0.0, 2.0, 0.0, 0.0]))
    assert same is not None
    assert other is not None
    assert same.p_value > 0.01
    assert other.p_value < 1e-6
    assert other.distance == pytest.approx(2.0, abs=0.2)
    assert other.radius == pytest.approx(2.0, abs=0.3)
    assert shift_of(Profiles(np.eye(4)[:, :2], [], "ab"), alike) is None
