"""The recipe of the profiles: what is held out, what may be fitted on, and prices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from recipes.mf.data import held_out
from recipes.pool.calibrations import calibrated
from recipes.pool.choices import least, simplest
from recipes.pool.prices import price
from recipes.pool.tables import MIN_PROMPTS, pooled, read_pooled

from turnout.data import Outcomes


def _table(name: str, prompts: list[str]) -> Outcomes:
    return Outcomes(name, prompts, {"a": np.arange(len(prompts)) % 2.0, f"{name}-only": np.ones(len(prompts))})


def test_near_duplicates_of_held_out_prompts_are_not_fitted_on() -> None:
    prompts = [f"Add {row} apples and {row + 1} pears" for row in range(40)] + [
        f"A question of {word}" for word in "xyz"
    ]
    found = pooled([_table("one", prompts)])
    assert found.is_held.tolist() == [held_out(prompt) for prompt in prompts]
    assert found.is_held[:40].any()
    assert not found.is_fitted[:40].any(), "all of one template, and some are held out"
    assert not (found.is_held & found.is_fitted).any()


def test_outcomes_of_several_tables_are_joined_and_small_models_left_out() -> None:
    first, second = [f"question {chr(97 + row % 26)}{row}" for row in range(70)], [f"task {row}" for row in range(50)]
    found = pooled([_table("one", first), _table("two", second)])
    models = found.models()
    assert set(models) == {"a", "one-only"}, f"fewer than {MIN_PROMPTS} prompts"
    assert len(models["a"].scores) == 120
    assert found.sources("a") == ["one", "two"]
    assert set(found.models(skip=["one"])) == set()


def test_no_prompt_of_a_dev_table_is_used(tmp_path: Path) -> None:
    for folder, prompts in (("train", ["same", "mine"]), ("train2", ["other"]), ("dev", ["same"])):
        path = tmp_path / folder
        path.mkdir()
        pq.write_table(pa.table({"prompt": prompts, "a": [1.0] * len(prompts)}), path / f"{folder}.parquet")
    assert read_pooled(tmp_path).prompts == ["mine", "other"]


def test_prices_are_listed_or_follow_from_the_size() -> None:
    assert price("gpt-4-1106-preview") == (10, 30)
    assert price("llama-2-13b-chat-hf") == (0.3, 0.3)
    assert price("meta-llama-3_1-70b") == (0.9, 0.9)
    assert price("chatglm_pro") is None


def test_the_simplest_candidate_within_one_standard_error_is_chosen() -> None:
    noise = np.tile([0.0, 0.2], 50)
    near = {"means": 0.51 + noise, "own": 0.5 + noise[::-1]}
    assert (least(near), simplest(near)) == ("own", "means")
    far = {"means": 0.6 + noise, "own": 0.5 + noise}
    assert simplest(far) == "own"


def test_an_isotonic_map_is_picked_where_chances_have_a_step_and_not_where_they_are_logistic() -> None:
    generator = np.random.default_rng(0)
    rows = 3000
    logits = generator.normal(size=(rows, 2)) * 2.0
    true = np.column_stack([np.where(logits[:, 0] > 1.0, 0.95, 0.3), 1.0 / (1.0 + np.exp(-logits[:, 1]))])
    scores = (generator.random((rows, 2)) < true).astype(np.float64)
    found, picks = calibrated(logits, scores, [f"question {chr(97 + row % 26)}{row:b}" for row in range(rows)])
    assert picks == 5, "the first model, in every fold"
    brier = {name: ((success - scores) ** 2).mean(axis=0) for name, success in found.items()}
    assert brier["picked"][0] == brier["isotonic"][0] < brier["Platt"][0] - 0.005
    assert brier["picked"][1] == brier["Platt"][1] < brier["isotonic"][1]
