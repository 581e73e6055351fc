"""Pools in LiteLLM, LangChain and Ray: the model is that of the pool, and the decision is told."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

import turnout
from turnout import Model, Pool, PoolRouter

POOL = Pool(
    [
        Model("large", success=0.9, input_price=5.0, output_price=20.0),
        Model("small", success=0.6, input_price=0.1, output_price=0.4, context_window=1000),
    ],
    target=0.5,
)
LONG = "many words " * 1000


@pytest.fixture
def pool_router(artifact: Any) -> PoolRouter:
    return turnout.load(artifact, pool=POOL)


async def test_litellm_gets_a_model_of_the_pool(pool_router: PoolRouter) -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    pytest.importorskip("litellm", reason="needs LiteLLM: pip install 'turnout[litellm]'")
    pytest.importorskip("fastapi", reason="needs LiteLLM's proxy: pip install 'litellm[proxy]'")
    from litellm.exceptions import BadRequestError

    from turnout.integrations.litellm import METADATA_KEY, RoutingHook

    hook = RoutingHook({"auto": pool_router})

    async def ask(*contents: str, **more: Any) -> Any:
        messages = [{"role": "user", "content": content} for content in contents]
        return await hook.async_pre_call_hook(
            None, None, {"model": "auto", "messages": messages, **more}, "acompletion"
        )

    data = await ask("Hi")
    assert (data["model"], data["metadata"][METADATA_KEY]["success"]) == ("small", pytest.approx(0.6))
    assert (await ask(LONG, "Hi"))["model"] == "large"
    headers = await hook.async_post_call_response_headers_hook(data, None, None)
    assert headers is not None
    assert headers["x-turnout-reason"] == "cheapest model with P(success) >= 0.5"
    strict = RoutingHook(
        {"auto": turnout.load(pool_router.path, pool=Pool([Model("a", success=1, capabilities=[])], tolerance=0))}
    )
    tools = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function"}]}
    with pytest.raises(BadRequestError, match="a: does not serve tools"):
        await strict.async_pre_call_hook(None, None, tools, "acompletion")
    with pytest.raises(turnout.ConfigError, match="routes to itself"):
        RoutingHook({"small": pool_router})


async def test_langchain_calls_a_model_of_the_pool(pool_router: PoolRouter) -> None:
    pytest.importorskip("langchain_core", reason="needs LangChain: pip install 'turnout[langchain]'")
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.messages import HumanMessage

    from turnout.integrations.langchain import RoutedModel

    models = {name: FakeListChatModel(responses=[name]) for name in pool_router.models}
    model: RoutedModel[Any] = RoutedModel(pool_router, models=models)
    assert model.invoke("Hi").content == "small"
    assert model.invoke([HumanMessage(LONG), HumanMessage("Hi")]).content == "large"
    assert (await model.ainvoke("Hi")).content == "small"
    with pytest.raises(turnout.ConfigError, match="the models are small, expected large, small"):
        RoutedModel(pool_router, models={"small": models["small"]})


def test_ray_data_adds_the_columns_of_a_pool(artifact: Any) -> None:
    pytest.importorskip("ray.data", reason="needs Ray Data: pip install 'turnout[ray]'")
    import pyarrow as pa

    from turnout.integrations.ray_data import RoutePrompts

    pool = Pool([Model("a", success=0.5, input_price=1.0, output_price=1.0, context_window=1000)])
    table = RoutePrompts(artifact, router={"pool": pool})(pa.table({"prompt": ["Hi", LONG, None]}))
    assert table.column_names == ["prompt", "model", "success", "expected_cost", "routing_error"]
    assert table["model"].to_pylist() == ["a", None, None]
    errors = table["routing_error"].to_pylist()
    assert errors[0] is None
    assert "exceed its context window of 1000" in errors[1]


async def test_ray_serve_answers_decisions_of_a_pool(artifact: Any) -> None:
    pytest.importorskip("ray.serve", reason="needs Ray Serve: pip install 'turnout[ray]'")
    from starlette.requests import Request

    from turnout.integrations.ray_serve import RouterReplica

    replica = RouterReplica(artifact, pool=POOL)

    async def post(**body: Any) -> Any:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": json.dumps(body).encode()}

        response = await replica(Request({"type": "http", "method": "POST", "headers": []}, receive))
        return response.status_code, json.loads(bytes(response.body))

    assert (await post(prompt="Hi"))[1]["model"] == "small"
    assert (await post(prompts=["Hi"], target=0.85))[1]["decisions"][0]["model"] == "large"
    assert (await post(prompt="Hi", target=2))[0] == 400
    assert (await post(prompt="Hi", threshold=0.5))[0] == 400
    assert (await replica.route("Hi", target=0.85)).model == "large"
