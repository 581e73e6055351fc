"""Decisions through Python with pytest-benchmark: turnout beside plain Python, on the same prompts. Answers first, then time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from plain import PROMPTS, PlainNumpy, PlainOnnx
from pytest_benchmark.fixture import BenchmarkFixture

import turnout

ROUTER = turnout.load()
ONE_THREAD = turnout.load(threads=1)
PLAIN = {"plain-numpy": PlainNumpy(), "plain-onnxruntime": PlainOnnx()}
#: Ten thousand prompts that are not all the same.
MANY = [f"{PROMPTS['ascii-20']} {number}" for number in range(10_000)]


@pytest.mark.parametrize("name", PROMPTS)
def test_route(benchmark: BenchmarkFixture, name: str) -> None:
    benchmark.group = name
    decision = benchmark(ROUTER.route, PROMPTS[name])
    assert decision.win_rate == ROUTER.win_rate(PROMPTS[name])


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("name", PROMPTS)
def test_plain_python(benchmark: BenchmarkFixture, name: str, kind: str) -> None:
    assert PLAIN[kind].win_rate(PROMPTS[name]) == pytest.approx(ROUTER.win_rate(PROMPTS[name]), abs=1e-5)
    benchmark.group = name
    benchmark(PLAIN[kind].win_rate, PROMPTS[name])


@pytest.mark.parametrize("name", PROMPTS)
def test_tokenizers_alone(benchmark: BenchmarkFixture, name: str) -> None:
    plain = PLAIN["plain-numpy"]
    assert plain.ids(PROMPTS[name]) == ROUTER.explain(PROMPTS[name]).ids
    benchmark.group = name
    benchmark(plain.tokenizer.encode, PROMPTS[name])


def test_route_embedding(benchmark: BenchmarkFixture) -> None:
    embedding = ROUTER.embed(PROMPTS["ascii-20"])
    assert ROUTER.route(embedding=embedding) == ROUTER.route(PROMPTS["ascii-20"])
    benchmark.group = "embedding"
    benchmark(ROUTER.route, embedding=embedding)


@pytest.mark.parametrize("router", [ONE_THREAD, ROUTER], ids=["one-thread", "all-threads"])
def test_route_batch_of_10000(benchmark: BenchmarkFixture, router: turnout.Router) -> None:
    benchmark.group = "batch of 10,000"
    decisions = benchmark(router.route_batch, MANY)
    assert decisions[1234] == router.route(MANY[1234])


def test_plain_batch_of_10000(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "batch of 10,000"
    plain: Callable[[str], float] = PLAIN["plain-numpy"].win_rate
    win_rates = benchmark.pedantic(lambda: [plain(prompt) for prompt in MANY], rounds=2)
    assert win_rates[1234] == pytest.approx(ROUTER.win_rate(MANY[1234]), abs=1e-5)


def test_aroute(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "asyncio"

    async def hundred() -> turnout.Decision:
        for _ in range(99):
            await ROUTER.aroute(PROMPTS["ascii-20"])
        return await ROUTER.aroute(PROMPTS["ascii-20"])

    loop = asyncio.new_event_loop()
    assert benchmark(lambda: loop.run_until_complete(hundred())) == ROUTER.route(PROMPTS["ascii-20"])
    loop.close()
