"""Shadow evaluation: another model's answer, compared after the client has its own."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from scripted_upstream import completion, refuse, wait_until
from tests.serve.dialects import HELLO, SPOKEN, speak

from turnout import ConfigError
from turnout.outcomes import Outcomes
from turnout.outcomes.spending import Spending
from turnout.serve.settings.file import settings_of
from turnout.serve.upstreams.answer import Answer

PRICES = {"input_price": 1.0, "output_price": 2.0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outcomes.sqlite"


@pytest.fixture
def shadowed(start, tables, path, upstream, tmp_path):
    """Starts servers that compare every request of `small` with `big`."""
    for model in tables["models"].values():
        model.update(PRICES)
    tables["models"]["judge"] = {"upstream": "main", **PRICES}
    upstream.by_model["judge"] = verdict("first")

    def begin(server: dict[str, Any] | None = None, **shadow: Any) -> Any:
        found = {"share": 1.0, "models": ["big"], "judge": "judge", **shadow}
        log = {"path": str(tmp_path / "log.jsonl")}
        return start(outcomes={"path": str(path)}, shadow=found, server=server or {}, log=log)

    return begin


@pytest.fixture
def multilingual(shadowed, tables, upstream):
    """The same with models that speak every dialect."""
    upstream.default = speak
    for name in ("big", "small"):
        tables["models"][name]["dialects"] = list(SPOKEN)
    return shadowed


def verdict(word: str) -> Any:
    """A judge that always says this."""

    async def script(exchange: Any) -> None:
        await exchange.whole(200, completion("judge", f"Well.\nverdict: {word}"))

    return script


def done(server: Any, count: int = 1) -> dict[str, float]:
    """Results, when there are so many: a client has its answer before its request is taken."""

    def results() -> dict[str, float]:
        (metric,) = server.state.metrics.shadow.collect()
        return {one.labels["result"]: one.value for one in metric.samples if one.name.endswith("_total")}

    wait_until(lambda: sum(results().values()) >= count)
    return results()


def receipts(folder: Path, count: int = 1) -> list[dict[str, Any]]:
    """Those of the log, when there are so many: a comparison is drawn before its receipt is written."""
    log = folder / "log.jsonl"
    wait_until(lambda: log.read_bytes().count(b"\n") >= count)
    return [json.loads(line) for line in log.read_text().splitlines()]


def ask(server: Any, **fields: Any) -> Any:
    answer = server.post({"model": "router-mf-1.0", "messages": HELLO, **fields})
    assert answer.status_code == 200
    return answer


@pytest.mark.parametrize(("position", "word", "value"), [(1, "first", 1.0), (2, "first", 0.0), (2, "second", 1.0)])
def test_a_verdict_is_kept_with_its_propensity_and_the_order_of_the_answers(
    shadowed, path, upstream, position, word, value
):
    upstream.by_model["judge"] = verdict(word)
    server = shadowed(share=1.0)
    server.state.shadow.random.choice = lambda found: found[position - 1] if found == (1, 2) else found[0]
    receipt_id = ask(server).headers["x-request-id"]
    assert done(server) == {"win" if value else "loss": 1}
    (one,) = Outcomes(path).read()
    assert one[:5] == (receipt_id, "preference", value, "big", one.time)
    assert (one.source, one.propensity, one.position) == ("judge", 1.0, position)
    assert upstream.models == ["small", "big", "judge"]
    question = upstream.requests[2].json["messages"][0]["content"]
    order = ["I am big", "I am small"] if position == 1 else ["I am small", "I am big"]
    assert [question.index(text) for text in order] == sorted(question.index(text) for text in order)
    assert "Hello!" in question


def test_the_receipt_says_what_was_drawn(shadowed, tmp_path):
    server = shadowed()
    ask(server)
    done(server)
    (receipt,) = receipts(tmp_path)
    assert (receipt["shadow"]["model"], receipt["shadow"]["propensity"]) == ("big", 1.0)
    assert receipt["shadow"]["position"] in (1, 2)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("dialect", SPOKEN)
def test_every_dialect_whole_and_streamed(multilingual, upstream, path, dialect, is_stream):
    server, spoken = multilingual(), SPOKEN[dialect]
    answer = server.post(spoken.body(stream=is_stream), spoken.path)
    assert answer.status_code == 200
    (result,) = done(server)
    assert result in ("win", "loss")
    shadow, judged = upstream.requests[1:]
    assert not shadow.json.get("stream")
    assert shadow.json.get("store") is (False if dialect == "responses" else None)
    assert "I am small" in judged.json["messages"][0]["content"]
    assert "I am big" in judged.json["messages"][0]["content"]
    assert len(Outcomes(path)) == 1


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("dialect", SPOKEN)
def test_clients_opt_out_in_every_dialect(multilingual, upstream, tmp_path, dialect, is_stream):
    server, spoken = multilingual(), SPOKEN[dialect]
    answer = server.post(spoken.body(stream=is_stream), spoken.path, headers={"X-Turnout-Shadow": "off"})
    assert answer.status_code == 200
    assert done(server) == {"opted_out": 1}
    assert upstream.models == ["small"]
    assert "x-turnout-shadow" not in upstream.requests[0].headers
    assert receipts(tmp_path)[0]["shadow"] == {"excluded": "opted_out"}
    assert server.state.shadow._bytes.used == 0


@pytest.mark.parametrize("value", ["", "on", "false", "off, off"])
@pytest.mark.parametrize("dialect", SPOKEN)
def test_another_value_of_the_header_is_an_error(server, tables, upstream, dialect, value):
    """A value that means nothing is not ignored, with shadow evaluation or without: the client would believe that it opted out."""
    spoken = SPOKEN[dialect]
    answer = server.post(spoken.body(), spoken.path, headers={"x-turnout-shadow": value})
    assert answer.status_code == 400
    assert f"header x-turnout-shadow is '{value}', expected off" in answer.json()["error"]["message"]
    assert upstream.requests == []


def test_what_a_client_says_of_storing_is_no_opting_out(shadowed, path, upstream):
    """``store`` is about what a provider keeps, and agents set it to false in every request. A shadow request keeps nothing there."""
    server = shadowed()
    ask(server, store=False)
    (result,) = done(server)
    assert result in ("win", "loss")
    assert not upstream.requests[1].json.get("store")


@pytest.mark.parametrize("speaks", ["messages", "responses"])
def test_a_judge_may_speak_any_dialect(shadowed, tables, upstream, speaks):
    tables["models"]["judge"]["dialects"] = [speaks]

    async def script(exchange: Any) -> None:
        await exchange.whole(200, SPOKEN[speaks].whole("judge", "verdict: tie"))

    upstream.by_model["judge"] = script
    server = shadowed()
    ask(server)
    assert done(server) == {"tie": 1}


@pytest.mark.parametrize("text", ["verdict: first\nor not", "no idea", "verdict: third"])
def test_an_unreadable_verdict_counts_as_none(shadowed, upstream, path, text):
    async def script(exchange: Any) -> None:
        await exchange.whole(200, completion("judge", text))

    upstream.by_model["judge"] = script
    server = shadowed()
    ask(server)
    assert done(server) == {"unreadable_verdict": 1}
    assert len(Outcomes(path)) == 0


def test_equal_answers_are_a_tie_without_a_judge(shadowed, upstream):
    async def script(exchange: Any) -> None:
        await exchange.whole(200, completion("any", "The same."))

    upstream.default = script
    server = shadowed()
    ask(server)
    assert done(server) == {"tie": 1}
    assert upstream.models == ["small", "big"]


def test_the_answer_does_not_wait_for_the_shadow(shadowed, upstream, path):
    goes_on = threading.Event()

    async def script(exchange: Any) -> None:
        while not goes_on.is_set():
            await _pause()
        await exchange.whole(200, completion("big", "late"))

    upstream.by_model["big"] = script
    server = shadowed()
    for _ in range(2):
        assert ask(server).json()["choices"][0]["message"]["content"] == "I am small"
    goes_on.set()
    assert sum(done(server, 2).values()) == 2
    assert len(Outcomes(path)) == 2


async def _pause() -> None:
    await asyncio.sleep(0.01)


def test_failures_of_the_shadow_leave_live_traffic_alone(shadowed, tables, upstream):
    tables["upstreams"]["main"]["breaker_failures"] = 1
    upstream.by_model["big"] = refuse(500)
    server = shadowed()
    for number in range(3):
        ask(server)
        done(server, number + 1)
    assert done(server, 3) == {"failed": 3}
    # The shadow's own breaker is open, the one of live requests is not.
    assert upstream.models.count("big") == 1
    assert server.metric("turnout_breaker_open", upstream="main", model="big") == 0
    upstream.by_model.clear()
    assert server.post({"model": "big", "messages": HELLO}).status_code == 200
    assert server.metric("turnout_shadow_cost_total", model="big", call="answer") == 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"n": 2}, "several_answers"),
        ({"prompt": {"id": "pmpt_1"}}, "stored"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}, {"type": "text", "text": "What is it?"}]}]}, "images"),
        ({"messages": [{"role": "user", "content": "x" * 3000}]}, "too_long"),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_compared_are_left_out(shadowed, upstream, fields, reason, tmp_path):
    server = shadowed(max_exchange_bytes=2000)
    ask(server, **fields)
    assert done(server) == {reason: 1}
    assert upstream.models == ["small"]
    assert receipts(tmp_path)[0]["shadow"] == {"excluded": reason}
    assert server.state.shadow._bytes.used == 0


def test_an_answer_of_the_same_model_and_plain_names_are_not_compared(shadowed, upstream):
    server = shadowed()
    assert server.post({"model": "small", "messages": HELLO}).status_code == 200
    assert server.post({"model": "router-mf-0.0", "messages": HELLO}).status_code == 200
    assert done(server) == {"no_model": 1}
    assert upstream.models == ["small", "big"]


def test_the_propensity_is_the_share_over_the_models_that_may_be_drawn(shadowed, tables, path, tmp_path):
    tables["models"]["other"] = {"upstream": "main", **PRICES}
    server = shadowed(share=0.5, models=["big", "other", "small"])
    server.state.shadow.random.random = lambda: 0.4
    ask(server)
    done(server)
    (one,) = Outcomes(path).read()
    assert one.propensity == 0.25
    server.state.shadow.random.random = lambda: 0.5
    ask(server)
    assert ["shadow" in one for one in receipts(tmp_path, 2)] == [True, False]
    assert len(Outcomes(path)) == 1


def test_the_budget_of_a_day_holds_over_a_restart(shadowed, path):
    server = shadowed(budget_per_day=0.02)
    ask(server)
    done(server)
    with Outcomes(path) as outcomes:
        # One input and one output token of each of two calls.
        assert Spending(outcomes).today == pytest.approx(2 * 3e-6)
        spending = Spending(outcomes)
        assert spending.reserve(0.0195, 0.02) is not None
    assert server.metric("turnout_shadow_cost_total", model="judge", call="judge") == pytest.approx(3e-6)
    ask(server)
    assert done(server, 2)["budget"] == 1
    server.__exit__()
    again = shadowed(budget_per_day=0.02)
    ask(again)
    assert done(again) == {"budget": 1}


def test_the_queue_and_the_bytes_are_bounded(shadowed, upstream):
    holds = threading.Event()

    async def script(exchange: Any) -> None:
        while not holds.is_set():
            await _pause()
        await exchange.whole(200, completion("big", "late"))

    upstream.by_model["big"] = script
    server = shadowed(concurrency=1, most_waiting=1)
    for _ in range(4):
        ask(server)
    wait_until(lambda: server.metric("turnout_shadow_total", result="queue") == 2)
    assert server.state.shadow._bytes.used > 0
    holds.set()
    results = done(server, 4)
    assert results["queue"] == 2
    assert sum(results.values()) == 4
    assert server.state.shadow._bytes.used == 0


def test_it_stops_at_shutdown(shadowed, upstream, path):
    async def script(exchange: Any) -> None:
        await exchange.is_gone.wait()

    upstream.by_model["big"] = script
    server = shadowed()
    ask(server)
    wait_until(lambda: "big" in upstream.models)
    server.__exit__()
    assert done(server, 0) == {}
    assert server.state.shadow._bytes.used == 0
    with Outcomes(path) as outcomes:
        assert len(outcomes) == 0
        assert Spending(outcomes).today > 0  # A call that was sent may be billed.


def test_a_receipt_has_one_verdict(shadowed, path):
    server = shadowed()
    with Outcomes(path) as outcomes:
        outcomes.record_verdict("mine", "big", "tie", propensity=1.0, position=1)
    server.post({"model": "router-mf-1.0", "messages": HELLO}, headers={"x-request-id": "mine"})
    assert done(server) == {"conflict": 1}
    assert [one.value for one in Outcomes(path).read()] == [0.5]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"outcomes": {}}, r"expected \[outcomes\] path"),
        ({"shadow": {"share": 0.1}}, "needs models and judge"),
        ({"shadow": {"share": 1.5}}, "less than or equal to 1"),
        ({"shadow": {"share": 0.1, "models": ["huge"], "judge": "big"}}, r"\[shadow\] models is 'huge'"),
        ({"shadow": {"share": 0.1, "models": ["big", "big"], "judge": "big"}}, "a name twice"),
        ({"shadow": {"share": 0.1, "models": ["small"], "judge": "big"}}, "expected input_price and output_price"),
    ],
)
def test_settings_that_cannot_work_are_refused(tables, change, words):
    tables["models"]["big"].update(PRICES)
    shadow = {"share": 0.1, "models": ["big"], "judge": "big"}
    with pytest.raises(ConfigError, match=words):
        settings_of({**tables, "outcomes": {"path": "o"}, "shadow": shadow, **change})


def test_nothing_is_drawn_by_default(start, path, upstream, tmp_path):
    server = start(outcomes={"path": str(path)}, log={"path": str(tmp_path / "log.jsonl")})
    ask(server)
    assert "shadow" not in receipts(tmp_path)[0]
    assert done(server, 0) == {}
    assert upstream.models == ["small"]


def test_a_model_whose_requests_are_translated_is_asked(shadowed, upstream):
    class Translated:
        def serves(self, dialect: Any) -> bool:
            return dialect.name == "chat"

        async def send(self, upstream: Any, call: Any) -> Answer:
            return Answer(200, [], completion(call.model, "In another dialect"), math.inf)

    server = shadowed()
    models = server.state.snapshot.models
    big = replace(models["big"], dialects=frozenset(["messages"]), translation=Translated())
    server.state.snapshot = replace(server.state.snapshot, models={**models, "big": big})
    ask(server)
    assert list(done(server)) in (["win"], ["loss"])
    assert upstream.models == ["small", "judge"]
    assert "In another dialect" in upstream.requests[1].json["messages"][0]["content"]


def test_a_model_that_a_pool_excluded_is_not_asked(shadowed, tables, upstream):
    tables["pool"] = {"objective": {"target": 0.5}, "models": ["big", "small"], "routers": ["mf"]}
    for name in ("big", "small"):
        tables["models"][name].update(success=0.9, output_tokens=100)
    tables["models"]["big"].update(input_price=5.0, context_window=50)
    server = shadowed()
    assert server.post({"model": "router-mf", "messages": HELLO}).headers["x-turnout-model"] == "small"
    assert done(server) == {"no_model": 1}
    assert upstream.models == ["small"]


def test_a_model_whose_quota_is_used_up_is_not_asked(shadowed, tables, upstream):
    tables["models"]["big"]["quota"] = 1
    server = shadowed()
    assert server.post({"model": "big", "messages": HELLO}).status_code == 200
    ask(server)
    assert done(server) == {"no_model": 1}
    assert upstream.models == ["big", "small"]


def test_check_says_what_is_compared(shadowed):
    from turnout.serve.describe import lines

    found = [line for line in lines(shadowed(share=0.05).state.snapshot) if line.startswith("shadow")]
    assert found == ["shadow      5.00% of requests without tools and media also to big; judge judge; at most 1 a day"]


def test_a_reload_changes_what_is_compared(shadowed, upstream, tmp_path):
    server = shadowed()
    server.tables["shadow"]["share"] = 0.0
    assert httpx.post(f"{server.admin_url}/admin/reload").status_code == 200
    ask(server)
    assert "shadow" not in receipts(tmp_path)[0]
    assert upstream.models == ["small"]
    assert done(server, 0) == {}
