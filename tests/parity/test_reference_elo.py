"""The NumPy specification of ``sw_ranking`` against outputs of RouteLLM's own code and of an exact solver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from turnout.reference import sw_ranking as elo

FOLDER = Path(__file__).parents[1] / "fixtures" / "routellm" / "sw_ranking"


@pytest.fixture(scope="module")
def expected() -> Any:
    return json.loads((FOLDER / "ratings.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases() -> Any:
    return np.load(FOLDER / "cases.npz")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    table = pq.read_table(FOLDER / "battles.parquet").to_pylist()
    return [row for row in table if elo.long_enough(json.loads(row["prompt"])[0])]


@pytest.fixture(scope="module")
def models(rows: list[dict[str, Any]]) -> list[str]:
    return sorted({row["model_a"] for row in rows} | {row["model_b"] for row in rows})


@pytest.fixture(scope="module")
def battles(rows: list[dict[str, Any]], models: list[str]) -> tuple[list[int], list[int], list[int]]:
    outcome = [0 if row["winner_model_a"] else 1 if row["winner_model_b"] else 2 for row in rows]
    return [models.index(row["model_a"]) for row in rows], [models.index(row["model_b"]) for row in rows], outcome


@pytest.fixture(scope="module")
def ratings(battles: Any, models: list[str]) -> elo.Floats:
    return elo.ratings_of(elo.win_matrix(*battles, 1.0, len(models)), models)


@pytest.fixture(scope="module")
def ranking(battles: Any, ratings: elo.Floats) -> elo.SimilarityRanking:
    a, b, outcome = battles
    tiers = elo.tiers_of(ratings, 10)
    vectors = np.load(FOLDER / "embeddings.npy")
    return elo.SimilarityRanking(vectors, np.arange(len(vectors)), tiers[a], tiers[b], outcome, 10)


def test_the_length_filter_keeps_what_routellm_keeps(cases: Any, expected: Any) -> None:
    table = pq.read_table(FOLDER / "battles.parquet")["prompt"].to_pylist()
    kept = [row for row, prompt in enumerate(table) if elo.long_enough(json.loads(prompt)[0])]
    assert kept == cases["kept_row"].tolist()
    edges = zip(expected["filter_edge_rows"], expected["filter_edge_kept"], strict=True)
    assert all((row in set(kept)) == keep for row, keep in edges)


def test_ratings_are_the_exact_optimum(ratings: elo.Floats, models: list[str], expected: Any) -> None:
    for name, rating in expected["exact_ratings"]:
        assert ratings[models.index(name)] == pytest.approx(rating, abs=1e-3)
    for name, rating in expected["ratings"]:  # L-BFGS stops early
        assert ratings[models.index(name)] == pytest.approx(rating, abs=1.0)


def test_tiers_are_routellms(ratings: elo.Floats, models: list[str], expected: Any) -> None:
    tiers = elo.tiers_of(ratings, expected["num_tiers"])
    assert {name: int(tier) for name, tier in zip(models, tiers, strict=True)} == expected["model2tier"]


def test_win_rates_are_routellms_without_battles_inside_a_tier(ranking: elo.SimilarityRanking, cases: Any) -> None:
    found = [ranking.win_rate(embedding, 1, 4) for embedding in cases["query_embeddings"]]
    np.testing.assert_allclose(found, cases["exact_same_tier_dropped"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, cases["win_rate_same_tier_dropped"], rtol=0, atol=1e-3)


def test_every_prompt_near_is_the_exact_win_rate(ranking: elo.SimilarityRanking, cases: Any) -> None:
    vectors = ranking.vectors
    one = elo.Cells(np.zeros(len(vectors), dtype=np.int64), vectors.mean(axis=0, keepdims=True), np.zeros(1))
    approximate = elo.SimilarityRanking(
        vectors, ranking.prompt, ranking.a, ranking.b, ranking.outcome, ranking.tiers, one
    )
    for embedding in cases["query_embeddings"][:5]:
        exact = ranking.win_rate(embedding, 1, 4)
        everything = approximate.approximate_win_rate(embedding, np.arange(len(vectors)), 1, 4)
        assert everything == pytest.approx(exact, abs=1e-9)


def test_degenerate_battles_give_finite_answers() -> None:
    never_won = elo.bradley_terry(np.array([[0.0, 10.0], [0.0, 0.0]]))
    assert np.isfinite(never_won).all()
    assert never_won[0] - never_won[1] > 10
    ties = elo.bradley_terry(elo.win_matrix([0, 1, 2], [1, 2, 0], [2, 2, 2], 1.0, 3))
    np.testing.assert_allclose(ties, 0, atol=1e-9)
    apart = elo.bradley_terry(elo.win_matrix([0, 0, 2, 2], [1, 1, 3, 3], [0, 1, 0, 0], 1.0, 5))
    assert apart[[0, 1, 4]] == pytest.approx([0, 0, 0], abs=1e-6)
    assert apart[2] == pytest.approx(-apart[3])
    assert np.isfinite(elo.bradley_terry(elo.win_matrix([0], [1], [0], 1.0, 2))).all()
    assert elo.bradley_terry(np.zeros((3, 3))).tolist() == [0, 0, 0]


def test_an_embedding_that_cannot_rank_weighs_all_battles_alike() -> None:
    ranking = elo.SimilarityRanking(np.eye(2), [0, 0, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1], [0, 0, 0, 1], 2)
    even = float(np.exp(elo.bradley_terry(np.array([[0.0, 2.0], [2.0, 0.0]]))[0]))
    assert even == pytest.approx(1)
    for embedding in ([0.0, 0.0], [-1.0, -1.0]):
        assert ranking.win_rate(embedding, 0, 1) == pytest.approx(0.5)
    assert ranking.win_rate([1.0, 0.0], 0, 1) > 0.6


def test_a_tier_against_itself_is_even_and_reversing_gives_the_other_chance(ranking: elo.SimilarityRanking) -> None:
    embedding = np.ones(64)
    assert ranking.win_rate(embedding, 3, 3) == 0.5
    assert ranking.win_rate(embedding, 1, 4) == pytest.approx(1 - ranking.win_rate(embedding, 4, 1), abs=1e-9)


def test_more_tiers_than_models_are_one_a_model() -> None:
    assert elo.tiers_of([1.0, 3.0, 2.0], 10).tolist() == [2, 0, 1]
    assert elo.tiers_of([5.0], 10).tolist() == [0]
