"""One rule for thresholds, shares, choices and names of models, wherever a prompt is decided."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import turnout
from turnout.controller.model_calls import ModelCalls
from turnout.errors import RoutingError
from turnout.registry import open_router

PROMPTS = ["cat", "", "Prove that there are infinitely many primes.", "what is the sum"]


class Scorer:
    """A router of the user's own whose win rates are all 0.5."""

    quantiles = (0.25, 0.5, 0.75)

    def win_rate(self, prompt: str) -> float:
        return 0.5


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from turnout.registry import by_name

    monkeypatch.setitem(by_name._REGISTERED, "own", Scorer)


@pytest.mark.parametrize("name", ["mf", "sw_ranking", "random", "own"])
def test_shares_of_zero_and_one_are_exact(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelCalls, "complete", lambda self, request: request["model"])
    router = open_router(name)
    client = turnout.Controller([name], strong_model="large", weak_model="small")
    for prompt, (share, is_strong) in itertools.product(PROMPTS, [(0.0, False), (1.0, True)]):
        assert router.route(prompt, strong_share=share).is_strong is is_strong
        chosen = client.completion(model=f"router-{name}-share-{share}", messages=[{"role": "user", "content": prompt}])
        assert chosen == ("large" if is_strong else "small")


@pytest.mark.parametrize("name", ["mf", "sw_ranking", "random", "own"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1 / 3, 0.5, 0.999, 1.0])
def test_a_share_is_one_threshold_everywhere(name: str, share: float) -> None:
    router = open_router(name)
    expected = turnout.threshold_for_share(router.quantiles, share)
    assert router.route("cat", strong_share=share).threshold == expected
    if name == "mf":
        assert turnout.load(strong_share=share).threshold == expected
    if 0 < share < 1:
        assert turnout.BudgetController(router, strong_share=share).threshold == expected


def test_a_choice_is_made_in_float32_everywhere() -> None:
    """A win rate that only float32 rounds up to the threshold: the name of the model and ``is_strong`` agree."""
    just_below = 0.5 - 1e-12
    decision = turnout.decide(just_below, 0.5, strong="large", weak="small")
    assert (decision.model, decision.is_strong, decision.win_rate) == ("large", True, 0.5)
    assert turnout.choose_strong(np.array([0.5, 0.25], np.float32), 0.5).tolist() == [True, False]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_numbers_outside_zero_to_one_are_refused(wrong: float) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: turnout.decide(wrong, 0.5),
        lambda: turnout.decide(0.5, wrong),
        lambda: turnout.choose_strong(np.zeros(2), wrong),
        lambda: turnout.threshold_for_share([0.0, 1.0], wrong),
        lambda: turnout.threshold_for_share([0.0, wrong], 0.5),
    ]
    for call in calls:
        with pytest.raises(turnout.InvalidInputError, match="expected"):
            call()


@pytest.mark.parametrize("quantiles", [(0.5,), (0.5, 0.4), (0.0, 2.0), ("a", "b")])
def test_a_users_quantiles_are_checked_when_the_router_is_opened(
    monkeypatch: pytest.MonkeyPatch, quantiles: Any
) -> None:
    monkeypatch.setattr(Scorer, "quantiles", quantiles)
    with pytest.raises(turnout.ConfigError, match="router own: "):
        open_router("own")


# Names.


def test_a_known_name_is_a_model_in_load_and_in_the_controller() -> None:
    prompt = "Write a function that sorts a list."
    known = turnout.load(strong="deepseek-coder-v2", threshold=0.5)
    label = turnout.load(strong="somebody", threshold=0.5)
    trained = turnout.load(threshold=0.5)
    assert label.win_rate(prompt) == trained.win_rate(prompt) != known.win_rate(prompt)
    for strong, expected in (("deepseek-coder-v2", known), ("somebody", trained)):
        client = turnout.Controller(["mf"], strong_model=strong, weak_model=trained.weak)
        assert client.routers["mf"].win_rate(prompt) == expected.win_rate(prompt)


