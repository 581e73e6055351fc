"""Cascades between the models of a pool: the cheapest first, the next one where an answer is judged wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from scripted_upstream import refuse, wait_until
from tests.serve.cascades import BY_LOGPROB, DISCARD, IDENTITY, KEEP, models, receipt_of, with_logprobs
from tests.serve.dialects import SPOKEN, chat_stream, speak, streaming

from turnout import ConfigError
from turnout.cascade import Form, Judge, Policy
from turnout.serve.describe import lines
from turnout.serve.receipts.receipts import replay_in_pool

PROMPT = "Prove that there are infinitely many primes."
CHAT_HELLO: dict[str, Any] = {"model": "router-mf", "messages": [{"role": "user", "content": PROMPT}]}
SUCCESS = {"big": 0.9, "middle": 0.7, "small": 0.5}


@pytest.fixture
def pooled(start, upstream, tables, tmp_path):
    """Starts servers with a pool of three models, the judges of two by their forms."""
    upstream.default = speak
    del tables["pair"]
    tables["models"] = {
        name: {
            "upstream": "main",
            "success": success,
            "dialects": list(SPOKEN),
            "input_price": price,
            "output_price": price,
        }
        for (name, success), price in zip(SUCCESS.items(), (10.0, 2.0, 1.0), strict=True)
    }

    def begin(*, low: float = 0.0, high: float = 1.1, pool: Any = None, **forms: Form) -> Any:
        judges = {}
        for name, form in forms.items():
            judges[name] = str(tmp_path / f"{name}.json")
            Judge([form, KEEP], Policy(0.1, 1.0, 2.0, low, high)).save(judges[name])
        router = {**tables["routers"]["mf"], "mode": "cascade", "judges": judges}
        tables["routers"] = {"mf": router}
        return start(pool=pool or {"objective": {"tolerance": 0}})

    return begin


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(
    ("small", "middle", "asked"),
    [
        (KEEP, KEEP, ["small"]),
        (DISCARD, KEEP, ["small", "middle"]),
        (DISCARD, DISCARD, ["small", "middle", "big"]),
    ],
)
def test_the_next_model_is_asked_where_an_answer_is_judged_wrong(pooled, upstream, small, middle, asked, is_stream):
    server = pooled(small=small, middle=middle)
    answer = server.post({**CHAT_HELLO, "stream": is_stream})
    assert models(upstream) == asked
    headers = [answer.headers[f"x-turnout-{name}"] for name in ("model", "action", "cascade")]
    assert headers == [asked[-1], "cascade", "discarded" if asked[-1] == "big" else "kept"]
    receipt = receipt_of(server)
    assert receipt["steps"] == ["small", "middle", "big"]
    assert [one["model"] for one in receipt.get("discarded", [])] == asked[:-1]
    wait_until(lambda: server.state.snapshot.upstreams["main"].in_flight == 0)


def test_costs_of_all_calls_are_in_the_receipt(pooled, upstream):
    upstream.by_model["small"] = with_logprobs(-2.0)
    server = pooled(small=BY_LOGPROB, middle=DISCARD)
    answer = server.post(CHAT_HELLO).json()
    assert [one["cost"] for one in answer["usage"]["discarded"]] == pytest.approx([2e-6, 4e-6])
    receipt = receipt_of(server)
    assert receipt["cost"] == pytest.approx(26e-6)
    # The pool's own choice is in the receipt, so that it replays.
    assert receipt["model"] == "big"
    assert replay_in_pool(receipt, PROMPT, server.state.snapshot.pools["mf"]) == []


def test_the_cost_is_unknown_where_the_client_leaves_while_a_model_in_between_is_asked(pooled, upstream):
    upstream.by_model["middle"] = streaming(ends="never")
    server = pooled(small=DISCARD, middle=DISCARD)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/chat/completions", json=CHAT_HELLO, timeout=1.0)
    receipt = server.state.recent.since(0, 1)[0].receipt
    wait_until(lambda: receipt["latency_ms"] is not None)
    assert (receipt["served"], receipt["cost"]) == (None, None)
    assert [(one["model"], one["cost"] is None) for one in receipt["discarded"]] == [("small", False), ("middle", True)]


def test_a_stream_that_was_discarded_is_closed_where_the_next_answer_cannot_be_judged(pooled, upstream):
    async def accepted(exchange: Any) -> None:
        await exchange.send(exchange._head(202, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        for part in chat_stream("middle", ("I", " am")):
            await exchange.chunk(part)
        await exchange.chunk(b"")

    upstream.by_model["small"] = streaming(*chat_stream("small", ("a ",) * 40)[:-1], ends="never")
    upstream.by_model["middle"] = accepted
    server = pooled(small=DISCARD, middle=KEEP)
    answer = server.post({**CHAT_HELLO, "stream": True})
    assert (answer.status_code, answer.headers["x-turnout-model"]) == (202, "middle")
    wait_until(lambda: server.state.snapshot.upstreams["main"].in_flight == 0)


def test_the_limit_of_an_answer_is_that_of_the_next_model(pooled):
    server = pooled(small=DISCARD)
    server.post(CHAT_HELLO)
    [discarded] = receipt_of(server)["discarded"]
    cost = next(one["expected_cost"] for one in _ranked(server) if one["model"] == "big")
    assert discarded["p_error_limit"] == pytest.approx(cost / 2.0 + 0.1)


def _ranked(server: Any) -> list[dict[str, Any]]:
    request = receipt_of(server)["request"]
    return [one.to_dict() for one in server.state.snapshot.pools["mf"].router.rank(PROMPT, **request)]


@pytest.mark.parametrize(
    ("band", "action", "model"), [({"high": 0.2}, "strong", "big"), ({"low": 0.6}, "cheap", "small")]
)
def test_outside_of_the_band_nothing_is_judged(pooled, upstream, band, action, model):
    answer = pooled(**band, small=DISCARD, middle=DISCARD).post(CHAT_HELLO)
    assert (answer.headers["x-turnout-action"], answer.headers["x-turnout-model"]) == (action, model)
    assert "x-turnout-cascade" not in answer.headers
    assert models(upstream) == [model]


@pytest.mark.parametrize(
    ("band", "action", "steps"),
    [
        ({}, "cascade", ["small", "middle", "big"]),
        ({"high": 0.2}, "strong", ["big"]),
        ({"low": 0.6}, "cheap", ["small"]),
    ],
)
@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": PROMPT},
        {"prompt": [PROMPT] * 3},
        {"prompt": PROMPT, "rank": True},
        {"messages": CHAT_HELLO["messages"]},
    ],
    ids=["text", "texts", "rank", "messages"],
)
def test_decisions_alone_name_the_model_that_is_asked_first(pooled, upstream, asked, band, action, steps):
    server = pooled(**band, small=DISCARD, middle=DISCARD)
    entries = server.post({"model": "router-mf", **asked}, "/v1/route").json()["decisions"]
    count = len(asked["prompt"]) if isinstance(asked.get("prompt"), list) else 1
    assert [(one["model"], one["action"], one["steps"]) for one in entries] == [(steps[0], action, steps)] * count
    assert [one["success"] for one in entries] == pytest.approx([SUCCESS[steps[0]]] * count)
    # As the server would ask.
    server.post(CHAT_HELLO)
    assert models(upstream) == steps


def test_models_that_fail_are_passed_over(pooled, upstream):
    upstream.by_model["middle"] = refuse(500)
    answer = pooled(small=DISCARD, middle=KEEP).post(CHAT_HELLO)
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", "500")
    upstream.by_model["big"] = refuse(500)
    answer = pooled(small=DISCARD, middle=KEEP).post(CHAT_HELLO)
    assert (answer.status_code, answer.headers["x-turnout-model"]) == (200, "small")


def test_check_says_who_is_judged(pooled):
    found = "\n".join(lines(pooled(small=KEEP, high=0.6).state.snapshot))
    assert "cascade     mf: small: judge " in found
    assert "risks from 0 to 0.6" in found


def test_settings_are_checked(pooled):
    with pytest.raises(ConfigError, match="in a pool, expected judges"):
        pooled()
    with pytest.raises(ConfigError, match="'tiny' is not in the pool: big, middle, small"):
        pooled(tiny=KEEP)
    with pytest.raises(ConfigError, match="by their cost alone: expected cost"):
        pooled(small=KEEP, pool={"budget": {"p95_latency_ms": 100.0}})


def budget() -> dict[str, Any]:
    return {"budget": {"cost": 5.0, "per": "hour"}}


def _budget(server: Any) -> Any:
    return server.state.snapshot.pools["mf"].budget


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_budget_counts_the_cost_of_all_calls(pooled, upstream, is_stream):
    server = pooled(small=DISCARD, middle=KEEP, pool=budget())
    # Streams of this dialect always say their tokens.
    spoken = SPOKEN["messages"]
    body = spoken.body("router-mf", messages=CHAT_HELLO["messages"], stream=is_stream)
    assert server.post(body, spoken.path).headers["x-turnout-model"] == "middle"
    wait_until(lambda: "cost" in receipt_of(server))
    receipt = receipt_of(server)
    assert (receipt["model"], receipt["steps"]) == ("big", ["small", "middle", "big"])
    [discarded] = receipt["discarded"]
    assert receipt["cost"] > discarded["cost"] > 0.0
    wait_until(lambda: _budget(server).used == pytest.approx(receipt["cost"]))
    # The budget's price says what an error costs, not the judge.
    request = {key: value for key, value in receipt["request"].items() if key != "budget"}
    ranked = server.state.snapshot.pools["mf"].router.rank(PROMPT, **request)
    cost = next(one.expected_cost for one in ranked if one.model == "middle")
    assert discarded["p_error_limit"] == pytest.approx(receipt["request"]["budget"]["price"] * cost + 0.3, rel=1e-6)
    assert replay_in_pool(receipt, PROMPT, server.state.snapshot.pools["mf"]) == []


def test_a_budget_that_is_used_up_asks_the_cheapest_model_alone(pooled, upstream):
    server = pooled(small=DISCARD, middle=DISCARD, pool=budget())
    server.post(CHAT_HELLO)
    _budget(server).spend(1e6)
    assert _budget(server).is_exceeded
    before = len(upstream.requests)
    answer = server.post(CHAT_HELLO)
    assert (answer.headers["x-turnout-action"], answer.headers["x-turnout-model"]) == ("strong", "small")
    assert models(upstream)[before:] == ["small"]
    [entry] = server.post({"model": "router-mf", "prompt": PROMPT}, "/v1/route").json()["decisions"]
    assert (entry["model"], entry["steps"]) == ("small", ["small"])


def test_a_budget_of_a_cascade_counts_what_a_failed_model_is_replaced_by_and_lasts_over_reloads(pooled, upstream):
    server = pooled(small=DISCARD, middle=KEEP, pool=budget())
    upstream.by_model["middle"] = refuse(500)
    answer = server.post(CHAT_HELLO)
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", "500")
    wait_until(lambda: _budget(server).used == pytest.approx(receipt_of(server)["cost"]))
    used = _budget(server).used
    server.tables["pool"]["budget"]["cost"] = 9.0
    assert httpx.post(f"{server.admin_url}/admin/reload").status_code == 200
    assert (_budget(server).limit, _budget(server).used) == (9.0, pytest.approx(used))
    upstream.by_model["middle"] = speak
    assert server.post(CHAT_HELLO).headers["x-turnout-model"] == "middle"
    # One token of input and one of output, of both models.
    wait_until(lambda: _budget(server).used == pytest.approx(used + 2 * (1.0 + 2.0) / 1e6))


def test_a_scorer_is_opened_once_for_all_judges_and_again_only_if_it_was_touched(pooled, tmp_path, tables, monkeypatch):
    loads = []

    def load(path):
        loads.append(path)
        return SimpleNamespace(strong="wrong")

    monkeypatch.setattr("turnout.serve.routers.scorers.load", load)
    folder = tmp_path / "scorer"
    folder.mkdir()
    (folder / "router.json").write_text("{}")
    tables["routers"]["mf"]["scorer"] = str(folder)
    form = Form(["scorer"], [-10.0], 0.0, 5.0, *IDENTITY)
    server = pooled(small=form, middle=form)
    assert loads == [str(folder)]
    for count in (1, 1, 2):
        if count == 2:
            (folder / "router.json").write_text("{ }")
        assert httpx.post(f"{server.admin_url}/admin/reload").status_code == 200
        assert len(loads) == count
    small, middle = server.state.snapshot.pools["mf"].judges.values()
    assert small.scorer is middle.scorer
