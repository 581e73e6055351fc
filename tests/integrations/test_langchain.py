"""A routed model does what the chosen model does, in every way LangChain calls models."""

from __future__ import annotations

from typing import Any

import pytest

import turnout

pytest.importorskip("langchain_core", reason="needs LangChain: pip install 'turnout[langchain]'")

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from turnout.conversation import prompt_of
from turnout.errors import RoutingError
from turnout.integrations.langchain import RoutedModel


@pytest.fixture
def model(pair: turnout.Router) -> RoutedModel[Any]:
    strong, weak = (FakeListChatModel(responses=[name]) for name in (pair.strong, pair.weak))
    return RoutedModel(pair, strong=strong, weak=weak)


def test_invoke_answers_with_the_chosen_model(
    model: RoutedModel[Any], pair: turnout.Router, prompts: list[str]
) -> None:
    for prompt in prompts:
        assert model.invoke(prompt).content == pair.route(prompt).model
        assert model.route(prompt) == pair.route(prompt)


async def test_ainvoke_stream_astream_and_batch_agree_with_invoke(model: RoutedModel[Any], prompts: list[str]) -> None:
    expected = [model.invoke(prompt).content for prompt in prompts]
    assert len(set(expected)) == 2
    assert [message.content for message in model.batch(prompts)] == expected
    assert [message.content for message in await model.abatch(prompts)] == expected
    for prompt, answer in zip(prompts[:20], expected, strict=False):
        assert (await model.ainvoke(prompt)).content == answer
        assert "".join(chunk.content for chunk in model.stream(prompt)) == answer
        assert "".join([chunk.content async for chunk in model.astream(prompt)]) == answer


def test_the_last_human_message_is_routed_on(
    model: RoutedModel[Any], strong_prompt: str, weak_prompt: str, pair: turnout.Router
) -> None:
    for prompt, other in ((strong_prompt, weak_prompt), (weak_prompt, strong_prompt)):
        expected = pair.route(prompt)
        messages = [
            SystemMessage(other),
            HumanMessage(other),
            HumanMessage(prompt),
            AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}]),
            ToolMessage(other, tool_call_id="1"),
        ]
        assert model.route(messages) == expected
        assert model.route([("system", other), ("human", prompt)]) == expected
        assert model.route([{"role": "user", "content": [{"type": "text", "text": prompt}]}]) == expected
        assert model.route(ChatPromptTemplate.from_messages([("user", "{text}")]).invoke({"text": prompt})) == expected


@pytest.mark.parametrize(
    "form",
    [
        lambda text: [HumanMessage(text)],
        lambda text: [HumanMessageChunk(content=text)],
        lambda text: [HumanMessage([text])],
        lambda text: [HumanMessage([{"type": "text", "text": text}])],
        lambda text: [HumanMessage([{"type": "text-plain", "text": text, "mime_type": "text/plain"}])],
        lambda text: [ChatMessage(role="user", content=text)],
        lambda text: [SystemMessage("Be brief."), ChatMessage(role="user", content=text), AIMessage("Well")],
        lambda text: [SystemMessage(text)],
        lambda text: [ChatMessage(role="developer", content=text)],
        lambda text: [HumanMessage(text), AIMessage("Shall I?"), HumanMessage("Yes!")],
        lambda text: [HumanMessage(text), AIMessage("Shall I?"), ChatMessage(role="user", content="GO ON.")],
        lambda text: [HumanMessage(text), {"role": "assistant", "content": None, "tool_calls": []}],
    ],
)
def test_every_form_of_message_is_read(
    model: RoutedModel[Any], pair: turnout.Router, strong_prompt: str, weak_prompt: str, form: Any
) -> None:
    for prompt in (strong_prompt, weak_prompt):
        assert model.route(form(prompt)) == pair.route(prompt)
        # A router takes LangChain's messages by itself too.
        assert prompt_of(convert_to_messages(form(prompt))) == prompt


def test_bare_replies_have_one_form(model: RoutedModel[Any], pair: turnout.Router) -> None:
    for text in ("yes", "Yes!", "YES."):
        assert model.route(text) == model.route([HumanMessage(text)]) == pair.route("yes")


def test_messages_without_text_are_an_error(model: RoutedModel[Any]) -> None:
    with pytest.raises(RoutingError, match="messages have no text to route on; found the roles ai"):
        model.route([AIMessage("")])
    with pytest.raises(RoutingError, match=r"messages\[0\].content\[0\] is a part of type 'hologram'"):
        model.route([HumanMessage([{"type": "hologram"}])])


def test_a_function_sees_roles_and_contents(pair: turnout.Router, strong_prompt: str) -> None:
    models = [FakeListChatModel(responses=["x"])] * 2
    routed = RoutedModel(pair, strong=models[0], weak=models[1], context=lambda found: found[0]["content"])
    assert routed.route([ChatMessage(role="user", content=strong_prompt), AIMessage("x")]) == pair.route(strong_prompt)


def test_it_composes_in_a_chain(model: RoutedModel[Any], pair: turnout.Router, strong_prompt: str) -> None:
    chain = ChatPromptTemplate.from_messages([("user", "{text}")]) | model | StrOutputParser()
    assert chain.invoke({"text": strong_prompt}) == pair.strong
    assert "".join(chain.stream({"text": strong_prompt})) == pair.strong


def test_callbacks_see_the_decision_in_the_runs_metadata(
    model: RoutedModel[Any], pair: turnout.Router, weak_prompt: str
) -> None:
    seen: list[dict[str, Any]] = []

    class Watch(BaseCallbackHandler):
        def on_chat_model_start(self, *_: Any, metadata: dict[str, Any] | None = None, **__: Any) -> None:
            seen.append(metadata or {})

    model.invoke(weak_prompt, {"callbacks": [Watch()], "metadata": {"kept": 1}})
    decision = pair.route(weak_prompt)
    assert seen[0]["kept"] == 1
    assert seen[0]["turnout_model"] == decision.model
    assert seen[0]["turnout_win_rate"] == decision.win_rate
    assert seen[0]["turnout_threshold"] == decision.threshold


def test_tools_are_bound_to_both_models(pair: turnout.Router, strong_prompt: str, weak_prompt: str) -> None:
    class WithTools(FakeListChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            name = self.responses[0]
            return RunnableLambda(lambda _: (name, tools, kwargs))

    model = RoutedModel(pair, strong=WithTools(responses=["strong"]), weak=WithTools(responses=["weak"]))
    bound = model.bind_tools(["tool"], tool_choice="any")
    assert bound.invoke(strong_prompt) == ("strong", ["tool"], {"tool_choice": "any"})
    assert bound.invoke(weak_prompt) == ("weak", ["tool"], {"tool_choice": "any"})


def test_a_model_that_cannot_bind_is_named(pair: turnout.Router) -> None:
    plain = RunnableLambda(lambda _: "")
    with pytest.raises(TypeError, match="the strong model, a RunnableLambda, has no `bind_tools`"):
        RoutedModel(pair, strong=plain, weak=plain).bind_tools([])


def test_a_prompt_that_cannot_be_routed_reaches_no_model(model: RoutedModel[Any]) -> None:
    with pytest.raises(turnout.InvalidInputError, match="UTF-8"):
        model.invoke("\ud800")