def test_each_of_the_two_names_follows_the_rule_alone(artifact: Path) -> None:
    trained = turnout.load(artifact)
    other = next(name for name in trained.models if name not in (trained.strong, trained.weak))
    scores = trained.model_scores("what is the sum")
    for strong, weak in [(other, "label"), ("label", other), (other, trained.weak), (trained.weak, trained.strong)]:
        router = turnout.load(artifact, strong=strong, weak=weak)
        logit = scores.get(strong, scores[trained.strong]) - scores.get(weak, scores[trained.weak])
        assert router.explain("what is the sum").logit == pytest.approx(logit, abs=1e-5)
        assert (router.strong, router.weak) == (strong, weak)


@pytest.mark.parametrize("path", ["mf", "sw_ranking"])
def test_one_model_twice_is_no_pair(path: str) -> None:
    trained = turnout.load(path)
    for pair in (
        {"strong": trained.weak},
        {"weak": trained.strong},
        {"strong": trained.strong, "weak": trained.strong},
    ):
        with pytest.raises(turnout.ConfigError, match="expected two"):
            turnout.load(path, **pair)


def test_shares_hold_for_labels_and_are_refused_for_another_pair(artifact: Path) -> None:
    trained = turnout.load()
    label = turnout.load(strong="large", weak="small", strong_share=0.3)
    assert label.threshold == turnout.load(strong_share=0.3).threshold
    assert label.quantiles == trained.quantiles
    for pair in ({"strong": "deepseek-coder-v2"}, {"strong": trained.weak, "weak": trained.strong}):
        other = turnout.load(**pair)
        assert other.quantiles == ()
        for call in (
            lambda pair=pair: turnout.load(**pair, strong_share=0.3),
            lambda other=other: other.route("a", strong_share=0.3),
        ):
            with pytest.raises(turnout.InvalidInputError, match=r"calibrate.threshold_for_share\(router.win_rates"):
                call()
    client = turnout.Controller(["mf"], strong_model="deepseek-coder-v2", weak_model=trained.weak)
    with pytest.raises(RoutingError, match="router mf: strong_share needs quantiles") as caught:
        client.completion(model="router-mf-share-0.3", messages=[{"role": "user", "content": "a"}])
    assert caught.value.argument == "strong_share"


def test_a_ranking_router_takes_names_by_the_same_rule() -> None:
    trained = turnout.load("sw_ranking")
    label = turnout.load("sw_ranking", strong="large", weak="small", strong_share=0.5)
    assert label.win_rates(PROMPTS).tolist() == trained.win_rates(PROMPTS).tolist()
    placed = turnout.load("sw_ranking", strong="large", weak="small", tiers={"large": 1, "small": 0})
    assert placed.win_rate("cat") < trained.win_rate("cat")
    assert placed.quantiles == ()


# Bounds.


async def test_prompts_that_wait_for_a_users_router_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    class Slow(Scorer):
        max_queue = 3

        def win_rate(self, prompt: str) -> float:
            assert release.wait(30)
            return 0.5

    from turnout.registry import by_name

    monkeypatch.setitem(by_name._REGISTERED, "slow", Slow)
    router = open_router("slow")
    waiting = [asyncio.ensure_future(router.aroute("a")) for _ in range(10)]
    refused = [task for task in waiting if await _has_failed(task)]
    assert len(refused) == 7
    release.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, turnout.OverloadedError) for one in results) == 7
    assert (await router.aroute("a")).is_strong


async def _has_failed(task: asyncio.Future[Any]) -> bool:
    done, _ = await asyncio.wait([task], timeout=0.05)
    return bool(done) and task.exception() is not None


async def test_long_prompts_are_bounded_as_short_ones(artifact: Path) -> None:
    router = turnout.load(artifact, max_queue=3)
    long = "what is the sum? " * 100_000
    go_on = threading.Event()
    # Three that wait on their threads, so that none ends before the others come.
    waiting = [asyncio.ensure_future(router.threads.run(go_on.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    results = await asyncio.gather(*(router.aroute(long) for _ in range(50)), return_exceptions=True)
    go_on.set()
    await asyncio.gather(*waiting)
    assert [type(one) for one in results] == [turnout.OverloadedError] * 50
    assert await router.aroute(long) == router.route(long)
