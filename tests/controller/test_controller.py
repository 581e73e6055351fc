"""The Controller: RouteLLM's signature and behavior, and what it adds."""

from __future__ import annotations

import asyncio
import copy
import gc
import importlib.util
import pickle
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import turnout
from turnout import Controller, RoutingError
from turnout.controller.model_calls import ModelCalls
from turnout.pool import Effort

ROOT = Path(__file__).parents[2]
HELLO = [{"role": "user", "content": "Hello!"}]

_spec = importlib.util.spec_from_file_location("scripted_upstream", ROOT / "tests" / "serve" / "upstream.py")
assert _spec is not None
assert _spec.loader is not None
scripted = importlib.util.module_from_spec(_spec)
sys.modules.setdefault("scripted_upstream", scripted)
_spec.loader.exec_module(scripted)


@pytest.fixture
def upstream() -> Iterator[Any]:
    with scripted.ScriptedUpstream() as found:
        yield found


@pytest.fixture
def client(upstream) -> Controller:
    return Controller(["mf", "random"], "big", "small", api_base=upstream.base_url, api_key="sk-key")


def test_completions_go_to_the_model_that_the_threshold_chooses(client, upstream):
    strong = client.chat.completions.create(model="router-mf-0.0", messages=HELLO)
    weak = client.completion(model="router-mf-1.0", messages=HELLO)
    assert [strong.choices[0].message.content, weak.choices[0].message.content] == ["I am big", "I am small"]
    assert upstream.requests[0].headers["authorization"] == "bearer sk-key"


def test_router_and_threshold_may_be_arguments(client, upstream):
    client.completion(router="mf", threshold=1.0, messages=HELLO)
    client.completion(router="random", threshold=1.0, model="router-mf-0.0", messages=HELLO)
    assert upstream.models == ["small", "big"]


def test_a_share_takes_the_place_of_a_threshold(client, upstream):
    client.completion(model="router-mf-share-1.0", messages=HELLO)
    client.completion(model="router-random-share-0.0", messages=HELLO)
    assert upstream.models == ["big", "small"]


async def test_asynchronous_calls_stream_and_do_not(client, upstream):
    whole = await client.acompletion(model="router-mf-0.0", messages=HELLO)
    assert whole.choices[0].message.content == "I am big"
    stream = await client.chat.completions.acreate(model="router-mf-1.0", messages=HELLO, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "I am small"


def test_asynchronous_calls_work_in_one_event_loop_after_another(client):
    for _ in range(2):
        asyncio.run(client.acompletion(model="router-mf-0.0", messages=HELLO))


def test_streams(client):
    stream = client.completion(model="router-mf-1.0", messages=HELLO, stream=True)
    assert [chunk.choices[0].delta.content for chunk in stream] == ["I", " am ", "small", None]


def test_extra_arguments_are_handed_on_untouched(client, upstream):
    extra = {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "top_k": 5,
        "extra_body": {"guided_json": {"a": 1}},
    }
    client.completion(model="router-mf-1.0", messages=HELLO, **extra)
    arrived = upstream.requests[0].json
    assert arrived == {
        "model": "small", "messages": HELLO, "tools": extra["tools"], "tool_choice": "auto",
        "response_format": {"type": "json_object"}, "top_k": 5, "guided_json": {"a": 1},
    }  # fmt: skip


def test_models_are_counted_by_router(client):
    for model in ("router-mf-0.0", "router-mf-0.0", "router-mf-1.0", "router-random-0.0"):
        client.completion(model=model, messages=HELLO)
    client.route("Hello!", "mf", 0.0)
    counts = {router: dict(models) for router, models in client.model_counts.items()}
    assert counts == {"mf": {"big": 2, "small": 1}, "random": {"big": 1}}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ({"model": "gpt-4"}, r"expected router-\[name\]-\[threshold\]"),
        ({"model": "router-mf"}, r"expected router-\[name\]-\[threshold\]"),
        ({"model": "router-bert-0.5"}, "available routers: mf, random"),
        ({"model": "router-mf-high"}, "threshold is 'high', expected a number"),
        ({"model": "router-mf-1.5"}, "between 0 and 1"),
        ({"model": "router-mf--0.5"}, "between 0 and 1"),
        ({"model": "router-mf-share-2"}, "share is '2', expected a number"),
        ({}, "unspecified"),
        ({"router": "mf"}, "unspecified"),
        ({"router": "nope", "threshold": 0.5}, "invalid router 'nope'"),
        ({"router": "mf", "threshold": True}, "between 0 and 1"),
        ({"model": "router-mf-0.5", "messages": []}, "an empty list"),
        ({"model": "router-mf-0.5", "messages": [{"role": "user", "content": "\ud800"}]}, "UTF-8"),
    ],
)
def test_routing_errors_say_what_was_expected(client, upstream, call, words):
    with pytest.raises(RoutingError, match=words):
        client.completion(**{"messages": HELLO, **call})
    with pytest.raises(RoutingError, match=words):
        asyncio.run(client.acompletion(**{"messages": HELLO, **call}))
    assert not upstream.requests


