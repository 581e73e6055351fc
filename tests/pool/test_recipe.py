"""The recipe of the profiles: what is held out, what may be fitted on, and prices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from recipes.mf.data import held_out
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
