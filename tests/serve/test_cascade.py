"""Routers with ``mode = "cascade"``: answers are judged before the client gets a byte."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_upstream import completion, event, refuse
from tests.serve.cascades import BY_LOGPROB, DISCARD, IDENTITY, KEEP, models, receipt_of, with_logprobs
from tests.serve.dialects import HELLO, SPOKEN, response_stream, streaming

from turnout import ConfigError
from turnout.cascade import Form
from turnout.serve.describe import lines
from turnout.serve.settings.file import settings_of


@pytest.fixture(params=list(SPOKEN))
def spoken(request):
    return SPOKEN[request.param]


@pytest.mark.parametrize(
    ("form", "words", "asked"), [(KEEP, "I am small", ["small"]), (DISCARD, "I am big", ["small", "big"])]
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_is_kept_or_discarded(cascading, upstream, spoken, form, words, asked, is_stream):
    server = cascading(form)
    answer = server.post(spoken.body("router-mf", stream=is_stream), spoken.path)
    assert answer.headers["x-turnout-cascade"] == ("kept" if form is KEEP else "discarded")
    assert answer.headers["x-turnout-model"] == asked[-1]
    assert models(upstream) == asked
    if is_stream:
        expected = b"".join(spoken.stream(asked[-1], ("I", " am ", asked[-1])))
        assert re.sub(rb', "discarded": \[.*?\]', b"", answer.content) == expected
    else:
        assert words in answer.text


def test_events_with_discarded_usage_keep_their_line_ends(cascading, upstream):
    spoken = SPOKEN["messages"]
    parts = [one.replace(b"\n", b"\r\n") for one in spoken.stream("big", ("I", " am ", "big"))]
    upstream.by_model["big"] = streaming(*parts)
    answer = cascading(DISCARD).post(spoken.body("router-mf", stream=True), spoken.path)
    assert b'"discarded"' in answer.content
    assert re.sub(rb', "discarded": \[.*?\]', b"", answer.content) == b"".join(parts)


@pytest.mark.parametrize(("logprob", "model"), [(-0.1, "small"), (-2.0, "big")])
def test_log_probabilities_decide(cascading, upstream, logprob, model):
    upstream.by_model["small"] = with_logprobs(logprob)
    answer = cascading(BY_LOGPROB, DISCARD).post({"model": "router-mf", "messages": HELLO})
    assert answer.headers["x-turnout-model"] == model
    assert (upstream.requests[0].json["logprobs"], upstream.requests[0].json["top_logprobs"]) == (True, 5)
    assert all("logprobs" not in one.json for one in upstream.requests[1:])


def test_log_probabilities_of_a_stream_of_responses_decide(cascading, upstream):
    async def script(exchange: Any) -> None:
        await exchange.begin_stream()
        for piece in response_stream(exchange.json["model"], ("I", " am ")):
            await exchange.chunk(piece.replace(b'"logprobs": []', b'"logprobs": [{"token": "I", "logprob": -0.01}]'))
        await exchange.chunk(b"")

    upstream.by_model["small"] = script
    answer = cascading(BY_LOGPROB, DISCARD).post({"model": "router-mf", "input": "Hi", "stream": True}, "/v1/responses")
    assert answer.headers["x-turnout-cascade"] == "kept"
    assert upstream.requests[0].json["include"] == ["message.output_text.logprobs"]


def test_an_upstream_without_log_probabilities_is_judged_by_the_rest(cascading, upstream):
    assert (
        cascading(BY_LOGPROB, KEEP).post({"model": "router-mf", "messages": HELLO}).headers["x-turnout-model"]
        == "small"
    )


def test_upstreams_that_refuse_log_probabilities_are_not_asked(cascading, upstream):
    cascading(BY_LOGPROB, KEEP, ask_logprobs=False).post({"model": "router-mf", "messages": HELLO})
    assert "logprobs" not in upstream.requests[0].json


def test_the_receipt_and_the_usage_have_both_calls(cascading, upstream):
    server = cascading(DISCARD)
    answer = server.post({"model": "router-mf", "messages": HELLO}).json()
    discarded = {"model": "small", "input_tokens": 1, "output_tokens": 1, "cost": 2e-6, "estimated": False}
    assert answer["usage"]["discarded"] == [discarded]
    receipt = receipt_of(server)
    judged = {name: receipt[name] for name in ("p_error", "p_error_limit", "signals")}
    assert receipt["discarded"] == [{**discarded, **judged}]
    assert (receipt["served"], receipt["action"], receipt["kept"]) == ("big", "cascade", False)
    assert receipt["cost"] == pytest.approx(22e-6)
    assert receipt["p_error"] > receipt["p_error_limit"] == pytest.approx(0.5)


def test_the_tokens_of_a_discarded_stream_are_estimated(cascading, upstream):
    server = cascading(DISCARD)
    assert server.post({"model": "router-mf", "messages": HELLO, "stream": True}).status_code == 200
    [discarded] = receipt_of(server)["discarded"]
    assert (discarded["input_tokens"], discarded["output_tokens"], discarded["cost"]) == (None, 3, None)
    assert discarded["estimated"]


def test_a_stream_is_released_after_the_held_tokens(cascading, upstream):
    released = threading.Event()

    async def script(exchange: Any) -> None:
        import asyncio

        await exchange.begin_stream()
        await exchange.chunk(event({"content": "I"}) + event({"content": " am "}))
        await asyncio.get_running_loop().run_in_executor(None, released.wait, 20)
        await exchange.chunk(event({"content": "late"}) + event({}, finish="stop") + b"data: [DONE]\n\n")
        await exchange.chunk(b"")

    upstream.by_model["small"] = script
    stream = (
        cascading(KEEP, hold_tokens=2).openai().chat.completions.create(model="router-mf", messages=HELLO, stream=True)
    )
    words = []
    for chunk in stream:
        words.append(chunk.choices[0].delta.content)
        released.set()
    assert words == ["I", " am ", "late", None]


def test_outside_of_the_band_nothing_is_judged(cascading, upstream):
    for band, model in (({"low": 1.0}, "small"), ({"high": 0.0}, "big")):
        answer = cascading(BY_LOGPROB, DISCARD, **band).post({"model": "router-mf", "messages": HELLO})
        assert answer.headers["x-turnout-model"] == model
        assert "x-turnout-cascade" not in answer.headers
        assert "logprobs" not in upstream.requests[-1].json
    assert models(upstream) == ["small", "big"]


def test_a_discarded_answer_is_better_than_an_error_of_the_strong_model(cascading, upstream):
    upstream.by_model["big"] = refuse(500)
    answer = cascading(DISCARD).post({"model": "router-mf", "messages": HELLO})
    assert (answer.status_code, answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == (
        200,
        "small",
        "500",
    )


def test_the_strong_model_answers_where_the_weak_one_fails(cascading, upstream):
    upstream.by_model["small"] = refuse(500)
    answer = cascading(KEEP).post({"model": "router-mf", "messages": HELLO})
    assert (answer.headers["x-turnout-model"], answer.headers["x-turnout-fallback"]) == ("big", "500")


def test_a_stream_that_breaks_while_it_is_held_is_replaced(cascading, upstream):
    async def script(exchange: Any) -> None:
        await exchange.begin_stream()
        await exchange.chunk(event({"content": "broken"}))
        exchange.abort()

    upstream.by_model["small"] = script
    answer = cascading(KEEP).post({"model": "router-mf", "messages": HELLO, "stream": True})
    assert answer.headers["x-turnout-model"] == "big"
    assert "broken" not in answer.text


def test_an_error_of_the_client_is_passed_on(cascading, upstream):
    upstream.by_model["small"] = refuse(400)
    answer = cascading(DISCARD).post({"model": "router-mf", "messages": HELLO})
    assert answer.status_code == 400
    assert models(upstream) == ["small"]


def test_calls_of_tools_are_judged_and_pictures_need_the_capability(cascading, upstream, tables):
    by_length = Form(["length"], [100.0], 0.0, -50.0, *IDENTITY)

    async def script(exchange: Any) -> None:
        document = json.loads(completion("small", ""))
        call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        document["choices"][0]["message"] |= {"content": None, "tool_calls": [call]}
        await exchange.whole(200, json.dumps(document).encode())

    upstream.by_model["small"] = script
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    server = cascading(by_length)
    assert (
        server.post({"model": "router-mf", "messages": HELLO, "tools": [tool]}).headers["x-turnout-cascade"]
        == "discarded"
    )
    tables["models"]["small"]["capabilities"] = ["tools"]
    picture = [
        {"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": "x"}}]}
    ]
    answer = cascading(KEEP).post({"model": "router-mf", "messages": picture})
    assert answer.headers["x-turnout-model"] == "big"


def test_events_of_messages_are_read_part_by_part(cascading, upstream):
    async def script(exchange: Any) -> None:
        await exchange.begin_stream()
        await exchange.chunk(b"".join(SPOKEN["messages"].stream("small", ("12345", "67890"))))
        await exchange.chunk(b"")

    upstream.by_model["small"] = script
    server = cascading(Form(["length"], [1.0], 0.0, -20.0, *IDENTITY))
    body = {"model": "router-mf", "max_tokens": 9, "messages": HELLO, "stream": True}
    assert server.post(body, "/v1/messages").headers["x-turnout-cascade"] == "kept"
    receipt = receipt_of(server)
    assert receipt["signals"] == {"length": pytest.approx(2.397895, abs=1e-6)}


def test_check_says_which_signals_are_used(cascading):
    found = "\n".join(lines(cascading(BY_LOGPROB, Form(["length"], [0.0], 0.0, 0.0, *IDENTITY)).state.snapshot))
    assert "cascade     mf: judge " in found
    assert "signals     mf: chat: mean_logprob, the prompt's win rate; without log-probabilities: length" in found
    assert "signals     mf: messages: length, the prompt's win rate" in found


@pytest.mark.parametrize(
    ("options", "message"),
    [({"judge": ""}, "needs judge"), ({"judge": "missing.json"}, "no such file"), ({"hold_tokens": 0}, "hold_tokens")],
)
def test_settings_of_a_cascade_are_checked(cascading, options, message):
    with pytest.raises(ConfigError, match=message):
        cascading(KEEP, **options)


def test_a_judge_needs_a_form_without_log_probabilities(cascading):
    with pytest.raises(ConfigError, match="no form for answers without log-probabilities"):
        cascading(BY_LOGPROB)


def test_a_cascade_needs_a_pair_and_a_fallback(tables, tmp_path: Path):
    routers = {"mf": {**tables["routers"]["mf"], "mode": "cascade", "judge": str(tmp_path / "judge.json")}}
    with pytest.raises(ConfigError, match="fallback must be true"):
        settings_of({**tables, "routers": routers, "server": {"fallback": False}})
    prices = {
        name: {"upstream": "main", "success": 0.5, "input_price": 1, "output_price": 1} for name in ("big", "small")
    }
    with pytest.raises(ConfigError, match="in a pool, expected judges"):
        settings_of({"pool": {}, "upstreams": tables["upstreams"], "models": prices, "routers": routers})


@pytest.mark.parametrize(("band", "model", "action"), [({}, "small", "cascade"), ({"high": 0.0}, "big", "strong")])
def test_a_decision_alone_names_the_model_that_is_asked_first(cascading, upstream, band, model, action):
    """At a threshold of 0 every prompt is one for the strong model, which a cascade asks last."""
    server, name = cascading(KEEP, **band), "router-mf-0.0"
    bodies = (
        {"model": name, "prompt": "Hello!"},
        {"model": name, "prompt": ["Hello!", "Hi"]},
        {"model": name, "messages": HELLO},
        {"requests": [{"model": name, "messages": HELLO}]},
    )
    for body in bodies:
        for one in server.post(body, "/v1/route").json()["decisions"]:
            assert (one["model"], one["action"], one["is_strong"]) == (model, action, True)
    server.post({"model": name, "messages": HELLO})
    assert models(upstream)[0] == model


def test_a_learned_score_decides(cascading, upstream, artifact, tmp_path, monkeypatch):
    class Fake:
        strong = "wrong"

        async def aroute(self, text):
            return SimpleNamespace(win_rate=0.9 if text.endswith("[SEP] I am small") else 0.1)

    form = Form(["scorer"], [-10.0], 0.0, 5.0, *IDENTITY)
    with pytest.raises(ConfigError, match="reads the signal scorer, expected scorer"):
        cascading(form)
    monkeypatch.setattr("turnout.serve.routers.scorers.load", lambda path: Fake())
    server = cascading(form, scorer="folder")
    answer = server.post({"model": "router-mf", "messages": HELLO})
    assert (answer.headers["x-turnout-cascade"], receipt_of(server)["signals"]) == (
        "discarded",
        {"scorer": pytest.approx(0.1)},
    )
