"""The hook alone, and inside LiteLLM's own proxy with the OpenAI-compatible upstream behind it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import turnout

# Otherwise LiteLLM fetches its table of prices when imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
pytest.importorskip("litellm", reason="needs LiteLLM's proxy: pip install 'litellm[proxy]'")
pytest.importorskip("fastapi", reason="needs LiteLLM's proxy: pip install 'litellm[proxy]'")

from litellm import Message
from litellm.exceptions import BadRequestError
from litellm.types.router import ClassifierPlugin, RoutingContext

from turnout.integrations.litellm import METADATA_KEY, RoutingHook, TierClassifier


def ask(prompt: str, model: str = "auto") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], "metadata": {"kept": 1}}


async def call(hook: RoutingHook, data: dict[str, Any], call_type: str = "acompletion") -> dict[str, Any] | None:
    return await hook.async_pre_call_hook(None, None, data, call_type)


async def test_model_becomes_the_routers_choice(pair: turnout.Router, prompts: list[str]) -> None:
    hook = RoutingHook({"auto": pair})
    for prompt in prompts:
        routed = await call(hook, ask(prompt))
        assert routed is not None
        expected = pair.route(prompt)
        assert routed["model"] == expected.model
        assert routed["metadata"]["kept"] == 1
        assert routed["metadata"][METADATA_KEY] == {
            "router": "auto",
            "model": expected.model,
            "win_rate": expected.win_rate,
            "threshold": expected.threshold,
        }


async def test_other_model_names_pass_untouched(pair: turnout.Router) -> None:
    hook = RoutingHook({"auto": pair})
    for model in ("large-model", "", None, 3, ["auto"]):
        data = {**ask("hello"), "model": model}
        assert await call(hook, data) is None
        assert data["model"] == model


CALLS = [
    ("acompletion", {"messages": [{"role": "user", "content": "{}"}]}),
    ("completion", {"messages": [{"role": "user", "content": [{"type": "text", "text": "{}"}]}]}),
    ("atext_completion", {"prompt": "{}"}),
    ("text_completion", {"prompt": ["{}"]}),
    ("aresponses", {"input": "{}"}),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_text", "text": "{}"}]}]}),
    (
        "anthropic_messages",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "{}"}]}], "system": "x"},
    ),
    ("agenerate_content", {"contents": [{"role": "user", "parts": [{"text": "{}"}]}]}),
    ("agenerate_content_stream", {"contents": {"parts": [{"text": "{}"}]}}),
    ("acreate_interaction", {"input": "{}"}),
    ("acreate_interaction", {"input": [{"type": "text", "text": "{}"}, {"type": "image", "uri": "x"}]}),
    ("acreate_interaction", {"input": [{"role": "user", "content": [{"type": "text", "text": "{}"}]}]}),
    ("acompact_responses", {"input": [{"type": "message", "role": "user", "content": "{}"}]}),
]


@pytest.mark.parametrize(("call_type", "body"), CALLS, ids=range(len(CALLS)))
async def test_every_type_of_call_that_generates_text_is_routed(
    pair: turnout.Router, strong_prompt: str, weak_prompt: str, call_type: str, body: dict[str, Any]
) -> None:
    hook = RoutingHook({"auto": pair})
    for prompt in (strong_prompt, weak_prompt):
        filled = json.loads(json.dumps(body).replace('"{}"', json.dumps(prompt)))
        routed = await call(hook, {"model": "auto", **filled, "litellm_metadata": {"kept": 1}}, call_type)
        assert routed is not None
        assert routed["model"] == pair.route(prompt).model
        # The provider's own field `metadata` stays as it is.
        assert "metadata" not in routed
        assert routed["litellm_metadata"]["kept"] == 1
        headers = await hook.async_post_call_response_headers_hook(routed, None, None)
        assert headers is not None
        assert headers["x-turnout-model"] == routed["model"]


#: A call without a prompt, or one whose model is not chosen by it.
OTHERS = [
    "aembedding", "aimage_generation", "aimage_edit", "amoderation", "arerank", "acreate_batch", "atranscription", "aspeech", "aocr",
    "asearch", "avideo_generation", "_arealtime", "_aresponses_websocket", "aget_responses", "adelete_responses", "acancel_responses",
    "allm_passthrough_route", "pass_through_endpoint", "a_type_of_tomorrow",
]  # fmt: skip


@pytest.mark.parametrize("call_type", OTHERS)
async def test_other_types_of_calls_pass_untouched(pair: turnout.Router, call_type: str) -> None:
    data = {"model": "auto", "input": "text"}
    assert await call(RoutingHook({"auto": pair}), data, call_type) is None
    assert data == {"model": "auto", "input": "text"}


async def test_messages_of_litellm_are_read_and_bare_replies_judged_with_what_they_answer(
    pair: turnout.Router, strong_prompt: str
) -> None:
    hook = RoutingHook({"auto": pair})
    messages = [{"role": "user", "content": strong_prompt}, Message(role="assistant", content="Shall I?")]
    for reply in ("yes", "Yes!", "GO ON."):
        answer = [*messages, Message(role="user", content=reply)]
        routed = await call(hook, {"model": "auto", "messages": answer})
        assert routed is not None
        assert routed["metadata"][METADATA_KEY]["win_rate"] == pair.route(strong_prompt).win_rate
    routed = await call(hook, {"model": "auto", "messages": [{"role": "system", "content": strong_prompt}]})
    assert routed is not None
    assert routed["model"] == pair.strong


async def test_what_cannot_be_routed_is_a_bad_request(pair: turnout.Router) -> None:
    hook = RoutingHook({"auto": pair})
    with pytest.raises(BadRequestError, match="UTF-8"):
        await call(hook, ask("\ud800"))
    with pytest.raises(BadRequestError, match=r"prompt: messages\[0\] is of type int"):
        await call(hook, {"model": "auto", "prompt": [1, 2]}, "atext_completion")
    with pytest.raises(BadRequestError, match="messages is null"):
        await call(hook, {"model": "auto"})
    with pytest.raises(BadRequestError, match="messages have no text to route on"):
        await call(hook, {"model": "auto", "messages": [{"role": "assistant", "content": None}]})


async def test_headers_come_from_the_hook_and_never_from_a_clients_metadata(pair: turnout.Router) -> None:
    hook = RoutingHook({"auto": pair})
    routed = await call(hook, ask("hello"))
    assert routed is not None
    headers = await hook.async_post_call_response_headers_hook(routed, None, None)
    assert headers is not None
    assert headers["x-turnout-model"] == routed["model"]
    assert float(headers["x-turnout-win-rate"]) == pair.route("hello").win_rate
    forged = {**ask("hello", "large-model"), "metadata": {METADATA_KEY: {"model": "x\r\nset-cookie: y"}}}
    assert await hook.async_post_call_response_headers_hook(forged, None, None) is None


def test_a_name_that_routes_to_itself_is_refused(pair: turnout.Router) -> None:
    with pytest.raises(turnout.ConfigError, match="'large-model' routes to itself"):
        RoutingHook({"large-model": pair})


async def test_a_classifier_names_the_tier(pair: turnout.Router, strong_prompt: str, weak_prompt: str) -> None:
    classifier = TierClassifier(pair, strong="REASONING", weak="MEDIUM")
    for prompt, tier in ((strong_prompt, "REASONING"), (weak_prompt, "MEDIUM")):
        for messages, others in ((ask(prompt)["messages"], []), ([], ask(prompt)["messages"])):
            context = RoutingContext(raw_messages=others, structured_messages=messages, candidate_models=[])
            assert await classifier.classify(context) == tier
    assert isinstance(classifier, ClassifierPlugin)
    empty = RoutingContext(raw_messages=[], structured_messages=[], candidate_models=[])
    with pytest.raises(turnout.RouterError):
        await classifier.classify(empty)


HOOK = """\
import turnout
from turnout.integrations.litellm import RoutingHook, TierClassifier

