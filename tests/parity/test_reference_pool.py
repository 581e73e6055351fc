"""The core against the reference in NumPy, over random pools and requests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import turnout
from turnout import Model, Pool
from turnout.pool import Effort
from turnout.reference.pool import ReferencePoolRouter, Request, order, raised_target

ROOT = Path(__file__).parents[2]
KNOWN = ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1", "strong-other", "weak-other"]
TAGS, REGIONS = ["x", "y"], ["eu", "us"]
CAPABILITIES = ["images", "audio", "files", "tools", "json"]


@pytest.fixture(scope="module")
def folder(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("make_pool", ROOT / "tests" / "fixtures" / "make_pool.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Path = module.write(tmp_path_factory.mktemp("parity") / "tiny", artifact)
    return made


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


def some(values: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True)


def optional(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


SOURCE = st.one_of(
    st.builds(lambda value: {"success": value}, floats(0, 1)),
    st.builds(lambda value: {"like": value}, st.sampled_from(KNOWN)),
    st.just({"profile": "other.safetensors"}),
    st.just({"profile": "landmarks.safetensors"}),
)
FIELDS = optional(
    {
        "cached_input_price": floats(0, 10),
        "context_window": st.integers(1, 300),
        "token_ratio": floats(0.5, 2),
        "output_tokens": floats(1, 300),
        "capabilities": some(CAPABILITIES),
        "region": st.sampled_from(REGIONS),
        "tags": some(TAGS),
        "latency_ms": st.builds(lambda value: {"p95": value}, floats(0, 3000)),
        "tokens_per_second": floats(1, 1000),
    }
)
PRICES = st.fixed_dictionaries({"input_price": floats(0, 10), "output_price": floats(0, 30)})


@st.composite
def pools(draw: st.DrawFn, folder: Path) -> Pool:
    models = []
    for at in range(draw(st.integers(1, 6))):
        efforts = {}
        source = draw(SOURCE)
        if draw(st.integers(0, 3)) == 0:
            efforts["high"] = Effort(**draw(optional({"success": floats(0, 1), "output_price": floats(0, 30)})))
        models.append(Model(f"m{at}", **source, **draw(FIELDS), **draw(PRICES), efforts=efforts))
    limits = draw(optional({"max_price": floats(0, 30), "deny_tags": some(TAGS)}))
    pool = Pool(models, **limits)
    pool._folder = str(folder)
    return pool


OBJECTIVES = st.one_of(
    st.builds(
        lambda value, radius: {"target": value, "kl_radius": radius}, floats(0, 1), st.sampled_from([0.0, 0.02, 0.5])
    ),
    st.builds(lambda value: {"max_cost": value}, floats(0, 0.01)),
    st.builds(lambda value: {"error_cost": value}, floats(0, 0.1)),
    st.builds(lambda value: {"tolerance": value}, floats(0, 1)),
)
REQUESTS = optional(
    {
        "needs": some(CAPABILITIES),
        "unavailable": some(["m0", "m0:high"]),
        "input_tokens": st.integers(0, 400),
        "cached_tokens": st.dictionaries(st.just("m0"), st.integers(0, 200)),
        "max_output": st.integers(1, 300),
    }
)
LIMITS = optional(
    {
        "max_price": floats(0, 30),
        "max_latency_ms": floats(0, 3000),
        "allow_tags": some(TAGS),
        "deny_tags": some(TAGS),
        "regions": some(REGIONS),
    }
)
WORDS = st.lists(st.sampled_from("what is the sum of two numbers prove code cafe xyz , ? 12".split()), max_size=30)


@settings(max_examples=300)
@given(data=st.data())
def test_core_and_reference_agree(folder: Path, data: st.DataObject) -> None:
    pool, prompt = data.draw(pools(folder)), " ".join(data.draw(WORDS))
    objective, asked, limits = data.draw(OBJECTIVES), data.draw(REQUESTS), data.draw(LIMITS)
    router = turnout.load(folder, pool=pool)
    known = {name.split(":")[0] for name in router.models} | set(router.models)
    asked["unavailable"] = [name for name in asked.get("unavailable", []) if name in known]
    if "input_tokens" in asked and data.draw(st.booleans()):
        asked["estimated_tokens"] = float(asked.pop("input_tokens"))
    request = Request(objective=objective, limits=limits, **asked)
    reference = {one.model: one for one in ReferencePoolRouter(folder, pool).estimates(prompt, request)}

    ranked = router.rank(prompt, **objective, **asked, **limits)
    assert sorted(one.model for one in ranked) == sorted(reference)
    for one in ranked:
        expected = reference[one.model]
        assert one.success == pytest.approx(expected.success, abs=1e-5)
        assert one.success_low == pytest.approx(expected.low, abs=1e-5)
        assert one.success_high == pytest.approx(expected.high, abs=1e-5)
        assert one.expected_cost == pytest.approx(expected.cost, rel=1e-9, abs=1e-15)
        assert one.feasible == expected.feasible, one.reason

    # The order is compared on the core's own numbers: a rounding in the last place may turn a tie.
    own = {one.model: one for one in ranked}
    in_order = [own[name] for name in router.models]
    expected_order = order(
        objective,
        [one.success for one in in_order],
        [one.expected_cost for one in in_order],
        [one.feasible for one in in_order],
    )
    assert [one.model for one in ranked] == [router.models[at] for at in expected_order]
    if ranked[0].feasible:
        decision = router.route(prompt, **objective, **asked, **limits)
        assert (decision.model, decision.success, decision.expected_cost) == (
            ranked[0].model, ranked[0].success, ranked[0].expected_cost,
        )  # fmt: skip
    else:
        with pytest.raises(turnout.NoFeasibleModelError):
            router.route(prompt, **objective, **asked, **limits)


def test_a_radius_that_asks_for_certainty_raises_the_target_to_one() -> None:
    assert raised_target(0.984375, 0.5) == 1.0
