"""``turnout.Cascade`` against scripted models."""

from __future__ import annotations

import importlib.util
import json
import math
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import turnout
from turnout.cascade import Answer, Form, Judge, Policy, Scorer

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("scripted_upstream", ROOT / "tests" / "serve" / "upstream.py")
assert _spec is not None
assert _spec.loader is not None
scripted = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("scripted_upstream", scripted)
_spec.loader.exec_module(scripted)

HELLO: Any = [{"role": "user", "content": "What is 2 + 2?"}]
IDENTITY = ([0.0, 1.0], [0.0, 1.0])
#: P(error) is that of the first token.
BY_LOGPROB = Form(["mean_logprob"], [-10.0], 0.0, -5.0, *IDENTITY)


def _judge(form: Form = BY_LOGPROB, low: float = 0.0, high: float = 1.1) -> Judge:
    return Judge([form], Policy(cheap_cost=0.1, strong_cost=1.0, error_cost=2.0, low=low, high=high))


def _with_logprob(logprob: float, text: str = "4") -> Any:
    async def script(exchange: Any) -> None:
        document = json.loads(scripted.completion("small", text))
        if exchange.json.get("logprobs"):
            tops = [{"token": "Yes", "logprob": logprob}, {"token": "no", "logprob": math.log1p(-math.exp(logprob))}]
            document["choices"][0]["logprobs"] = {"content": [{"token": "4", "logprob": logprob, "top_logprobs": tops}]}
        await exchange.whole(200, json.dumps(document).encode())

    return script


@pytest.fixture
def upstream() -> Iterator[Any]:
    with scripted.ScriptedUpstream() as found:
        yield found


def _cascade(upstream: Any, judge: Judge | None = None, **options: Any) -> turnout.Cascade:
    prices = {"small": (1.0, 2.0), "big": (10.0, 20.0)}
    return turnout.Cascade(
        turnout.load(),
        judge or _judge(),
        strong="big",
        weak="small",
        api_base=upstream.base_url,
        prices=prices,
        **options,
    )


def test_a_likely_answer_is_kept(upstream: Any) -> None:
    upstream.by_model["small"] = _with_logprob(-0.1)
    found = _cascade(upstream).completion(messages=HELLO)
    assert (found.model, found.action, found.completion.choices[0].message.content) == ("small", "cascade", "4")
    assert found.p_error == pytest.approx(1 / (1 + math.exp(4)))
    assert upstream.models == ["small"]
    assert found.cost == pytest.approx(3e-6)
    assert upstream.requests[0].json["top_logprobs"] == 5


def test_an_unlikely_answer_is_discarded_and_both_calls_are_counted(upstream: Any) -> None:
    upstream.by_model["small"] = _with_logprob(-2.0)
    found = _cascade(upstream).completion(messages=HELLO)
    assert (found.model, found.completion.choices[0].message.content) == ("big", "I am big")
    assert [call.model for call in found.calls] == ["small", "big"]
    assert found.cost == pytest.approx(33e-6)
    assert "logprobs" not in upstream.requests[1].json


async def test_asynchronous_calls_are_the_same(upstream: Any) -> None:
    upstream.by_model["small"] = _with_logprob(-2.0)
    cascade = _cascade(upstream)
    assert (await cascade.acompletion(messages=HELLO)).calls == cascade.completion(messages=HELLO).calls


def test_outside_of_the_band_nothing_is_judged(upstream: Any) -> None:
    easy = _cascade(upstream, _judge(low=1.0)).completion(messages=HELLO)
    hard = _cascade(upstream, _judge(high=0.0)).completion(messages=HELLO)
    assert [(one.action, one.model, one.p_error) for one in (easy, hard)] == [
        ("cheap", "small", None),
        ("strong", "big", None),
    ]
    assert upstream.models == ["small", "big"]


def test_agreement_and_self_check_ask_more(upstream: Any) -> None:
    upstream.by_model["small"] = _with_logprob(math.log(0.75))
    form = Form(["agreement", "self_check"], [0.0, -1.0], 0.0, 0.0, *IDENTITY)
    found = _cascade(upstream, _judge(form)).completion(messages=HELLO)
    assert found.p_error == pytest.approx(1 / (1 + math.exp(0.75)))
    assert [call.model for call in found.calls] == ["small"] * 4
    assert [one.json.get("temperature") for one in upstream.requests] == [None, 0.8, 0.8, 0]
    assert "Proposed answer: 4" in upstream.requests[3].json["messages"][0]["content"]


def test_answers_of_other_models_are_compared(upstream: Any) -> None:
    upstream.by_model["small"] = _with_logprob(-0.1)
    form = Form(["agreement"], [-4.0], 0.0, 2.0, *IDENTITY)
    for text, kept in (("4", "small"), ("5", "big")):
        upstream.by_model["tiny"] = _with_logprob(-0.1, text)
        found = _cascade(upstream, _judge(form), agree_with=["tiny"]).completion(messages=HELLO)
        assert found.model == kept
        assert [call.model for call in found.calls] == ["small", "tiny", *(["big"] if kept == "big" else [])]
    assert all("temperature" not in one.json for one in upstream.requests)


