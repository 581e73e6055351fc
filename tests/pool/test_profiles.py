"""Profiles of models: what is fitted is what was drawn, intervals cover, and the file keeps it all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from turnout import ConfigError, InvalidInputError
from turnout.evaluate.success import auc, success_scores
from turnout.pool.profiles import Profile, Profiles, read_profiles, sigmoid
from turnout.profiles.fitting import Rows, calibrated, calibrations, fit
from turnout.profiles.new_model import from_alike, from_leaderboard, from_outcomes, half_width, prior_of, with_more
from turnout.profiles.regression import Gaussian, Graded, fit_population, posterior

DIM, TRUE_RANK = 12, 3


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, dict[str, Rows], dict[str, np.ndarray]]:
    """Embeddings off the origin, and 40 models that differ in three directions of them; some have few prompts."""
    generator = np.random.default_rng(0)
    embeddings = (generator.normal(size=(3000, DIM)) + 2.0).astype(np.float32)
    directions = generator.normal(size=(DIM, TRUE_RANK))
    models, chances = {}, {}
    for number in range(40):
        weights = generator.normal([0.8, 0.0, 0.0], 0.5)
        chance = sigmoid((embeddings - 2.0) @ directions @ weights / np.sqrt(DIM) + generator.normal(0.0, 0.7))
        size = 60 if number % 4 == 0 else 1500
        place = generator.permutation(3000)[:size]
        scores = (generator.random(size) < chance[place]).astype(np.float64)
        models[f"model-{number}"] = Rows(place, scores)
        chances[f"model-{number}"] = chance
    return embeddings, models, chances


@pytest.fixture(scope="module")
def profiles(world: tuple[np.ndarray, dict[str, Rows], dict[str, np.ndarray]]) -> Profiles:
    embeddings, models, _ = world
    fitted = fit(embeddings, models, rank=TRUE_RANK)
    found = []
    for name, one in fitted.posteriors.items():
        rows = models[name]
        means = {"exam": float(rows.scores.mean()), "quiz": float(rows.scores[::2].mean())}
        found.append(Profile(name, one.mean, one.covariance, len(rows.scores), ["exam"], {"means": means}))
    return Profiles(fitted.basis, found, "ab" * 32)


def test_chances_are_near_the_true_ones(
    world: tuple[np.ndarray, dict[str, Rows], dict[str, np.ndarray]], profiles: Profiles
) -> None:
    embeddings, models, chances = world
    found = profiles.success(embeddings)
    error = {name: np.sqrt(np.mean((found[:, row] - chances[name]) ** 2)) for row, name in enumerate(profiles.names)}
    many = [error[name] for name, rows in models.items() if len(rows.scores) > 60]
    few = [error[name] for name, rows in models.items() if len(rows.scores) == 60]
    assert np.mean(many) < 0.04
    assert np.mean(few) < 0.11


def test_intervals_cover_nine_of_ten_true_chances(
    world: tuple[np.ndarray, dict[str, Rows], dict[str, np.ndarray]], profiles: Profiles
) -> None:
    embeddings, _, chances = world
    low, high = profiles.interval(embeddings)
    true = np.stack([chances[name] for name in profiles.names], axis=1)
    covered = float(((low <= true) & (true <= high)).mean())
    assert 0.82 < covered < 0.97


def test_the_file_keeps_everything(profiles: Profiles, tmp_path: Path) -> None:
    path = tmp_path / "profiles.safetensors"
    path.write_bytes(profiles.to_bytes())
    again = read_profiles(path)
    assert again.names == profiles.names
    assert again.embedding == profiles.embedding
    embeddings = np.random.default_rng(1).normal(size=(20, DIM))
    np.testing.assert_allclose(again.success(embeddings), profiles.success(embeddings), atol=1e-5)
    for one, other in zip(again.interval(embeddings), profiles.interval(embeddings), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    first, was = again.models[0], profiles.models[0]
    assert (first.prompts, list(first.sources)) == (was.prompts, list(was.sources))
    assert first.facts["means"] == was.facts["means"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no tensors", "not a safetensors file"), (None, "shapes of weights, bias and covariance")],
)
def test_damaged_files_are_errors(profiles: Profiles, tmp_path: Path, content: bytes | None, message: str) -> None:
    from safetensors.numpy import save

    if content is None:
        tensors = {"basis": np.eye(3), "weights": np.ones((1, 3)), "bias": np.ones(1), "covariance": np.ones((1, 3))}
        content = save(tensors, metadata={"embedding": "", "profiles": '[{"name": "a", "prompts": 1, "sources": []}]'})
    path = tmp_path / "profiles.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_profiles(path)


@pytest.mark.parametrize(
    ("tensors", "infos", "message"),
    [
        ({"bandwidth": np.zeros(1)}, None, "bandwidth is"),
        ({"bandwidth": np.array([1.0, -1.0])}, None, "bandwidth is"),
        ({"bandwidth": np.ones(0)}, None, "bandwidth is"),
        ({"bandwidth": None}, None, "bandwidth is None"),
        ({"landmarks": None}, None, "landmarks have shape None"),
        ({"landmarks": np.ones(3)}, None, r"landmarks have shape \(3,\)"),
        ({"landmarks": np.ones((2, 2))}, None, "basis has 5 rows, expected 4"),
        ({"bandwidth": np.ones(2)}, None, "basis has 5 rows, expected 7"),
        ({"basis": np.ones(5)}, None, "shapes of weights"),
        ({"basis": np.ones((5, 0))}, None, "shapes of weights"),
        ({"bias": None}, None, "bias is missing"),
        ({"bias": np.array([np.nan])}, None, "not finite"),
        ({}, "5", "expected a list of models"),
        ({}, "[]", "expected a list of models"),
        ({}, '["a"]', "expected a name and a number of prompts"),
        ({}, '[{"name": "a"}]', "expected a name and a number of prompts"),
        ({}, '[{"name": "a", "prompts": "many"}]', "expected a name and a number of prompts"),
        ({}, "[{", "is missing or invalid"),
    ],
)
def test_what_the_core_refuses_is_refused_in_python(
    tmp_path: Path, tensors: dict[str, np.ndarray | None], infos: str | None, message: str
) -> None:
    from safetensors.numpy import save

    shapes = {"basis": (5, 1), "weights": (1, 1), "bias": (1,), "covariance": (1, 3), "landmarks": (2, 3)}
    whole = {**{name: np.ones(shape) for name, shape in shapes.items()}, "bandwidth": np.ones(1), **tensors}
    path = tmp_path / "profiles.safetensors"
    metadata = {"embedding": "", "profiles": infos or '[{"name": "a", "prompts": 1}]'}
    path.write_bytes(save({name: one for name, one in whole.items() if one is not None}, metadata=metadata))
    with pytest.raises(ConfigError, match=message):
        read_profiles(path)


def test_an_unknown_model_is_an_error_with_near_names(profiles: Profiles) -> None:
    with pytest.raises(InvalidInputError, match=r"no profile of model 'model-q7'.*model-7"):
        profiles.find("model-q7")


def test_posterior_is_between_the_prior_and_the_data() -> None:
    prior = Gaussian(np.array([0.0]), np.array([[1.0]]))
    ones = Graded(np.ones((50, 1)), np.ones(50))
    assert posterior(prior, Graded(np.ones((0, 1)), np.ones(0))) is prior
    few, many = posterior(prior, Graded(np.ones((5, 1)), np.ones(5))), posterior(prior, ones)
    assert 0.0 < few.mean[0] < many.mean[0]
    assert many.covariance[0, 0] < few.covariance[0, 0] < 1.0


def test_the_population_is_found_from_models_of_different_sizes() -> None:
    generator = np.random.default_rng(2)
    models = []
    for size in [40, 400] * 60:
        bias = generator.normal(1.0, 0.8)
        models.append(Graded(np.ones((size, 1)), (generator.random(size) < sigmoid(np.array(bias))).astype(float)))
    prior, _ = fit_population(models, Gaussian(np.zeros(1), np.array([[4.0]])), steps=25)
    assert prior.mean[0] == pytest.approx(1.0, abs=0.2)
    assert np.sqrt(prior.covariance[0, 0]) == pytest.approx(0.8, abs=0.2)


def test_calibration_undoes_a_wrong_slope_and_is_shared_by_small_models() -> None:
    generator = np.random.default_rng(3)
    logits, scores = [], []
    for size in [30] * 20 + [3000] * 20:
        true = generator.normal(0.0, 1.5, size)
        logits.append(2.0 * true + 0.5)
        scores.append((generator.random(size) < sigmoid(true)).astype(float))
    found = np.array(calibrations(logits, scores))
    assert np.abs(found[:, 0] - 0.5).max() < 0.12
    assert np.abs(found[:, 1] + 0.25).max() < 0.25
    moved = calibrated(Gaussian(np.array([2.0, 0.5]), np.eye(2)), 0.5, -0.25)
    np.testing.assert_allclose(moved.mean, [1.0, 0.0])
    np.testing.assert_allclose(moved.covariance, np.eye(2) / 4.0)


def test_graded_prompts_make_a_new_model_certain(
    world: tuple[np.ndarray, dict[str, Rows], dict[str, np.ndarray]], profiles: Profiles
) -> None:
    embeddings, models, chances = world
    prior = prior_of(profiles, without=["model-1"])
    features = profiles.features(embeddings)
    errors, widths = [], []
    for number in (0, 30, 300):
        rows = models["model-1"]
        found = prior if not number else from_outcomes(prior, features[rows.place[:number]], rows.scores[:number])
        errors.append(float(np.mean(np.abs(sigmoid(features @ found.mean) - chances["model-1"]))))
        widths.append(half_width(found, features))
    assert errors[2] < errors[0]
    assert widths[0] > widths[1] > widths[2]
    few = from_outcomes(prior, features[models["model-1"].place[:30]], models["model-1"].scores[:30])
    assert half_width(with_more(few, features, 270), features) == pytest.approx(widths[2], rel=0.35)
    with pytest.raises(InvalidInputError, match="12 graded prompts, expected at least 30"):
        from_outcomes(prior, features[:12], np.ones(12))
    with pytest.raises(InvalidInputError, match=r"a score is 1.5, expected scores in 0..1"):
        from_outcomes(prior, features[:30], np.full(30, 1.5))


def test_a_leaderboard_score_tells_how_good_a_model_is(
    world: tuple[np.ndarray, dict[str, Rows], dict[str, np.ndarray]], profiles: Profiles
) -> None:
    embeddings = world[0]
    features = profiles.features(embeddings)
    good, bad = (from_leaderboard(profiles, {"exam": score, "quiz": score}).found for score in (0.8, 0.3))
    assert sigmoid(features @ good.mean).mean() > sigmoid(features @ bad.mean).mean() + 0.3
    assert half_width(good, features) < half_width(prior_of(profiles), features)
    with pytest.raises(InvalidInputError, match="no known model has a score on 'mmlu'; tables: exam, quiz"):
        from_leaderboard(profiles, {"mmlu": 0.5})
    with pytest.raises(InvalidInputError, match=r"score on exam is 80, expected a number in 0..1"):
        from_leaderboard(profiles, {"exam": 80.0})


def test_a_model_that_is_alike_is_less_certain(
    world: tuple[np.ndarray, dict[str, Rows], dict[str, np.ndarray]], profiles: Profiles
) -> None:
    features = profiles.features(world[0])
    known = profiles.find("model-1")
    found = from_alike(profiles, "model-1")
    np.testing.assert_allclose(found.mean, known.mean)
    assert half_width(found, features) > half_width(Gaussian(known.mean, known.covariance), features)


def test_auc_is_that_of_scikit_learn_and_counts_parts_of_success() -> None:
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(4)
    chances = generator.random(200).round(1)
    scores = (generator.random(200) < chances).astype(float)
    assert float(auc(chances, scores)) == pytest.approx(roc_auc_score(scores, chances))
    half = generator.random(200)
    twice, both = np.tile(chances, 2), np.repeat([1.0, 0.0], 200)
    weighted = roc_auc_score(both, twice, sample_weight=np.concatenate([half, 1.0 - half]))
    assert float(auc(chances, half)) == pytest.approx(weighted)


def test_figures_know_the_noise_of_a_small_table() -> None:
    generator = np.random.default_rng(5)
    chances = generator.random(100)
    found = success_scores(chances, (generator.random(100) < chances).astype(float))
    assert found.ece.value == pytest.approx(found.noise, abs=0.06)
    assert found.brier.value < found.constant
    assert found.auc.low < found.auc.value < found.auc.high