router = turnout.load({artifact!r}, strong="large-model", weak="small-model", threshold={threshold!r})
hook = RoutingHook({{"auto": router}})
classifier = TierClassifier(router)
"""

CONFIG = """\
model_list:
  - model_name: auto            # the proxy wants to know the name; the hook replaces it before any call
    litellm_params: {{model: openai/large-model, api_base: {url}, api_key: unused}}
  - model_name: large-model
    litellm_params: {{model: openai/large-model, api_base: {url}, api_key: unused}}
  - model_name: small-model
    litellm_params: {{model: openai/small-model, api_base: {url}, api_key: unused}}
  - model_name: tiered
    litellm_params:
      model: auto_router/complexity_router
      complexity_router_config:
        classifier_type: custom
        classifier_plugin: turnout_hook.classifier
        tiers: {{SIMPLE: small-model, COMPLEX: large-model}}
litellm_settings:
  callbacks: turnout_hook.hook
"""


@pytest.fixture(scope="module")
def proxy(
    tmp_path_factory: pytest.TempPathFactory, artifact: Path, pair: turnout.Router, upstream: Any
) -> Iterator[httpx.Client]:
    """LiteLLM's proxy in a process of its own."""
    folder = tmp_path_factory.mktemp("litellm")
    hook = HOOK.format(artifact=str(artifact), threshold=pair.threshold)
    (folder / "turnout_hook.py").write_text(hook, encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG.format(url=upstream.url), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "litellm"), "--config", str(folder / "config.yaml")]
    key = f"sk-{secrets.token_hex(32)}"
    environment = {**os.environ, "LITELLM_MASTER_KEY": key}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(900):
                assert process.poll() is None, (folder / "log").read_text(errors="replace")[-4000:]
                try:
                    if httpx.get(f"{url}/health/liveliness", timeout=5).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            else:
                pytest.fail(f"the proxy did not come up:\n{(folder / 'log').read_text(errors='replace')[-4000:]}")
            with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60) as client:
                yield client
        finally:
            process.terminate()
            process.wait(timeout=30)


