"""Requests that a pool of models decides."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from scripted_upstream import refuse, wait_until
from tests.serve.dialects import SPOKEN, speak
from tests.serve.test_sessions import loop
from tests.serve.test_switching import saying

from turnout import ConfigError
from turnout.cli import main
from turnout.serve.decisions.pool_decision import explain
from turnout.serve.decisions.snapshot import take
from turnout.serve.describe import lines
from turnout.serve.receipts.receipts import replay_in_pool
from turnout.serve.run import check
from turnout.serve.settings.file import settings_of

LARGE = {"success": 0.9, "input_price": 5.0, "output_price": 20.0, "output_tokens": 100}
MIDDLE = {"success": 0.8, "input_price": 1.0, "output_price": 4.0, "output_tokens": 100}
SMALL = {"success": 0.6, "input_price": 0.1, "output_price": 0.4, "output_tokens": 100}


@pytest.fixture
def models(tables, upstream):
    """Three models whose price grows with their chance, beside the pair `big` and `small`."""
    upstream.default = speak
    spoken = {"upstream": "main", "dialects": list(SPOKEN)}
    tables["models"] = {
        "big": {**spoken, **LARGE},
        "middle": {**spoken, **MIDDLE},
        "small": {**spoken, **SMALL},
    }
    return tables["models"]


@pytest.fixture
def pooled(models, start):
    """Starts a server with `[pool]`, with keys added to it."""

    def begin(pool=None, **added):
        return start(pool={"objective": {"target": 0.75}, "routers": ["mf"], **(pool or {})}, **added)

    return begin


def ask(server, model="router-mf", spoken=SPOKEN["chat"], headers=None, **fields):
    return server.post(spoken.body(model, **fields), spoken.path, headers=headers or {})


def asked(server, *args, **more):
    """The model that answers."""
    answer = ask(server, *args, **more)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-turnout-model"]


@pytest.mark.parametrize("spoken", SPOKEN.values(), ids=SPOKEN)
def test_the_objective_chooses_in_every_dialect(pooled, upstream, spoken):
    answer = ask(pooled(), spoken=spoken)
    assert spoken.text(spoken.create(spoken.client(pooled().url)).create(**spoken.body("router-mf"))) == "I am middle"
    assert answer.headers["x-turnout-model"] == "middle"
    assert answer.headers["x-turnout-success"].startswith("0.8")
    assert 0 < float(answer.headers["x-turnout-expected-cost"]) < 0.001
    assert answer.headers["x-turnout-reason"] == "cheapest model with P(success) >= 0.75"
    assert "x-turnout-win-rate" not in answer.headers


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("router-mf-target-0.85", "big"),
        ("router-mf-target-0.5", "small"),
        ("router-mf-max-cost-0.001", "middle"),
        ("router-mf-error-cost-0", "small"),
        ("router-mf-tolerance-0.15", "middle"),
    ],
)
def test_the_name_of_the_model_may_have_an_objective(pooled, name, model):
    assert asked(pooled(), name) == model


@pytest.mark.parametrize(
    ("header", "model"),
    [
        ({"x-turnout-target": "0.85"}, "big"),
        ({"X-Turnout-Max-Cost": "1e-4"}, "small"),
        ({"x-turnout-error-cost": "100"}, "big"),
        ({"x-turnout-tolerance": "1"}, "small"),
    ],
)
def test_a_header_may_have_an_objective(pooled, header, model):
    assert asked(pooled(), headers=header) == model


@pytest.mark.parametrize(
    ("name", "headers", "message"),
    [
        ("router-mf-target-0.85", {"x-turnout-target": "0.85"}, "the model's name and x-turnout-target"),
        ("router-mf", {"x-turnout-target": "0.8", "x-turnout-max-cost": "1"}, "expected at most one"),
        (
            "router-mf",
            {"x-turnout-target": "1.5"},
            "header x-turnout-target: target is '1.5', expected a number between 0 and 1",
        ),
        ("router-mf", {"x-turnout-max-cost": "inf"}, "max_cost is 'inf', expected a number of 0 or more"),
        ("router-mf-target-2", {}, "target is '2'"),
        ("router-mf-max-cost--1", {}, "max_cost is '-1'"),
        ("router-mf-0.5", {"x-turnout-target": "0.85"}, "x-turnout-target is an objective of a pool"),
        ("router-random-target-0.5", {}, "router random has none"),
    ],
)
def test_two_objectives_or_a_wrong_one_are_errors(pooled, upstream, name, headers, message):
    answer = ask(pooled(), name, headers=headers)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert not upstream.requests


def test_the_pair_keeps_its_names(pooled, router):
    server = pooled()
    answer = ask(server, "router-mf-0.5")
    assert float(answer.headers["x-turnout-win-rate"]) == router.win_rate("hello")
    assert asked(server, "router-mf-0") == "big"
    assert asked(server, "router-random-0") == "big"


def test_without_a_pair_a_threshold_is_an_error(pooled, tables):
    del tables["pair"]
    server = pooled(routers={"mf": tables["routers"].pop("mf")})
    assert asked(server) == "middle"
    answer = ask(server, "router-mf-0.5")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_model")
    assert "a pair, and none is configured" in answer.json()["error"]["message"]


def test_without_a_pool_an_objective_is_an_error(server):
    answer = ask(server, "router-mf-target-0.85")
    assert answer.status_code == 400
    assert "target is an objective of a pool, and router mf has none" in answer.json()["error"]["message"]


def test_models_without_the_dialect_are_excluded(pooled, models):
    models["middle"]["dialects"] = ["messages"]
    answer = ask(pooled())
    assert answer.headers["x-turnout-model"] == "big"
    assert answer.headers["x-turnout-excluded"] == "middle=dialect"


def test_needs_exclude_models(pooled, models):
    models["middle"]["capabilities"] = ["tools"]
    server = pooled()
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    assert asked(server, tools=[tool]) == "middle"
    assert asked(server, response_format={"type": "json_object"}) == "big"
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    assert asked(server, messages=image) == "big"
    assert server.metric("turnout_excluded_total", model="middle", reason="needs") == 2


@pytest.mark.parametrize("spoken", SPOKEN.values(), ids=SPOKEN)
def test_instructions_tools_and_all_messages_count_for_the_context_window(pooled, models, spoken):
    models["middle"]["context_window"] = 1000
    server = pooled()
    long = "many words " * 400
    fields = {"chat": "tools", "messages": "system", "responses": "instructions"}
    value = [{"type": "function", "function": {"name": "f", "description": long}}] if spoken.name == "chat" else long
    assert asked(server, spoken=spoken) == "middle"
    assert asked(server, spoken=spoken, **{fields[spoken.name]: value}) == "big"
    earlier = [
        {"role": "user", "content": long},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Hi"},
    ]
    assert asked(server, spoken=spoken, **{spoken.conversation: earlier}) == "big"


def test_the_answers_limit_counts_for_the_context_window_and_the_cost(pooled, models):
    models["middle"]["max_output"] = 50
    server = pooled()
    assert asked(server, max_tokens=50) == "middle"
    assert asked(server, max_tokens=51) == "big"


def test_where_no_model_may_serve_a_request_each_has_its_reason(pooled, models):
    for model in models.values():
        model["capabilities"] = []
    models["small"]["dialects"] = ["messages"]
    server = pooled()
    for spoken in (SPOKEN["chat"], SPOKEN["responses"]):
        answer = ask(server, spoken=spoken, tools=[{"type": "function", "name": "f"}])
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "no_feasible_model")
        for reason in (
            "big: does not serve tools",
            "middle: does not serve tools",
            f"small: speaks messages, the request is in the {spoken.name} dialect",
        ):
            assert reason in error["message"]
    answer = ask(server, spoken=SPOKEN["messages"], tools=[{"name": "f"}])
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_the_declared_fallback_serves_what_exceeds_a_limit(pooled):
    server = pooled({"limits": {"max_price": 0.01}, "fallback": {"model": "small"}})
    answer = ask(server)
    assert answer.headers["x-turnout-model"] == "small"
    assert answer.headers["x-turnout-reason"] == "fallback: no model is feasible"


def test_a_failure_goes_down_the_ranking(pooled, upstream):
    server = pooled()
    upstream.by_model["middle"] = refuse(500)
    answer = ask(server)
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", "500")
    upstream.by_model["big"] = refuse(500)
    assert asked(server) == "small"
    assert server.metric("turnout_fallbacks_total", chosen="middle", served="big", reason="500") == 2


def test_no_other_model_is_tried_where_fallback_is_off(pooled, upstream):
    upstream.by_model["middle"] = refuse(500)
    assert ask(pooled(server={"fallback": False})).status_code == 500


def test_a_model_whose_breaker_is_open_is_excluded(pooled, upstream, tables):
    tables["upstreams"]["main"].update(breaker_failures=1, retries=0, breaker_open_s=600)
    server = pooled()
    upstream.by_model["middle"] = refuse(500)
    ask(server)
    answer = ask(server)
    assert answer.headers["x-turnout-excluded"] == "middle=breaker_open"
    assert "x-turnout-fallback" not in answer.headers
    upstream.default = refuse(500)
    ask(server)
    answer = ask(server)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_feasible_model")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_request_that_never_fits_is_400_though_models_are_unavailable(pooled, upstream, models, tables):
    tables["upstreams"]["main"].update(breaker_failures=1, retries=0, breaker_open_s=600)
    for model in models.values():
        model["context_window"] = 1000
    server = pooled(server={"fallback": False})
    upstream.default = refuse(500)
    for name in ("big", "middle", "small"):
        ask(server, name)
    fits = ask(server)
    assert (fits.status_code, fits.json()["error"]["code"]) == (503, "no_feasible_model")
    never = ask(server, messages=[{"role": "user", "content": "word " * 2000}])
    error = never.json()["error"]
    assert (never.status_code, error["code"]) == (400, "no_feasible_model")
    assert "retry-after" not in never.headers
    assert error["message"].count("context window") == 3
    models["small"]["capabilities"] = []
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    some = ask(server, messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}])
    assert some.status_code == 503


def test_a_request_that_is_not_sent_uses_no_quota(pooled, models, tables):
    tables["upstreams"]["closed"] = {"base_url": "http://127.0.0.1:1/v1", "retries": 0, "breaker_failures": 1000}
    models["middle"].update(upstream="closed", quota=2)
    server = pooled()
    for _ in range(4):
        assert ask(server).headers["x-turnout-fallback"] == "connect"
    assert server.state.snapshot.models["middle"].quotas[0].remaining_s() == 0.0


def test_a_request_that_is_redirected_uses_no_quota(pooled, models, tables, upstream):
    upstream.by_model["middle"] = refuse(307, location="http://127.0.0.1:1/v1")
    tables["upstreams"]["main"].update(retries=0, breaker_failures=1000)
    models["middle"].update(quota=2)
    server = pooled()
    for _ in range(4):
        assert ask(server).headers["x-turnout-fallback"] == "redirect"
    assert server.state.snapshot.models["middle"].quotas[0].remaining_s() == 0.0


def test_a_quota_is_kept(pooled, models):
    models["middle"]["quota"] = 2
    server = pooled()
    assert [asked(server) for _ in range(3)] == ["middle", "middle", "big"]
    answer = ask(server, "middle")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "upstream_quota")
    assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_a_turn_stays_with_its_model_and_its_failures_go_on(pooled, upstream):
    server = pooled()
    step = [
        {"role": "user", "content": "Do it"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "done"},
    ]
    assert asked(server, messages=step[:1]) == "middle"
    again = ask(server, headers={"x-turnout-target": "0.5"}, messages=step)
    assert (again.headers["x-turnout-model"], again.headers["x-turnout-rule"]) == ("middle", "turn")
    upstream.by_model["middle"] = refuse(500)
    assert asked(server, messages=step) == "big"


def test_a_helper_call_goes_to_the_cheapest_model(pooled):
    server = pooled({"objective": {"target": 0.85}}, agents={"helper_max_tokens": 20})
    answer = ask(server, max_tokens=20)
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-rule"]) == ("small", "helper")


def test_an_effort_is_a_candidate_and_is_asked_for_in_the_dialects_own_field(pooled, models, upstream):
    models["middle"]["efforts"] = {"high": {"success": 0.95, "output_tokens": 200}}
    server = pooled()
    for dialect, field in (
        ("chat", {"reasoning_effort": "high"}),
        ("responses", {"reasoning": {"summary": "auto", "effort": "high"}}),
    ):
        fields = {"reasoning": {"summary": "auto"}} if dialect == "responses" else {"reasoning_effort": "low"}
        assert asked(server, "router-mf-target-0.92", SPOKEN[dialect], **fields) == "middle:high"
        sent = upstream.requests[-1].json
        assert sent["model"] == "middle"
        assert {key: sent[key] for key in field} == field
    answer = ask(server, "router-mf-target-0.92", SPOKEN["messages"])
    assert answer.headers["x-turnout-model"] == "big"
    assert answer.headers["x-turnout-excluded"] == "middle:high=effort"
    assert asked(server, "middle:high") == "middle:high"


def test_the_body_of_an_effort_replaces_the_dialects_field(pooled, models, upstream):
    body = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    models["middle"]["efforts"] = {"deep": {"success": 0.95, "body": body}}
    assert asked(pooled(), "router-mf-target-0.92", SPOKEN["messages"]) == "middle:deep"
    assert upstream.requests[-1].json["thinking"] == body["thinking"]


def test_a_summary_takes_no_effort_and_does_not_climb(pooled, models, upstream):
    models["middle"]["efforts"] = {"high": {"success": 0.95}}
    server = pooled(agents={"escalate_after_steps": 2})
    body = SPOKEN["responses"].body("middle:high", reasoning={"effort": "high"})
    server.post({**body, "input": "Hi"}, "/v1/responses/compact").raise_for_status()
    assert upstream.requests[-1].json == {**body, "input": "Hi", "model": "middle"}
    del body["reasoning"]
    server.post({**body, "input": "Hi"}, "/v1/responses/compact").raise_for_status()
    assert upstream.requests[-1].json == {"input": "Hi", "model": "middle"}
    body["model"] = "router-mf-target-0.5"
    assert server.post(body, "/v1/responses").headers["x-turnout-model"] == "small"
    body["input"] = loop(SPOKEN["responses"], "Hello!", 2)
    assert server.post(body, "/v1/responses/compact").headers["x-turnout-model"] == "small"
    assert server.post(body, "/v1/responses").headers["x-turnout-rule"] == "stall"


def test_models_are_listed_with_their_efforts(pooled, models):
    models["middle"]["efforts"] = {"high": {}}
    server = pooled()
    names = [one.id for one in server.openai().models.list()]
    assert names == ["router-mf", "router-random", "big", "middle", "middle:high", "small"]
    assert server.openai().models.retrieve("router-mf-target-0.85").id == "router-mf-target-0.85"


def test_decisions_alone_are_given_with_ranks_where_they_are_asked_for(pooled):
    server = pooled()
    found = server.post({"model": "router-mf-target-0.85", "prompt": ["a", "b"]}, "/v1/route").json()
    assert [one["model"] for one in found["decisions"]] == ["big", "big"]
    assert len(found["pool_hash"]) == 64
    body = {"router": "mf", "target": 0.5, "rank": True, "messages": [{"role": "user", "content": "Hi"}]}
    (one,) = server.post(body, "/v1/route").json()["decisions"]
    assert one["model"] == "small"
    assert [entry["model"] for entry in one["ranked"]] == ["small", "middle", "big"]
    assert all(entry["feasible"] for entry in one["ranked"])
    for wrong in (
        {"model": "router-mf-target-0.85", "target": 0.5},
        {"router": "mf", "rank": 1},
        {"router": "mf", "threshold": 0.5, "target": 0.5},
    ):
        assert server.post({"prompt": "a", **wrong}, "/v1/route").status_code == 400


def test_success_and_expected_cost_are_counted(pooled):
    server = pooled()
    cost = float(ask(server).headers["x-turnout-expected-cost"])
    assert server.metric("turnout_decisions_total", router="mf", model="middle") == 1
    assert server.metric("turnout_expected_cost_total", router="mf", model="middle") == pytest.approx(cost)
    assert server.metric("turnout_success_count", router="mf") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["models"]["big"].update(success=2), r"\[models.big\] success: 2, expected a number in 0..=1"),
        (
            lambda t: t["models"]["big"].update(goodness=1),
            r"\[models.big\] has an unknown key 'goodness', expected upstream",
        ),
        (lambda t: t["models"]["big"].update(input_price=-1), r"\[models.big\] input_price: -1, expected"),
        (
            lambda t: t["models"]["big"].pop("input_price"),
            r"\[pool\] objective: target, needs input_price and output_price .* \"big\"",
        ),
        (
            lambda t: t["pool"].update(objective={"target": 0.5, "max_cost": 1}),
            r"\[pool\] objective: target and max_cost are two objectives",
        ),
        (lambda t: t["pool"].update(limits={"max_prize": 1}), r"\[pool\] limits.max_prize: unknown field"),
        (lambda t: t["pool"].update(fallback={"model": "huge"}), r"\[pool\] fallback.model: \"huge\" is not a model"),
        (lambda t: t["pool"].update(models=["huge"]), r"\[pool\] models is 'huge', expected one of big"),
        (lambda t: t["pool"].update(routers=["bert"]), r"\[pool\] routers is 'bert', expected one of mf"),
        (lambda t: t["pool"].update(objectives={}), r"\[pool\] has an unknown key 'objectives'"),
        (
            lambda t: t["pool"].pop("routers"),
            "router random is not an artifact and cannot choose from a pool; expected .pool. routers",
        ),
        (lambda t: t["models"]["big"].pop("success"), r"router mf: \[models.big\].* the artifact has no profiles"),
        (
            lambda t: t["models"]["big"].update(efforts={"high": {"body": {"model": "x"}}}),
            r"\[models.big\] efforts.high body",
        ),
        (
            lambda t: t["models"]["big"].update(efforts={"high": {"goodness": 1}}),
            r"\[models.big\] efforts.high.goodness: unknown field",
        ),
    ],
)
def test_what_is_wrong_with_a_pool_is_named(tables, models, change, message):
    tables["pool"] = {"objective": {"target": 0.75}, "routers": ["mf"]}
    change(tables)
    with pytest.raises(ConfigError, match=message):
        take(settings_of(tables))


def test_the_check_explains_the_pool(tables, models):
    models["middle"].update(quota=60, efforts={"high": {"output_price": 5.0}})
    tables["pool"] = {"objective": {"target": 0.75}, "routers": ["mf"], "limits": {"max_price": 30}}
    found = "\n".join(lines(take(settings_of(tables))))
    assert "pool        target 0.75 for router-mf; limits: max_price 30" in found
    assert "candidate   middle: a constant chance, 1 / 4 USD a million tokens, 60 requests a minute" in found
    assert "candidate   middle:high: a constant chance, 1 / 5 USD a million tokens, 60 requests a minute" in found


def test_a_reload_keeps_the_pool_and_the_quotas_that_did_not_change(tables, models):
    models["small"]["quota"] = 5
    tables["pool"] = {"objective": {"target": 0.75}, "routers": ["mf"]}
    before = take(settings_of(tables))
    after = take(settings_of(tables), before)
    assert after.pools["mf"].router is before.pools["mf"].router
    assert after.models["small"].quotas == before.models["small"].quotas
    models["big"]["success"] = 0.95
    changed = take(settings_of(tables), after)
    assert changed.pools["mf"].pool_hash != before.pools["mf"].pool_hash


PROMPT = "Prove that there are infinitely many primes."


@pytest.fixture
def logged(pooled, models, tables, tmp_path):
    """A pool's decisions in a log, of which one has an excluded model, and the configuration's file."""

    def write(**log):
        path = tmp_path / "decisions"
        server = pooled(log={"path": str(path), "prompts": True, **log})
        for fields in ({}, {"max_tokens": 5}, {"model": "router-mf-0.5"}, {"model": "router-mf-target-0.85"}):
            messages = [{"role": "system", "content": "Be brief. " * 50}, {"role": "user", "content": PROMPT}]
            server.post({"model": "router-mf", "messages": messages, **fields})
        server.__exit__()
        tables["pool"] = {"objective": {"target": 0.75}, "routers": ["mf"]}
        config = tmp_path / "turnout.toml"
        config.write_text(toml(tables))
        return path, config

    models["middle"]["max_output"] = 4
    return write


def toml(tables):
    """TOML of tables, for values that JSON writes alike."""
    lines = []

    def add(place, table):
        inner = {key: value for key, value in table.items() if isinstance(value, dict)}
        lines.extend(
            [f"[{place}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items() if key not in inner)]
        )
        for key, value in inner.items():
            add(f"{place}.{key}", value)

    for name, table in tables.items():
        add(name, table)
    return "\n".join(lines)


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_decisions_of_a_pool_replay_bit_for_bit(logged, artifact, capsys, format):
    path, config = logged(format=format)
    files = [str(path)] if format == "jsonl" else [str(one) for one in path.glob("*.parquet")]
    assert [
        main(["explain-receipt", file, "--config", str(config), "--artifact", str(artifact)]) for file in files
    ] == [0]
    out = capsys.readouterr().out
    assert out.count("replayed bit for bit") == 4
    assert "middle because cheapest model with P(success) >= 0.75" in out
    config.write_text(config.read_text().replace("success = 0.9", "success = 0.91"))
    assert main(["explain-receipt", files[0], "--config", str(config), "--artifact", str(artifact)]) == 1
    assert "the pool's hash is" in capsys.readouterr().out
    assert main(["explain-receipt", files[0]]) == 2
    assert "needs --config with the server's turnout.toml" in capsys.readouterr().err


def test_a_receipt_of_a_pool_has_what_it_was_made_from(logged):
    path, _ = logged(prompts=False)
    first, second, pair, _ = [json.loads(line) for line in path.read_text().splitlines()]
    assert (first["model"], second["model"], second["excluded"]) == (
        "middle",
        "big",
        {"middle": "writes at most 4 tokens, the request allows 5"},
    )
    assert second["request"]["max_output"] == 5
    assert first["request"]["estimated_tokens"] > 150
    assert 0 < first["expected_cost"] < 1
    assert "prompt" not in first
    assert "success" not in pair


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"success": 0.5}, "the success is"),
        ({"expected_cost": 1.0}, "the expected cost is"),
        ({"model": "small"}, "the choice is middle, the receipt has small"),
        ({"prompt_sha256": "0"}, "the prompt's SHA-256 is"),
    ],
)
def test_what_differs_from_a_receipt_is_told(logged, tables, change, difference):
    path, _ = logged()
    receipt = json.loads(path.read_text().splitlines()[0])
    pool = take(settings_of(tables)).pools["mf"]
    assert replay_in_pool(receipt, PROMPT, pool) == []
    (found,) = replay_in_pool({**receipt, **change}, PROMPT, pool)
    assert difference in found


@pytest.fixture
def budgeted(models, tables, start, tmp_path):
    """Starts servers whose pool may cost so much an hour, with the state in a file."""

    def begin(cost, **budget):
        budget = {"cost": cost, "per": "hour", "path": str(tmp_path / "budget.json"), **budget}
        return start(pool={"routers": ["mf"], "budget": budget}, sessions={"stay": "off"})

    return begin


def test_a_budget_takes_cheaper_models_when_it_is_used_up_and_survives_a_restart(budgeted, upstream):
    async def without_usage(exchange):
        message = {"role": "assistant", "content": "Yes."}
        await exchange.whole(200, json.dumps({"choices": [{"index": 0, "message": message}]}).encode())

    upstream.default = without_usage
    # One answer of `big` costs about 0.002.
    server = budgeted(0.005)
    chosen = [asked(server, messages=[{"role": "user", "content": f"Question {number}"}]) for number in range(150)]
    assert chosen[0] == "big"
    assert chosen[-1] == "small"
    budget = server.state.snapshot.pools["mf"].budget
    assert budget.requests == 150
    assert budget.used > budget.allowed
    assert "turnout_budget_price" in httpx.get(f"{server.admin_url}/metrics").text
    server.__exit__()
    again = budgeted(0.005)
    assert again.state.snapshot.pools["mf"].budget.state() == budget.state()
    assert asked(again) == "small"


def test_a_budget_is_corrected_by_what_answers_cost(budgeted):
    server = budgeted(5.0)
    expected = float(ask(server).headers["x-turnout-expected-cost"])
    budget = server.state.snapshot.pools["mf"].budget
    # The upstream says one token of input and one of output.
    wait_until(lambda: budget.used == pytest.approx(25 / 1e6))
    assert expected > 0.001


def test_requests_that_no_router_decides_count_what_they_cost(models, start, upstream):
    upstream.default = saying({name: {"input_tokens": 1, "output_tokens": 1} for name in ("chat", "responses")})
    server = start(pool={"routers": ["mf"], "budget": {"cost": 5.0}})
    budget = server.state.snapshot.pools["mf"].budget
    for steps in range(3):
        assert asked(server, messages=loop(SPOKEN["chat"], "Fix the test.", steps)) == "big"
    assert server.metric("turnout_undecided_total", rule="turn") == 2
    wait_until(lambda: budget.used == pytest.approx(3 * 25 / 1e6))
    spoken = SPOKEN["responses"]
    asked(server, spoken=spoken)
    assert ask(server, spoken=spoken, previous_response_id="resp_1").headers["x-turnout-rule"] == "response"
    wait_until(lambda: budget.used == pytest.approx(5 * 25 / 1e6))
    assert budget.requests == 5


def test_steps_that_stay_are_expected_to_cost_what_their_cache_leaves(models, start, upstream):
    """The upstream says what was cached at first, and nothing afterwards, so that the expectation stays."""
    for model in models.values():
        model["cached_input_price"] = 0.0
    server = start(pool={"routers": ["mf"], "models": ["big"], "budget": {"cost": 5.0}})
    budget = server.state.snapshot.pools["mf"].budget
    text = "A long story of a test. " * 4000

    def step(count, **usage):
        async def script(exchange):
            message = {"role": "assistant", "content": "Yes."}
            content = {"choices": [{"index": 0, "message": message}], **usage}
            await exchange.whole(200, json.dumps(content).encode())

        upstream.default = script
        before = budget.used
        assert asked(server, messages=loop(SPOKEN["chat"], text, count)) == "big"
        return budget.used - before

    cached = {"prompt_tokens": 90_000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 0}}
    step(0, usage=cached)
    wait_until(lambda: budget.used == pytest.approx((90_000 * 5 + 100 * 20) / 1e6))
    assert step(1) < 0.05


def test_a_budget_counts_what_is_written_to_the_cache(models, start, upstream):
    server = start(pool={"routers": ["mf"], "models": ["big"], "budget": {"cost": 5.0}})
    budget = server.state.snapshot.pools["mf"].budget
    usage = {
        "input_tokens": 10,
        "output_tokens": 100,
        "cache_creation_input_tokens": 1000,
        "cache_read_input_tokens": 0,
    }
    found = {**json.loads(SPOKEN["messages"].whole("big", "Hi")), "usage": usage}
    upstream.default = lambda exchange: exchange.whole(200, json.dumps(found).encode())
    assert asked(server, spoken=SPOKEN["messages"]) == "big"
    wait_until(lambda: budget.used == pytest.approx((10 * 5 + 1000 * 1.25 * 5 + 100 * 20) / 1e6))


def test_a_reload_may_change_the_limit_of_a_budget(budgeted):
    server = budgeted(5.0)
    asked(server)
    before = server.state.snapshot.pools["mf"].budget
    wait_until(lambda: before.used == pytest.approx(25 / 1e6))
    server.tables["pool"]["budget"]["cost"] = 10.0
    assert httpx.post(f"{server.admin_url}/admin/reload").status_code == 200
    after = server.state.snapshot.pools["mf"].budget
    assert (after.limit, after.used, after.requests) == (10.0, before.used, 1)


@pytest.mark.parametrize("path", ["same", "none", "added"])
def test_a_request_that_spans_a_reload_is_counted_in_the_budget_that_runs(budgeted, upstream, tmp_path, path):
    begun, go_on = threading.Event(), threading.Event()

    async def held(exchange):
        begun.set()
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        choices = [{"index": 0, "message": {"role": "assistant", "content": "Yes."}}]
        usage = {"prompt_tokens": 7, "completion_tokens": 3}
        await exchange.whole(200, json.dumps({"choices": choices, "usage": usage}).encode())

    upstream.default = held
    server = budgeted(5.0, **({} if path == "same" else {"path": ""}))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, server)
        assert begun.wait(30)
        before = server.state.snapshot.pools["mf"].budget.used
        server.tables["pool"]["budget"] |= {
            "cost": 10.0,
            **({"path": str(tmp_path / "new.json")} if path == "added" else {}),
        }
        assert httpx.post(f"{server.admin_url}/admin/reload").status_code == 200
        budget = server.state.snapshot.pools["mf"].budget
        assert (budget.limit, budget.used, budget.requests) == (10.0, before, 1)
        go_on.set()
        answer.result()
    wait_until(lambda: budget.used == pytest.approx((7 * 5 + 3 * 20) / 1e6))
    server.__exit__()
    file = {"same": tmp_path / "budget.json", "none": None, "added": tmp_path / "new.json"}[path]
    if file is not None:
        assert json.loads(file.read_text())["used"] == pytest.approx(95e-6)


def test_what_is_decided_while_a_reload_opens_its_files_is_counted_in_the_budget_that_runs(budgeted):
    server = budgeted(5.0)
    before = server.state.snapshot
    server.tables["pool"]["budget"]["cost"] = 10.0
    after = take(settings_of(server.tables), before)
    budget = before.pools["mf"].budget
    budget.count(2.0)
    assert before.pools["mf"].budget is after.pools["mf"].budget is budget
    after.begin()
    assert before.pools["mf"].budget is after.pools["mf"].budget is not budget
    assert (after.pools["mf"].budget.limit, after.pools["mf"].budget.used) == (10.0, 2.0)


def test_a_request_that_began_before_a_reload_is_decided_between_the_models_that_it_began_with(budgeted, models):
    server = budgeted(5.0)
    before = server.state.snapshot
    models["new"] = {**models["small"], "success": 0.99, "input_price": 0.0, "output_price": 0.0}
    after = take(settings_of(server.tables), before)
    after.begin()
    names = [
        {one.model for one in asyncio.run(explain(snapshot.pools["mf"], "Hello!", {}, {})).ranked}
        for snapshot in (before, after)
    ]
    assert names == [{"big", "middle", "small"}, {"big", "middle", "small", "new"}]


def test_a_budget_of_another_file_goes_on_from_that_file(budgeted, tmp_path):
    server = budgeted(5.0)
    asked(server)
    other, path = server.state.snapshot.pools["mf"].budget, tmp_path / "other.json"
    path.write_text(json.dumps({**other.state(), "used": 3.0}))
    server.tables["pool"]["budget"]["path"] = str(path)
    assert httpx.post(f"{server.admin_url}/admin/reload").status_code == 200
    assert server.state.snapshot.pools["mf"].budget.used == 3.0


def test_a_check_leaves_the_state_of_the_server_that_runs(budgeted, tables, monkeypatch):
    server = budgeted(5.0)
    budget, path = server.state.snapshot.pools["mf"].budget, server.tables["pool"]["budget"]["path"]

    def meanwhile(settings):
        asked(server)
        budget.save()
        return []

    monkeypatch.setattr("turnout.serve.run._sockets", meanwhile)
    check(settings_of(server.tables))
    with open(path) as file:
        assert json.load(file)["requests"] == 1


def test_a_turn_that_does_not_get_on_climbs_model_by_model(pooled):
    server = pooled(pool={"objective": {"target": 0.5}}, agents={"escalate_after_steps": 2})
    found = [asked(server, messages=loop(SPOKEN["chat"], "Fix the test.", count)) for count in range(8)]
    assert found == ["small"] * 2 + ["middle"] * 2 + ["big"] * 4
    assert server.metric("turnout_undecided_total", rule="stall") == 2


def test_a_turn_climbs_past_a_model_that_may_not_serve_it(pooled, models):
    models["middle"]["dialects"] = ["messages"]
    server = pooled(pool={"objective": {"target": 0.5}}, agents={"escalate_after_steps": 2})
    assert [asked(server, messages=loop(SPOKEN["chat"], "Fix it.", count)) for count in (0, 1, 2)] == [
        "small",
        "small",
        "big",
    ]


def test_decisions_alone_and_counts_of_tokens_use_nothing(budgeted):
    server = budgeted(5.0)
    server.post({"model": "router-mf", "prompt": ["a", "b"]}, "/v1/route").raise_for_status()
    server.post({"router": "mf", "prompt": "a", "rank": True}, "/v1/route").raise_for_status()
    body = {"model": "router-mf", "messages": [{"role": "user", "content": "Hi"}]}
    assert server.post(body, "/v1/messages/count_tokens").json() == {"input_tokens": 7}
    assert server.state.snapshot.pools["mf"].budget.requests == 0


@pytest.mark.parametrize(
    ("name", "headers"), [("router-mf-target-0.85", {}), ("router-mf", {"x-turnout-target": "0.85"})]
)
def test_an_objective_does_not_replace_a_budget(budgeted, name, headers):
    answer = ask(budgeted(5.0), name, headers=headers)
    assert answer.status_code == 400
    assert "the pool has a budget" in answer.json()["error"]["message"]


def test_a_decision_of_a_budget_replays(budgeted, tables):
    server = budgeted(5.0)
    ask(server, messages=[{"role": "user", "content": PROMPT}])
    (decided,) = server.state.recent.since(0, 10)
    receipt = decided.receipt
    assert receipt["reason"] == "best use of the budget"
    assert receipt["request"]["budget"]["price"] > 0
    assert replay_in_pool(receipt, PROMPT, server.state.snapshot.pools["mf"]) == []
    other = {**receipt["request"], "budget": {**receipt["request"]["budget"], "price": 1e9}}
    assert (
        "the choice is small"
        in replay_in_pool({**receipt, "request": other}, PROMPT, server.state.snapshot.pools["mf"])[-1]
    )


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ({"budget": {}}, r"\[pool.*budget.*exactly one of cost, co2_grams and p95_latency_ms"),
        ({"budget": {"cost": 1, "co2_grams": 1}}, "exactly one of cost"),
        ({"budget": {"cost": -1}}, "cost is -1, expected"),
        ({"budget": {"cost": 1}, "objective": {"target": 0.5}}, "both objective and budget are set"),
        ({"budget": {"cost": 1}, "routers": ["mf", "random"]}, r"\[pool.budget\] is for one router"),
        ({"budget": {"co2_grams": 1}}, r"\[pool.budget\] a budget needs co2_grams of every model"),
    ],
)
def test_what_is_wrong_with_a_budget_is_named(tables, models, pool, message):
    tables["pool"] = {"routers": ["mf"], **pool}
    with pytest.raises(ConfigError, match=message):
        take(settings_of(tables))


# The estimate is about 80,000 tokens.
@pytest.mark.parametrize(("cached", "model"), [(90_000, "big"), (0, "middle")])
def test_what_a_provider_has_cached_counts_at_the_next_turn(pooled, models, upstream, cached, model):
    models["big"]["cached_input_price"] = 0.05
    server, spoken = pooled(), SPOKEN["messages"]
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": cached}
    told = json.dumps({**json.loads(spoken.whole("big", "yes")), "usage": usage}).encode()
    upstream.default = lambda exchange: exchange.whole(200, told)
    talk = [{"role": "user", "content": "word " * 20_000}]
    assert asked(server, spoken=spoken, messages=talk, headers={"x-turnout-target": "0.85"}) == "big"
    talk += [{"role": "assistant", "content": "yes"}, {"role": "user", "content": "And now?"}]
    assert asked(server, spoken=spoken, messages=talk) == model
    receipt = server.state.recent.since(0, 1)[0].receipt
    assert receipt["request"].get("cached_tokens") == ({"big": cached} if cached else None)
