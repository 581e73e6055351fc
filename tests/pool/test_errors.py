"""Pools and calls that are wrong: each an error with the field or argument and what was expected."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import turnout
from turnout import Model, Pool, PoolRouter

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing field `models`"),
        ("[models]", "models: the pool is empty"),
        ("[models.a]\nsuccess = 2", "line 2, column 11: 2, expected a number in 0..=1"),
        ("[models.a]\nsuccess = nan", "line 2, column 11: NaN, expected a number in 0..=1"),
        ("[models.a]\nsuccess = 0.5\ninput_price = -1", "line 3, column 15: -1, expected a finite number of 0 or more"),
        ("[models.a]\noutput_price = inf", "inf, expected a finite number of 0 or more"),
        ("[models.a]\ninptu_price = 1", "line 2, column 1: unknown field `inptu_price`, expected one of `like`"),
        ("[models.a]\ncontext_window = 0", "0, expected a whole number from 1"),
        ("[models.a]\ncontext_window = 9223372036854775807", "expected a whole number from 1 to 2^53"),
        ("[models.a]\ncontext_window = 99999999999999999999", "context_window"),
        ("[models.a]\ntoken_ratio = 0", "0, expected a finite number above 0"),
        ("[models.a]\ncapabilities = ['sight']", '"sight", expected some of images, audio, files, tools, json'),
        ("[models.a]\nlatency_ms = {p50 = 5, p95 = 4}", "models.a.latency_ms: p50 exceeds p95 (4)"),
        ("[models.a]\nfirst_token_ms = 5", "first_token_ms: given without tokens_per_second"),
        ("[models.a]\nmax_output = 9\ncontext_window = 8", "models.a.max_output: 9 exceeds the context_window of 8"),
        ("[models.a]\nlike = 'b'\nsuccess = 0.5", "models.a.success: given together with like"),
        ("[models.a]\n[models.a]", "line 2, column"),
        ("[models.'']\nsuccess = 1", "the name has 0 bytes"),
        ('[models."a\\u0007"]\nsuccess = 1', "control character"),
        ("[models.'a:b']\nsuccess=1\n[models.a]\nsuccess=1\n[models.a.efforts.b]\n", 'models.a.efforts.b: duplicate name "a:b"'),
        ("[models.a.efforts.b.efforts.c]\n", "an effort has efforts of its own"),
        ("objective = {target = 0.5, max_cost = 1}\n[models.a]", "target and max_cost are two objectives, expected one of target, max_cost"),
        ("objective = {}\n[models.a]", "no objective is given, expected one of target, max_cost"),
        ("objective = {max_cost = 1, kl_radius = 1}\n[models.a]", "expected it with target only"),
        ("objective = {target = 1.5}\n[models.a]", "target is 1.5, expected a number in 0..=1"),
        ("objective = {error_cost = -1}\n[models.a]", "error_cost is -1, expected a finite number"),
        ("limits = {max_price = nan}\n[models.a]", "NaN, expected a finite number"),
        ("limits = {allow_tags = ['']}\n[models.a]", "an empty text, expected words"),
        ("fallback = {model = 'b'}\n[models.a]\nsuccess = 1", "fallback.model: \"b\" is not a model of the pool: \"a\""),
        ("objective = {target = 0.5}\n[models.a]\nsuccess = 1", 'needs input_price and output_price of every model; missing for "a"'),
        ("[models.a]\nsuccess = 1", "the default, tolerance, needs input_price"),
        ("models = 5", "expected tables by name"),
        ("[models.a", "line 1, column"),
        ("\ufeff[models.a]\nsuccess = 'x'", "expected a number"),
    ],
)  # fmt: skip
def test_a_wrong_file_names_place_and_field(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "pool.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(turnout.PoolError, match=re.escape(message)) as caught:
        Pool.load(file)
    assert caught.value.path == file
    assert str(caught.value).startswith(str(file))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    import os

    with pytest.raises(turnout.PoolError, match="No such file"):
        Pool.load(tmp_path / "absent.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(turnout.PoolError, match="expected UTF-8"):
        Pool.load(tmp_path / "bytes.toml")
    os.mkfifo(tmp_path / "pipe.toml")
    for wrong in (tmp_path, tmp_path / "pipe.toml"):
        with pytest.raises(turnout.PoolError, match="expected a regular file"):
            Pool.load(wrong)


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ([], {}, "the pool is empty"),
        ([Model("a", success=0.5), Model("a", success=0.6)], {}, 'duplicate name "a"'),
        ([Model("a", success=NAN)], {}, "models.a.success: NaN, expected"),
        ([Model("a", input_price=-0.5)], {}, "models.a.input_price: -0.5, expected"),
        ([Model("a", output_price=INF)], {}, "models.a.output_price: inf, expected"),
        ([Model("a", success=True)], {}, "models.a.success: invalid type: boolean"),
        ([Model("a", success="0.5")], {}, "models.a.success: invalid type: string"),
        ([Model("a", context_window=2**70)], {}, "models.a.context_window"),
        ([Model("a", context_window=1.5)], {}, "models.a.context_window: invalid type: floating point"),
        ([Model("a", tags="open")], {}, "models.a.tags: invalid type: string"),
        ([Model("a", latency_ms={"p95": 5, "p99": 6})], {}, "unknown field `p99`"),
        ([Model(5, success=0.5)], {}, "'int' object is not an instance of 'str'"),
        ([Model("a", success=0.5)], {"tolerance": 0, "target": 1}, "two objectives, expected one of"),
        ([Model("a", success=0.5)], {"tolerance": NAN}, "tolerance is NaN"),
        ([Model("a", success=0.5)], {"tolerance": 0, "max_price": INF}, "limits.max_price: inf"),
        ([Model(f"m{at}", success=0.5) for at in range(4097)], {"tolerance": 0}, "more than 4096 models"),
    ],
)  # fmt: skip
def test_wrong_values_name_the_field(models: list[Model], options: dict[str, Any], message: str) -> None:
    with pytest.raises(turnout.PoolError, match=re.escape(message)) as caught:
        Pool(models, **options)
    assert caught.value.path is None


@pytest.mark.parametrize(
    ("request_", "message", "argument"),
    [
        ({"target": 1.01}, "target is 1.01, expected a number in 0..=1", "target"),
        ({"target": NAN}, "target is NaN", "target"),
        ({"max_cost": -1}, "max_cost is -1", "max_cost"),
        ({"error_cost": INF}, "error_cost is inf", "error_cost"),
        ({"target": 0.5, "max_cost": 1}, "two objectives, expected one of", "max_cost"),
        ({"kl_radius": 0.1}, "expected it with target only", "kl_radius"),
        ({"target": 0.5, "kl_radius": -1}, "kl_radius is -1", "kl_radius"),
        ({"needs": ["sight"]}, 'needs holds "sight", expected some of', "needs"),
        ({"unavailable": ["b"]}, 'unavailable names "b", which is not a model of the pool: "a"', "unavailable"),
        ({"cached_tokens": {"b": 5}}, 'cached_tokens names "b"', "cached_tokens"),
        ({"input_tokens": -5}, "input_tokens is -5, expected 0 or more", "input_tokens"),
        ({"max_output": 0}, "max_output is 0, expected at least 1", "max_output"),
        ({"max_price": NAN}, "max_price is NaN", "max_price"),
        ({"max_latency_ms": -1}, "max_latency_ms is -1", "max_latency_ms"),
        ({"regions": ["\ud800"]}, "has no UTF-8 form", "regions"),
    ],
)
def test_a_wrong_call_names_the_argument(
    with_models: Callable[..., PoolRouter], request_: dict[str, Any], message: str, argument: str
) -> None:
    router = with_models(Model("a", success=0.5, input_price=1, output_price=1))
    for call in (router.route, router.rank, lambda prompt, **given: router.route_batch([prompt], **given)):
        with pytest.raises(turnout.InvalidInputError, match=re.escape(message)) as caught:
            call("Hi", **request_)
        assert caught.value.argument == argument


@pytest.mark.parametrize(
    "request_",
    [{"target": "0.5"}, {"target": True}, {"needs": "images"}, {"needs": 5}, {"unavailable": [5]}, {"cached_tokens": ["a"]},
     {"cached_tokens": {"a": 1.5}}, {"input_tokens": 2**64}, {"max_output": "5"}, {"tagret": 0.5}],
)  # fmt: skip
def test_an_argument_of_another_type_is_named(with_models: Callable[..., PoolRouter], request_: dict[str, Any]) -> None:
    router = with_models(Model("a", success=0.5, input_price=1, output_price=1))
    with pytest.raises(turnout.InvalidTypeError, match=next(iter(request_))):
        router.route("Hi", **request_)


def test_an_objective_without_prices_names_the_models(with_models: Callable[..., PoolRouter]) -> None:
    router = with_models(Model("a", success=0.5, input_price=1, output_price=1), Model("b", success=0.5), tolerance=0)
    for objective in ({"target": 0.5}, {"max_cost": 1}, {"error_cost": 1}, {"tolerance": 0.1}):
        with pytest.raises(turnout.InvalidInputError, match='of every model; missing for "b"'):
            router.route("Hi", **objective)
    assert router.route("Hi").expected_cost is not None
    assert router.route("Hi", unavailable=["a"]).expected_cost is None


def test_a_model_that_nobody_knows_lists_near_names(artifact: Path, profiled: Path) -> None:
    pool = Pool([Model("gpt-4-turbo")], tolerance=0)
    with pytest.raises(
        turnout.PoolError, match="the artifact has no profiles: give each model a `profile` or a `success`"
    ):
        turnout.load(artifact, pool=pool)
    with pytest.raises(
        turnout.PoolError, match=r"no profile of \"gpt-4-turbo\": .* of \"gpt-4-1106-preview\""
    ) as caught:
        turnout.load(profiled, pool=pool)
    assert caught.value.field == "models.gpt-4-turbo"
    with pytest.raises(turnout.PoolError) as caught:
        turnout.load(profiled, pool=Pool([Model("a", like="gpt-5")], tolerance=0))
    assert caught.value.field == "models.a.like"


def test_options_of_a_pair_are_refused_with_a_pool(artifact: Path, pool: Pool) -> None:
    options: tuple[dict[str, Any], ...] = (
        {"strong": "a"}, {"weak": "a"}, {"threshold": 0.5}, {"strong_share": 0.5}, {"tiers": {"a": 0}},
    )  # fmt: skip
    for option in options:
        with pytest.raises(turnout.ConfigError, match=next(iter(option))):
            turnout.load(artifact, pool=pool, **option)


def test_an_artifact_without_an_encoder_is_refused(external: Path, pool: Pool) -> None:
    with pytest.raises(turnout.ConfigError, match="no encoder of its own"):
        turnout.load(external, pool=pool)


def test_a_prompt_that_is_no_text_is_an_error_with_its_row(pool_router: PoolRouter) -> None:
    with pytest.raises(turnout.InvalidInputError, match=r"prompts\[1\]"):
        pool_router.route_batch(["Hi", "\ud800"])
    with pytest.raises(turnout.InvalidTypeError):
        pool_router.route(5)  # type: ignore[arg-type]
    with pytest.raises(turnout.NoFeasibleModelError, match="row 0 of the batch"):
        pool_router.route_batch(["Hi"], max_cost=0)