def test_the_proxy_calls_the_chosen_model(
    proxy: httpx.Client, upstream: Any, pair: turnout.Router, strong_prompt: str, weak_prompt: str
) -> None:
    for prompt in (strong_prompt, weak_prompt):
        expected = pair.route(prompt)
        answer = proxy.post("/v1/chat/completions", json=ask(prompt))
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == f"I am {expected.model}"
        assert upstream.bodies[-1]["model"] == expected.model
        assert answer.headers["x-turnout-model"] == expected.model
        assert float(answer.headers["x-turnout-win-rate"]) == expected.win_rate


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "{}"}),
        ("/v1/responses", {"input": "{}"}),
        (
            "/v1/messages",
            {"messages": [{"role": "user", "content": "{}"}], "max_tokens": 9, "metadata": {"user_id": "u"}},
        ),
    ],
)
def test_the_proxy_routes_its_other_interfaces(
    proxy: httpx.Client, upstream: Any, pair: turnout.Router, strong_prompt: str, weak_prompt: str, path: str, body: Any
) -> None:
    for prompt in (strong_prompt, weak_prompt):
        filled = json.loads(json.dumps(body).replace('"{}"', json.dumps(prompt)))
        answer = proxy.post(path, json={"model": "auto", **filled})
        assert answer.status_code == 200, answer.text
        assert upstream.bodies[-1]["model"] == pair.route(prompt).model
        assert answer.headers["x-turnout-model"] == pair.route(prompt).model


def test_the_complexity_router_goes_by_the_classifier(
    proxy: httpx.Client, upstream: Any, pair: turnout.Router, strong_prompt: str, weak_prompt: str
) -> None:
    for prompt in (strong_prompt, weak_prompt):
        answer = proxy.post("/v1/chat/completions", json=ask(prompt, "tiered"))
        assert answer.status_code == 200, answer.text
        assert upstream.bodies[-1]["model"] == pair.route(prompt).model


def test_the_proxy_leaves_other_models_alone(proxy: httpx.Client, strong_prompt: str) -> None:
    answer = proxy.post("/v1/chat/completions", json=ask(strong_prompt, "small-model"))
    assert answer.json()["choices"][0]["message"]["content"] == "I am small-model"
    assert "x-turnout-model" not in answer.headers


def test_the_proxy_answers_400_to_what_cannot_be_routed(proxy: httpx.Client) -> None:
    body = '{"model": "auto", "messages": [{"role": "user", "content": "\\ud800"}]}'
    answer = proxy.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
