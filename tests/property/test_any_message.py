"""Messages of any shape have a text or are a ``RoutingError``; no other exception comes out."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from turnout import RoutingError
from turnout.conversation import judged_text, prompt_of
from turnout.conversation.bare_reply import canonical_reply
from turnout.conversation.needs import needs_of

WORDS = st.sampled_from(
    ["user", "assistant", "system", "tool", "human", "text", "input_text", "image_url", "tool_result", "document", "thinking", "yes", "Hello!", ""]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | WORDS, inner, max_size=3),
    max_leaves=8,
)
PART = st.fixed_dictionaries(
    {}, optional={"type": WORDS | JSON, "text": WORDS | JSON, "content": JSON, "source": JSON, "image_url": JSON}
)
MESSAGE = st.fixed_dictionaries(
    {}, optional={"role": WORDS | JSON, "type": JSON, "content": WORDS | st.lists(PART | JSON, max_size=3) | JSON, "output": JSON}
)  # fmt: skip


@given(messages=st.lists(MESSAGE | JSON, max_size=4) | JSON, context=st.sampled_from(["last_user", "conversation"]))
def test_messages_of_any_shape_have_a_text_or_are_an_error(messages: Any, context: Any) -> None:
    needs_of({"messages": messages})
    try:
        found = prompt_of(messages, context)
    except RoutingError as error:
        found = str(error)[:500]
    assert isinstance(found, str)


@given(text=st.text(max_size=80) | st.lists(WORDS, max_size=5).map(" ".join))
def test_the_canonical_form_is_stable_and_knows_no_case_or_punctuation(text: str) -> None:
    reply = canonical_reply(text)
    assert judged_text(judged_text(text)) == judged_text(text)
    if reply:
        assert canonical_reply(f" {text}! ") is not None
        assert canonical_reply(reply) == reply