def test_route_gives_the_name_of_a_model(client):
    assert [client.route("Hello!", "mf", threshold) for threshold in (0.0, 1.0)] == ["big", "small"]
    with pytest.raises(RoutingError):
        client.route("Hello!", "mf", 1.5)
    with pytest.raises(RoutingError):
        client.route("Hello!", "bert", 0.5)


def test_win_rates_of_many_prompts_are_an_array_or_a_series_as_the_prompts(client):
    prompts = ["Hello!", "Prove it.", "中文"]
    expected = turnout.load().win_rates(["hello", *prompts[1:]])
    np.testing.assert_array_equal(client.batch_calculate_win_rate(prompts, "mf"), expected)
    pandas = pytest.importorskip("pandas")
    series = pandas.Series(prompts, index=[7, 8, 9])
    found = client.batch_calculate_win_rate(series, "mf")
    assert list(found.index) == [7, 8, 9]
    np.testing.assert_allclose(found.to_numpy(), expected)


def test_random_is_seedable_and_even():
    def rates(seed: int | None) -> list[float]:
        client = Controller(["random"], "big", "small", config={"random": {"seed": seed}})
        return client.batch_calculate_win_rate(["x"] * 2000, "random").tolist()

    assert rates(1) == rates(1) != rates(2)
    assert abs(np.mean(rates(1)) - 0.5) < 0.05


def test_context_says_what_is_routed_on(upstream):
    seen = []

    class Seen:
        def win_rate(self, prompt: str) -> float:
            seen.append(prompt)
            return 0.0

    turnout.register_router("seen", Seen)
    messages = [
        {"role": "system", "content": "system"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "answer"},
        {"role": "user", "content": [{"type": "text", "text": "second"}, {"type": "image_url", "image_url": {}}]},
        {"role": "tool", "content": "result"},
    ]
    for context in ("last_user", "conversation", lambda messages: messages[0]["content"]):
        client = Controller(["seen"], "big", "small", api_base=upstream.base_url, api_key="x", context=context)
        client.completion(model="router-seen-0.5", messages=messages)
    assert seen == ["second", "first\n\nsecond", "system"]


def test_messages_may_be_objects_of_earlier_answers_and_generators(client, upstream):
    answer = client.completion(model="router-mf-1.0", messages=HELLO)
    parts = [{"type": "text", "text": "And now?"}]
    messages = [*HELLO, answer.choices[0].message, {"role": "user", "content": (part for part in parts)}]
    client.completion(model="router-mf-1.0", messages=(message for message in messages))
    sent = upstream.requests[-1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert (sent[1]["content"], sent[2]["content"]) == ("I am small", parts)
    asyncio.run(client.acompletion(model="router-mf-1.0", messages=(message for message in sent)))
    assert upstream.requests[-1].json["messages"] == sent


def test_requests_without_a_message_of_the_user_are_routed_on_their_last_text(upstream):
    rate = turnout.load().win_rate("Say hi.")
    client = Controller(["mf"], "big", "small", api_base=upstream.base_url, api_key="x")
    for role in ("system", "developer", "tool"):
        message = {"role": role, "content": "Say hi.", **({"tool_call_id": "1"} if role == "tool" else {})}
        for threshold in (rate, rate + 1e-6):
            client.completion(router="mf", threshold=threshold, messages=[message])
    assert upstream.models == ["big", "small"] * 3


def test_pickling_and_copying_say_what_to_do(client):
    for work in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="create one with the same arguments in each process"):
            work(client)


