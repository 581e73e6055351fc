"""Every form of message against the text that is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from turnout import InferenceError, RoutingError
from turnout.conversation import prompt_of
from turnout.conversation.needs import needs_of

Q = "Prove that there are infinitely many primes."


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(content: Any, role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": content}


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function"}]}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "4 degrees"}
ANTHROPIC_RESULT = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "4 degrees"}]}
ANTHROPIC_CALL = {"type": "tool_use", "id": "a", "name": "weather", "input": {}}

CHAT = {
    "string": ([user(Q)], Q),
    "last of two": ([user("First."), said("Yes."), user(Q)], Q),
    "prefill": ([user(Q), said("There")], Q),
    "parts": (
        [user([{"type": "text", "text": "Read."}, IMAGE, {"type": "text", "text": "Then write."}])],
        "Read.\nThen write.",
    ),
    "tuple of parts": ((user(({"type": "text", "text": Q},)),), Q),
    "string parts": ([user([Q, "Also 4k + 1."])], Q + "\nAlso 4k + 1."),
    "untyped part": ([user([{"text": Q}])], Q),
    "text-plain": ([user([{"type": "text-plain", "text": Q, "mime_type": "text/plain"}])], Q),
    "unknown part beside text": ([user([{"type": "hologram", "url": "x"}, {"type": "text", "text": Q}])], Q),
    "unknown part with text": ([user([{"type": "note", "text": Q}])], Q),
    "tool loop": ([user(Q), CALL, RESULT], Q),
    "other case of the role": ([{"role": "User", "content": Q}], Q),
    "human": ([{"role": "human", "content": Q}], Q),
    "reasoning": ([user(Q), {**said("x"), "reasoning_content": "hm"}], Q),
}
WITHOUT_USER = {
    "system only": ([said(Q, "system")], Q),
    "developer only": ([said(Q, "developer")], Q),
    "the last text": ([said("First.", "system"), CALL, RESULT], "4 degrees"),
    "call after text": ([said(Q, "system"), CALL], Q),
    "tool parts": ([CALL, {**RESULT, "content": [{"type": "text", "text": Q}]}], Q),
    "image beside system": ([said(Q, "system"), user([IMAGE])], Q),
    "image alone": ([user([IMAGE])], ""),
    "image after a question": ([user(Q), said("Show me."), user([IMAGE])], Q),
}
RESPONSES = {
    "input_text": ([user([{"type": "input_text", "text": Q}])], Q),
    "typed message": ([{"type": "message", **user([{"type": "input_text", "text": Q}])}], Q),
    "function_call_output": (
        [
            user(Q),
            {"type": "function_call", "name": "f"},
            {"type": "function_call_output", "call_id": "a", "output": "4"},
        ],
        Q,
    ),
    "output item": ([user(Q), {"type": "message", **said([{"type": "output_text", "text": "Since"}])}], Q),
    "reasoning item": ([user(Q), {"type": "reasoning", "summary": []}], Q),
    "output only": ([{"type": "function_call_output", "call_id": "a", "output": "4 degrees"}], "4 degrees"),
}
ANTHROPIC = {
    "blocks": ([user([{"type": "image", "source": {}}, {"type": "text", "text": Q}])], Q),
    "tool_result is not the user's": ([user(Q), said([ANTHROPIC_CALL]), user([ANTHROPIC_RESULT])], Q),
    "words beside a tool_result": (
        [user("First."), said([ANTHROPIC_CALL]), user([ANTHROPIC_RESULT, {"type": "text", "text": Q}])],
        Q,
    ),
    "tool_result only": ([user([ANTHROPIC_RESULT])], "4 degrees"),
    "tool_result as string": ([user([{"type": "tool_result", "content": "4 degrees"}])], "4 degrees"),
    "document of text": ([user([{"type": "document", "source": {"type": "text", "data": Q}}])], Q),
    "thinking": ([user(Q), said([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "x"}])], Q),
}
GEMINI_CALL = {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]}
GEMINI = {
    "text beside an image": ([{"role": "user", "parts": [{"text": Q}, {"inline_data": {}}]}], Q),
    "image after a question": (
        [{"role": "user", "parts": [{"text": Q}]}, {"role": "user", "parts": [{"inlineData": {}}]}],
        Q,
    ),
    "file alone": ([{"role": "user", "parts": [{"fileData": {}}]}], ""),
    "function response is not the user's": (
        [{"role": "user", "parts": [{"text": Q}]}, GEMINI_CALL, {"role": "user", "parts": [{"functionResponse": {}}]}],
        Q,
    ),
    "function response only": (
        [GEMINI_CALL, {"role": "user", "parts": [{"function_response": {"response": {"degrees": 4}}}]}],
        '{"degrees": 4}',
    ),
}
OTHER = {
    "assistants": ([user([{"type": "text", "text": {"value": Q, "annotations": []}}])], Q),
    "transcript": ([user([{"type": "input_audio", "transcript": Q}])], Q),
}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param(*case, id=f"{group}: {name}")
        for group, cases in (
            ("chat", CHAT),
            ("no user", WITHOUT_USER),
            ("responses", RESPONSES),
            ("anthropic", ANTHROPIC),
            ("gemini", GEMINI),
            ("other", OTHER),
        )
        for name, case in cases.items()
    ],
)
def test_the_words_of_the_user_are_read_in_every_form(messages: Any, expected: str) -> None:
    assert prompt_of(messages) == expected
    assert prompt_of(iter(messages)) == expected


def test_objects_of_the_openai_package_are_read() -> None:
    from openai.types.chat import ChatCompletionMessage
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    answer = ChatCompletionMessage(role="assistant", content="There are.", tool_calls=None)
    text = ResponseOutputText(type="output_text", text="There are.", annotations=[])
    item = ResponseOutputMessage(id="m", role="assistant", status="completed", type="message", content=[text])
    call = ResponseFunctionToolCall(type="function_call", call_id="a", name="f", arguments="{}")
    assert prompt_of([user(Q), answer, user("Go on!")]) == Q
    assert prompt_of([user(Q), item, call, {"type": "function_call_output", "call_id": "a", "output": "4"}]) == Q
    assert prompt_of([item, call]) == "There are."
    assert prompt_of([answer]) == "There are."


class Message:
    def __init__(self, role: str, content: Any) -> None:
        self.role, self.content = role, content


def test_any_object_with_a_role_and_content_is_read() -> None:
    assert prompt_of([Message("user", Q), Message("assistant", "x")]) == Q
    assert prompt_of([Message("user", [Message("x", None), {"type": "text", "text": Q}])]) == Q


def test_iterators_of_messages_and_of_parts_are_read() -> None:
    assert prompt_of(message for message in [user(Q)]) == Q
    assert prompt_of([user(part for part in [{"type": "text", "text": Q}])]) == Q


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (None, "messages is null"),
        ("text", "messages is of type str"),
        ({"role": "user"}, "messages is of type dict"),
        ([], "messages is an empty list"),
        (iter(()), "messages is an empty list"),
        ([user(Q), 3], r"messages\[1\] is of type int, expected an object with role and content"),
        ([Q], r"messages\[0\] is of type str"),
        ([user(None)], r"messages\[0\].content is null, expected a string or a list of parts"),
        ([user(3)], r"messages\[0\].content is of type int"),
        ([user(b"x")], r"messages\[0\].content is of type bytes"),
        ([{"role": "user"}], r"messages\[0\].content is null"),
        ([said(Q), user([])], r"messages\[1\].content is an empty list"),
        ([user([{"type": "text", "text": None}])], r"messages\[0\].content\[0\].text is null, expected a string"),
        ([user([IMAGE, {"type": "input_text", "text": 3}])], r"messages\[0\].content\[1\].text is of type int"),
        ([user([{"type": "hologram"}])], r"messages\[0\].content\[0\] is a part of type 'hologram' and has no `text`"),
        ([user([7])], r"messages\[0\].content\[0\] is of type int and has no `text`"),
        ([user([{"type": "tool_result", "content": [{"type": "image"}]}])], "messages have no text to route on"),
        ([CALL], "messages have no text to route on; found the roles assistant"),
        ([said("", "system"), {"role": "tool", "content": None}], "found the roles system, tool"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_place(messages: Any, words: str) -> None:
    for context in ("last_user", "conversation"):
        with pytest.raises(RoutingError, match=words):
            prompt_of(iter(messages) if isinstance(messages, type(iter(()))) else messages, context)  # type: ignore[arg-type]


def test_a_conversation_is_all_the_users_words_without_bare_replies() -> None:
    messages = [said("Be brief.", "system"), user("First."), said("x"), user("Yes!"), user([ANTHROPIC_RESULT]), user(Q)]
    assert prompt_of(messages, "conversation") == "First.\n\n" + Q
    assert prompt_of([user("Hello!"), said("Hi."), user("Thanks!")], "conversation") == "thanks"
    assert prompt_of([said(Q, "system")], "conversation") == Q
    with pytest.raises(RoutingError, match="context is 'all'"):
        prompt_of(messages, "all")  # type: ignore[arg-type]


def test_a_function_sees_mappings_and_its_text_is_judged_as_it_is() -> None:
    from openai.types.chat import ChatCompletionMessage

    messages = [user(Q), ChatCompletionMessage(role="assistant", content="Yes!"), Message("human", "ok")]
    assert prompt_of(messages, lambda found: found[1]["content"]) == "Yes!"
    assert prompt_of(messages, lambda found: found[2]["role"]) == "user"
    returns_none: Callable[[Any], Any] = lambda found: None  # noqa: E731
    for broken in (returns_none, lambda found: found[9]["content"]):
        with pytest.raises(InferenceError, match="the context function"):
            prompt_of(messages, broken)


def test_needs_are_read_in_the_same_forms() -> None:
    part = {"type": "image", "source": {}}
    for message in (user([IMAGE]), user((IMAGE,)), Message("user", [IMAGE]), user([part])):
        assert needs_of({"messages": [message]}) == {"images"}
    nested = user([{"type": "tool_result", "content": [part]}])
    assert needs_of({"messages": [nested], "tools": [{}]}) == {"images", "tools"}
    assert needs_of({"messages": [user([{"type": "document", "source": {}}, {"type": "input_audio"}])]}) == {
        "audio",
        "files",
    }
    assert needs_of({"messages": "text"}) == frozenset()


@pytest.mark.parametrize("texts", [["Thanks!", "OK."], ["Prove it.", "Thanks!", "And why not?"]])
def test_each_text_of_a_conversation_is_looked_at_once(monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> None:
    from turnout.conversation import context

    seen = []
    look = context.canonical_reply
    monkeypatch.setattr(context, "canonical_reply", lambda text: (seen.append(text), look(text))[1])
    prompt_of([user(text) for text in texts], "conversation")
    assert seen == texts
