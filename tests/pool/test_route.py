"""What a pool chooses, by objective and by limits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import turnout
from turnout import Model, Pool, PoolRouter

PROMPT = "what is the sum of two even numbers"


@pytest.mark.parametrize(
    ("objective", "model", "reason"),
    [
        ({"target": 0.85}, "large", "cheapest model with P(success) >= 0.85"),
        ({"target": 0.7}, "middle", "cheapest model with P(success) >= 0.7"),
        ({"target": 0.0}, "small", "cheapest model with P(success) >= 0"),
        ({"target": 0.95}, "large", "no feasible model reaches P(success) >= 0.95; the most likely one"),
        (
            {"target": 0.7, "kl_radius": 0.05},
            "large",
            "cheapest model with P(success) >= 0.7 within a KL radius of 0.05",
        ),
        ({"max_cost": 0.001}, "middle", "most likely model with an expected cost <= 0.001"),
        ({"max_cost": 0.1}, "large", "most likely model with an expected cost <= 0.1"),
        ({"error_cost": 0.0}, "small", "least expected cost + 0 x P(failure)"),
        ({"error_cost": 0.005}, "middle", "least expected cost + 0.005 x P(failure)"),
        ({"error_cost": 1.0}, "large", "least expected cost + 1 x P(failure)"),
        ({"tolerance": 0.0}, "large", "most likely model"),
        ({"tolerance": 0.11}, "middle", "cheapest model within 0.11 of the highest P(success)"),
        ({"tolerance": 1.0}, "small", "cheapest model within 1 of the highest P(success)"),
        ({}, "large", "cheapest model within 0.05 of the highest P(success)"),
    ],
)
def test_an_objective_chooses_and_says_why(
    pool_router: PoolRouter, objective: dict[str, float], model: str, reason: str
) -> None:
    decision = pool_router.route(PROMPT, **objective)
    assert (decision.model, decision.reason) == (model, reason)
    ranked = pool_router.rank(PROMPT, **objective)
    assert ranked[0].model == model
    assert ranked[0].success == decision.success
    assert ranked[0].expected_cost == decision.expected_cost


def test_the_expected_cost_is_tokens_times_prices(pool_router: PoolRouter) -> None:
    decision = pool_router.route(PROMPT, target=0.7, input_tokens=1000, max_output=50)
    assert decision.expected_cost == pytest.approx(1000 * 1e-6 + 50 * 4e-6)
    # Eight words of the vocabulary.
    assert pool_router.route(PROMPT, target=0.7).expected_cost == pytest.approx(8 * 1e-6 + 100 * 4e-6)


def test_cached_tokens_have_their_own_price(with_models: Callable[..., PoolRouter]) -> None:
    router = with_models(
        Model("a", success=0.5, input_price=2.0, cached_input_price=0.5, output_price=1.0, output_tokens=1),
        Model("b", success=0.5, input_price=1.0, output_price=1.0, output_tokens=1),
    )
    assert router.route(PROMPT, input_tokens=1000).model == "b"
    decision = router.route(PROMPT, input_tokens=1000, cached_tokens={"a": 900})
    assert decision.model == "a"
    assert decision.expected_cost == pytest.approx((100 * 2.0 + 900 * 0.5 + 1) / 1e6)


def test_ties_go_to_the_cheaper_model_and_then_to_the_earlier(with_models: Callable[..., PoolRouter]) -> None:
    price = {"input_price": 1.0, "output_price": 1.0}
    router = with_models(
        Model("expensive", success=0.5, input_price=2.0, output_price=2.0),
        Model("first", success=0.5, **price),
        Model("second", success=0.5, **price),
    )
    for objective in ({"target": 0.5}, {"target": 0.9}, {"max_cost": 1.0}, {"error_cost": 0.0}, {"tolerance": 0.0}):
        assert [one.model for one in router.rank("Hi", **objective)] == ["first", "second", "expensive"], objective


LIMITED = Pool(
    [
        Model("a", success=0.9, input_price=3.0, output_price=9.0, capabilities=["images", "tools"], region="eu",
              tags=["open"], latency_ms={"p50": 500, "p95": 2000}, context_window=1000, max_output=100),
        Model("b", success=0.8, input_price=1.0, output_price=2.0, capabilities=[], region="us", tags=["closed", "new"],
              tokens_per_second=100, first_token_ms=200, output_tokens=50),
        Model("c", success=0.7, input_price=1.0, output_price=1.0),
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "reasons"),
    [
        ({"needs": ["images"]}, {"b": "does not serve images"}),
        ({"needs": ["tools", "json"]}, {"a": "does not serve json", "b": "does not serve tools, json"}),
        ({"allow_tags": ["open", "new"]}, {"c": "has none of the allowed tags"}),
        ({"deny_tags": ["new"]}, {"b": 'has the denied tag "new"'}),
        ({"regions": ["eu"]}, {"b": 'region "us" is not among the allowed ones', "c": "its region is unknown"}),
        ({"max_price": 5}, {"a": "price 9 per million tokens, limit 5"}),
        (
            {"max_latency_ms": 600},
            {"a": "p95 latency 2000 ms, limit 600 ms", "b": "p95 latency 700 ms, limit 600 ms",
             "c": "p95 latency unknown, limit 600 ms"},
        ),
        ({"unavailable": ["a", "c"]}, {"a": "unavailable", "c": "unavailable"}),
        ({"max_output": 101}, {"a": "writes at most 100 tokens, the request allows 101"}),
        ({"input_tokens": 900, "max_output": 100}, {}),
        ({"input_tokens": 901, "max_output": 100}, {"a": "901 input and 100 output tokens exceed its context window of 1000"}),
        ({"max_cost": 0.0002, "input_tokens": 10}, {"a": "expected cost 0.000930, limit 0.0002", "c": "expected cost 0.000310, limit 0.0002"}),
    ],
)  # fmt: skip
def test_a_model_that_may_not_serve_the_request_says_why(
    artifact: Path, request_: dict[str, object], reasons: dict[str, str]
) -> None:
    router = turnout.load(artifact, pool=LIMITED)
    ranked = router.rank(PROMPT, **request_)  # type: ignore[arg-type]
    assert {one.model: one.reason for one in ranked if not one.feasible} == reasons
    assert all(one.reason is None for one in ranked if one.feasible)
    if any(one.feasible for one in ranked):
        assert router.route(PROMPT, **request_).model == ranked[0].model  # type: ignore[arg-type]
    else:
        with pytest.raises(turnout.NoFeasibleModelError) as caught:
            router.route(PROMPT, **request_)  # type: ignore[arg-type]
        assert caught.value.reasons == reasons


def test_limits_of_a_call_replace_those_of_the_pool(with_models: Callable[..., PoolRouter]) -> None:
    models = Model("a", success=0.9, tags=["x"]), Model("b", success=0.8, tags=["y"])
    router = with_models(*models, tolerance=0, deny_tags=["x"])
    assert router.route("Hi").model == "b"
    assert router.route("Hi", deny_tags=["y"]).model == "a"
    assert router.route("Hi", deny_tags=[]).model == "a"


def test_an_estimate_has_a_margin_before_it_is_compared_with_a_context_window(
    with_models: Callable[..., PoolRouter],
) -> None:
    words = " ".join(["sum"] * 10)
    fits = with_models(Model("a", success=0.5, context_window=30, output_tokens=10), tolerance=0)
    assert fits.route(words).model == "a"
    tight = with_models(Model("a", success=0.5, context_window=29, output_tokens=10), tolerance=0)
    with pytest.raises(turnout.NoFeasibleModelError, match="20 input and 10 output tokens exceed"):
        tight.route(words)
    assert tight.route(words, input_tokens=19).model == "a"


def test_messages_are_counted_whole_and_judged_by_the_last_of_the_user(with_models: Callable[..., PoolRouter]) -> None:
    router = with_models(Model("a", success=0.5, context_window=500, output_tokens=10), tolerance=0)
    question = {"role": "user", "content": "what is the sum"}
    assert router.route([question]).model == "a"
    with pytest.raises(turnout.NoFeasibleModelError):
        router.route([{"role": "system", "content": "sum " * 500}, question])


@pytest.mark.parametrize("text", ["sum " * 100_000, "x" * 400_000, "中" * 100_000, "sum 12, " * 100_000])
def test_a_long_text_does_not_fit_a_small_window(with_models: Callable[..., PoolRouter], text: str) -> None:
    router = with_models(Model("a", success=0.5, context_window=80_000), tolerance=0)
    with pytest.raises(turnout.NoFeasibleModelError):
        router.route(text)


def test_polite_words_hide_no_tokens() -> None:
    """The shipped router reads 512 tokens at most, and none of polite phrases at the ends of them."""
    router = turnout.load(pool=Pool([Model("a", success=0.5, input_price=1e6, output_price=0)]))
    text = "the sum of twelve numbers and their product, " * 100
    plain, polite = router.costs([text, f"Hello, please {text} Thank you!"])[:, 0]
    assert plain == pytest.approx(900, rel=0.02)
    assert plain < polite <= plain + 12


@pytest.mark.parametrize(
    "text",
    ["Hello, please add 2 and 3. Thank you!", "the sum of two numbers, please " * 30, "x" * 300 + " the sum" * 80],
)
def test_tokens_of_a_prompt_are_those_of_its_whole_text(text: str) -> None:
    """Polite phrases and long words are sent to the model, so they cost; the number is that of ``count_tokens``."""
    router = turnout.load(pool=Pool([Model("a", success=0.5, input_price=1e6, output_price=0)]))
    assert router.costs([text])[0, 0] == router.count_tokens(text)


def test_the_fallback_serves_where_only_prices_and_times_exclude(with_models: Callable[..., PoolRouter]) -> None:
    models = (
        Model("a", success=0.9, input_price=5, output_price=5, capabilities=[], region="us"),
        Model("b", success=0.8, input_price=4, output_price=4, capabilities=[], region="us"),
    )
    router = with_models(*models, fallback="b")
    for limits in ({"max_price": 1}, {"max_latency_ms": 1}, {"max_cost": 0}):
        decision = router.route("Hi", **limits)
        assert (decision.model, decision.reason) == ("b", "fallback: no model is feasible")
        assert decision.success == pytest.approx(0.8)
    for hard in ({"needs": ["images"]}, {"regions": ["eu"]}, {"unavailable": ["a", "b"]}, {"allow_tags": ["x"]}):
        with pytest.raises(turnout.NoFeasibleModelError, match="the fallback included"):
            router.route("Hi", **hard)


def test_an_effort_is_a_candidate_of_its_own(with_models: Callable[..., PoolRouter]) -> None:
    from turnout.pool import Effort

    high = Effort(success=0.95, output_tokens=2000, latency_ms={"p95": 60_000})
    model = Model(
        "m", success=0.8, input_price=1, output_price=1, output_tokens=100, tags=["x"], efforts={"high": high}
    )
    router = with_models(model, Model("n", success=0.5, input_price=0.1, output_price=0.1))
    assert router.models == ["m", "m:high", "n"]
    assert router.route("Hi", target=0.9).model == "m:high"
    assert router.route("Hi", target=0.9, allow_tags=["x"]).model == "m:high"
    assert router.route("Hi", unavailable=["m"]).model == "n"
    assert router.route("Hi", target=0.9, unavailable=["m:high"]).model == "m"


def test_a_batch_equals_single_decisions(profiled: Path, prompts: list[str]) -> None:
    names = ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1", "strong-other", "weak-other"]
    models = [Model(name, input_price=4.0 - at, output_price=8.0 - at) for at, name in enumerate(names)]
    router = turnout.load(profiled, pool=Pool(models, target=0.6), threads=2)
    many = (prompts * 400)[:1000]
    decisions = router.route_batch(many)
    assert decisions == [router.route(prompt) for prompt in many]
    assert len({decision.model for decision in decisions}) > 1
    success, costs = router.success(many), router.costs(many)
    assert success.shape == costs.shape == (len(many), 4)
    assert success.dtype == np.float32
    chosen = [names.index(decision.model) for decision in decisions]
    assert [one.success for one in decisions] == success[np.arange(len(many)), chosen].tolist()
    assert [one.expected_cost for one in decisions] == costs[np.arange(len(many)), chosen].tolist()