def test_models_may_have_endpoints_and_keys_of_their_own(upstream, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    with scripted.ScriptedUpstream() as other:
        models = {"small": {"base_url": other.base_url, "name": "tiny"}}
        client = Controller(["mf"], "big", "small", api_base=upstream.base_url, api_key="sk-common", models=models)
        client.completion(model="router-mf-1.0", messages=HELLO)
        assert other.models == ["tiny"]
        assert "sk-common" not in str(other.requests[0].headers)
        assert "sk-environment" not in str(other.requests[0].headers)
        assert "org-1" not in str(other.requests[0].headers)
    with pytest.raises(turnout.ConfigError, match="unknown key 'url'"):
        Controller(["mf"], "big", "small", models={"small": {"url": "x"}})


def test_requests_are_pinned_to_the_model_that_serves_them(upstream):
    models = {"small": {"capabilities": ["tools"]}}
    client = Controller(["mf"], "big", "small", api_base=upstream.base_url, api_key="x", models=models)
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    client.completion(model="router-mf-1.0", messages=image)
    client.completion(model="router-mf-1.0", messages=HELLO, tools=[{"type": "function"}])
    assert upstream.models == ["big", "small"]
    neither = Controller(["mf"], "tiny", "small", models={**models, "tiny": models["small"]})
    with pytest.raises(RoutingError, match=r"the request needs images, which none of these models serves: \w+, \w+$"):
        neither.completion(model="router-mf-1.0", messages=image)
    with pytest.raises(turnout.ConfigError, match="unknown capability 'smell'"):
        Controller(["mf"], "big", "small", models={"small": {"capabilities": ["smell"]}})


def test_names_of_providers_go_through_litellm(monkeypatch, upstream):
    calls = ModelCalls(upstream.base_url, None, {})
    assert calls.endpoint("openai/gpt-4").name == "gpt-4"
    assert calls.endpoint("big").name == "big"
    if importlib.util.find_spec("litellm") is None:
        assert calls.endpoint("anthropic/claude").name == "anthropic/claude"
        with pytest.raises(turnout.ConfigError, match=r"turnout\[litellm\]"):
            ModelCalls(None, None, {}).endpoint("anthropic/claude")
    else:
        assert calls.endpoint("anthropic/claude") is None
        assert calls.endpoint("meta-llama/llama-3").name == "meta-llama/llama-3"


def test_litellm_is_called_with_everything(monkeypatch):
    litellm = pytest.importorskip("litellm")
    seen: dict[str, Any] = {}
    monkeypatch.setattr(litellm, "completion", lambda **arguments: seen.update(arguments) or "answered")
    client = Controller(["mf"], "big", "anthropic/claude", api_key="sk-x")
    assert client.completion(model="router-mf-1.0", messages=HELLO, temperature=0.5) == "answered"
    assert seen == {
        "model": "anthropic/claude", "messages": HELLO, "temperature": 0.5, "api_base": None, "api_key": "sk-x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("routers", "config", "words"),
    [
        (["nope"], None, "no router 'nope'"),
        (["causal_llm"], None, "turnout import causal_llm"),
        (["mf"], {"mf": {"checkpoint_path": "routellm/mf_gpt4_augmented"}}, "turnout import mf"),
        (["mf"], {"mf": {"paht": "x"}}, "unknown option 'paht'"),
        (["random"], {"random": {"sead": 1}}, "sead"),
        (["a b"], None, "expected letters"),
        ("mf", None, "expected a list"),
        (["x"], {"x": {"class": "nowhere:Class"}}, "nowhere"),
        (["x"], {"x": {"class": "os:path"}}, "expected a class"),
        (["x"], {"x": {"class": "builtins:dict"}}, "without win_rate"),
    ],
)
def test_routers_that_cannot_be_had_are_told(routers, config, words):
    with pytest.raises(turnout.ConfigError, match=words):
        Controller(routers, "big", "small", config=config)


def test_missing_packages_are_named_with_their_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    client = Controller(["mf"], "big", "small", api_base="http://localhost:1/v1")
    with pytest.raises(turnout.ConfigError, match=r"turnout\[openai\]"):
        client.completion(model="router-mf-0.0", messages=HELLO)


def test_the_key_is_not_in_the_text_of_a_controller():
    client = Controller(["mf"], "big", "small", api_key="sk-secret")
    assert "sk-secret" not in f"{client!r} {client._calls!r}"


def test_routellms_own_example_runs_with_only_the_import_changed(upstream):
    """The quick start of RouteLLM's README, with a server that answers for both providers."""
    script = """
        import os
        from turnout import Controller

        os.environ["OPENAI_API_KEY"] = "sk-XXXXXX"
        os.environ["ANYSCALE_API_KEY"] = "esecret_XXXXXX"

        client = Controller(
          routers=["mf"],
          strong_model="gpt-4-1106-preview",
          weak_model="anyscale/mistralai/Mixtral-8x7B-Instruct-v0.1",
        )
        response = client.chat.completions.create(
          model="router-mf-0.11593",
          messages=[
            {"role": "user", "content": "Hello!"}
          ]
        )
        print(response.choices[0].message.content)
    """
    import os
    import textwrap

    environment = {**os.environ, "OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_BASE": upstream.base_url}
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert found.stdout == "I am gpt-4-1106-preview\n", found.stderr


def test_a_controller_is_freed_when_it_is_dropped():
    """It is in no reference cycle, so its routers do not wait for the garbage collector."""
    client = turnout.Controller(["mf"], strong_model="large", weak_model="small")
    gone = weakref.ref(client.routers["mf"])
    assert client.chat.completions.create
    gc.disable()
    try:
        del client
        assert gone() is None
    finally:
        gc.enable()


POOL = turnout.Pool(
    [
        turnout.Model("big", success=0.9, input_price=5.0, output_price=20.0, capabilities=["tools"]),
        turnout.Model(
            "small",
            success=0.6,
            input_price=0.1,
            output_price=0.4,
            efforts={"high": Effort(success=0.8, output_tokens=900)},
            capabilities=[],
            context_window=4000,
        ),
    ],
    target=0.5,
)


def test_a_pool_chooses_by_its_objective_or_that_of_the_name(upstream):
    client = Controller(["mf"], pool=POOL, api_base=upstream.base_url, api_key="sk-key")
    for name, more in (
        ("router-mf", {}),
        ("router-mf-target-0.85", {}),
        ("router-mf-target-0.75", {}),
        ("router-mf", {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ("router-mf", {"messages": [{"role": "system", "content": "word " * 3000}, *HELLO]}),
    ):
        client.completion(**{"model": name, "messages": HELLO, **more})
    asyncio.run(client.acompletion(router="mf", messages=HELLO))
    assert upstream.models == ["small", "big", "small", "big", "big", "small"]
    assert [one.json.get("reasoning_effort") for one in upstream.requests[:3]] == [None, None, "high"]
    assert client.model_counts["mf"] == {"small": 2, "big": 3, "small:high": 1}
    assert client.route("Hello!", "mf") == "small"


def test_a_pool_and_a_pair_answer_to_their_own_names(upstream):
    client = Controller(["mf"], "one", "two", pool=POOL, api_base=upstream.base_url)
    client.completion(model="router-mf-0.0", messages=HELLO)
    client.completion(model="router-mf", messages=HELLO)
    assert upstream.models == ["one", "small"]


@pytest.mark.parametrize(
    ("arguments", "name", "message"),
    [
        ({"pool": POOL}, "router-mf-0.5", "there is only a pool"),
        ({"strong_model": "a", "weak_model": "b"}, "router-mf-target-0.5", "target is an objective of a pool"),
        ({"strong_model": "a", "weak_model": "b"}, "router-mf", "expected router-"),
        ({"pool": POOL}, "router-random", "available routers: mf"),
    ],
)
def test_a_name_of_what_is_not_there_is_an_error(arguments, name, message):
    with pytest.raises(RoutingError, match=message):
        Controller(["mf"], **arguments).completion(model=name, messages=HELLO)


@pytest.mark.parametrize(
    ("routers", "arguments", "message"),
    [
        (["mf"], {}, "strong_model and weak_model are missing, expected both, or a pool"),
        (["mf"], {"strong_model": "a", "pool": POOL}, "expected both, or a pool"),
        (["random"], {"pool": POOL}, "router random is not an artifact"),
    ],
)
def test_a_controller_without_two_models_needs_a_pool_of_artifacts(routers, arguments, message):
    with pytest.raises(turnout.ConfigError, match=message):
        Controller(routers, **arguments)
