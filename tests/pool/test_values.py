"""Pools, routers and decisions as values; one router in many threads."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path

import pytest

import turnout
from turnout import Model, Pool, PoolDecision, PoolRouter
from turnout.pool import Effort

TOML = """
currency = "EUR"
objective = {target = 0.7, kl_radius = 0.01}
fallback = {model = "b:low"}

[limits]
max_price = 20
deny_tags = ["beta"]

[models.b]
success = 0.8
input_price = 1
output_price = 4.5
tags = ["open"]
capabilities = ["images"]
latency_ms = {p50 = 100, p95 = 300}

[models.b.efforts.low]
success = 0.6
output_tokens = 20

[models.a]
success = 0.9
input_price = 5
output_price = 10
context_window = 128000
"""


def test_a_file_and_its_values_are_one_pool(tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text(TOML)
    read = Pool.load(tmp_path / "pool.toml")
    made = Pool(read.models, **read.objective, **read.limits, fallback=read.fallback, currency=read.currency)
    assert made.to_dict() == read.to_dict()
    assert [model.name for model in read.models] == ["b", "a"]
    assert read.models[0].efforts == {"low": Effort(success=0.6, output_tokens=20)}
    assert (read.currency, read.fallback, read.folder) == ("EUR", "b:low", tmp_path)
    assert read.objective == {"target": 0.7, "kl_radius": 0.01}
    assert read.limits == {"max_price": 20, "deny_tags": ["beta"]}
    assert repr(read) == "Pool(b, a)"


def test_pools_and_routers_survive_pickling(artifact: Path, pool: Pool) -> None:
    assert pickle.loads(pickle.dumps(pool)) == pool
    assert hash(pickle.loads(pickle.dumps(pool))) == hash(pool)
    router = turnout.load(artifact, pool=pool, threads=1)
    again = pickle.loads(pickle.dumps(router))
    assert isinstance(again, PoolRouter)
    assert again.pool == pool
    assert again.route("what is") == router.route("what is")


def test_decisions_are_values(pool_router: PoolRouter) -> None:
    one = pool_router.route("what is", target=0.7)
    assert one == pool_router.route("what is", target=0.7)
    assert one != pool_router.route("what is", target=0.85)
    assert one != pool_router.route("what is", tolerance=0.1)
    assert one != 5
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert hash(again) == hash(one)
    assert PoolDecision(*one.__getnewargs__()) == one  # type: ignore[attr-defined]
    assert set(one.to_dict()) == {"model", "success", "expected_cost", "reason"}
    with pytest.raises(AttributeError):
        one.model = "other"  # type: ignore[misc]
    assert one.model is pool_router.route("the sum", target=0.7).model, "names are shared, not copied"


def test_changing_a_copy_does_not_change_the_pool(pool: Pool) -> None:
    values = pool.to_dict()
    values["models"]["large"]["success"] = 0.0
    assert pool.to_dict()["models"]["large"]["success"] == 0.9


def test_one_router_decides_the_same_in_many_threads(profiled: Path, prompts: list[str]) -> None:
    pool = Pool([Model("strong-other"), Model("weak-other"), Model("c", success=0.5)], tolerance=0)
    router = turnout.load(profiled, pool=pool)
    expected = [router.route(prompt) for prompt in prompts]
    barrier, found = threading.Barrier(8), []

    def work() -> None:
        barrier.wait()
        found.extend([[router.route(prompt) for prompt in prompts] for _ in range(20)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 160
    assert all(one == expected for one in found)


def test_the_pair_is_what_it_was(artifact: Path, profiled: Path, prompts: list[str]) -> None:
    plain, with_profiles = turnout.load(artifact), turnout.load(profiled)
    assert plain.win_rates(prompts).tolist() == with_profiles.win_rates(prompts).tolist()