def test_calls_of_tools_count_as_text() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    completion = {"choices": [{"message": {"content": None, "tool_calls": [call]}}]}
    assert Answer.from_completion(completion).text == '{"a": 1}'


def _pool(**success: float) -> Any:
    models = [
        turnout.Model(name, success=chance, input_price=price, output_price=price)
        for (name, chance), price in zip(success.items(), (0.1, 1.0, 10.0), strict=False)
    ]
    return turnout.load(pool=turnout.Pool(models, tolerance=0))


@pytest.mark.parametrize(
    ("logprobs", "asked"),
    [((-0.1, -0.1), ["small"]), ((-2.0, -0.1), ["small", "middle"]), ((-2.0, -2.0), ["small", "middle", "big"])],
)
async def test_a_cascade_in_a_pool_goes_up_until_an_answer_is_kept(
    upstream: Any, logprobs: tuple[float, float], asked: list[str]
) -> None:
    for name, logprob in zip(("small", "middle"), logprobs, strict=True):
        upstream.by_model[name] = _with_logprob(logprob)
    judges = {"small": _judge(), "middle": _judge()}
    router = _pool(small=0.5, middle=0.7, big=0.9)
    cascade = turnout.Cascade(router, judges, api_base=upstream.base_url, prices={"small": (1, 2)})
    for found in (cascade.completion(messages=HELLO), await cascade.acompletion(messages=HELLO)):
        assert (found.action, found.model, [call.model for call in found.calls]) == ("cascade", asked[-1], asked)
        assert found.risk == pytest.approx(0.5)
    assert upstream.models == asked * 2


def test_bands_of_judges_choose_the_steps_of_a_pool(upstream: Any) -> None:
    router = _pool(small=0.5, middle=0.7, big=0.9)
    hard, easy = _judge(high=0.4), _judge(low=0.4)
    for judges, action, model in (
        ({"small": hard, "middle": easy}, "cheap", "middle"),
        ({"small": hard}, "strong", "big"),
        ({"small": _judge(low=0.6)}, "cheap", "small"),
    ):
        found = turnout.Cascade(router, judges, api_base=upstream.base_url).completion(messages=HELLO)
        assert (found.action, found.model, found.p_error) == (action, model, None)


def test_an_upstream_without_logprobs_is_an_error_unless_a_form_needs_none(upstream: Any) -> None:
    with pytest.raises(turnout.ConfigError, match="lacks some of logprobs"):
        _cascade(upstream).completion(messages=HELLO)
    bare = Form([], [], 0.0, -3.0, *IDENTITY)
    judge = Judge([BY_LOGPROB, bare], _judge().policy)
    assert _cascade(upstream, judge).completion(messages=HELLO).model == "small"


def test_a_model_without_a_capability_is_not_asked(upstream: Any) -> None:
    picture: Any = [
        {"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": "x"}}]}
    ]
    cascade = _cascade(upstream, models={"small": {"capabilities": []}})
    assert cascade.completion(messages=picture).action == "strong"
    assert upstream.models == ["big"]


@pytest.mark.parametrize(("option", "message"), [({"stream": True}, "whole answers"), ({"model": "x"}, "leave it out")])
def test_options_that_a_cascade_does_not_take(upstream: Any, option: dict[str, Any], message: str) -> None:
    with pytest.raises(turnout.RoutingError, match=message):
        _cascade(upstream).completion(messages=HELLO, **option)
    assert upstream.models == []


def test_wrong_arguments(upstream: Any) -> None:
    with pytest.raises(turnout.ConfigError, match="are both 'a'"):
        turnout.Cascade(turnout.load(), _judge(), strong="a", weak="a")
    with pytest.raises(turnout.ConfigError, match="needs judges by name"):
        turnout.Cascade(_pool(a=0.5), _judge())
    with pytest.raises(turnout.ConfigError, match="not in the pool: a"):
        turnout.Cascade(_pool(a=0.5), {"b": _judge()})
    with pytest.raises(turnout.ConfigError, match=r"prices\['c'\]"):
        turnout.Cascade(turnout.load(), _judge(), strong="a", weak="b", prices={"c": (1, 2)})
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(_cascade(upstream))


class _Classifier:
    """Holds answers with a 5 for wrong."""

    strong = "wrong"

    def route(self, prompt: str) -> Any:
        return SimpleNamespace(win_rate=0.9 if prompt.endswith("[SEP] 5") else 0.1)

    async def aroute(self, prompt: str) -> Any:
        return self.route(prompt)

    def win_rates(self, prompts: Any) -> Any:
        return [self.route(prompt).win_rate for prompt in prompts]


async def test_a_learned_score_decides(upstream: Any) -> None:
    judge = _judge(Form(["scorer"], [-10.0], 0.0, 5.0, *IDENTITY))
    with pytest.raises(turnout.ConfigError, match="give scorer"):
        _cascade(upstream, judge)
    for text, kept in (("4", "small"), ("5", "big")):
        upstream.by_model["small"] = _with_logprob(-0.1, text)
        cascade = _cascade(upstream, judge, scorer=Scorer(_Classifier()))
        assert cascade.completion(messages=HELLO).model == kept
        assert (await cascade.acompletion(messages=HELLO)).model == kept
