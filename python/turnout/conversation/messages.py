"""Reads the messages of every common SDK: dicts, pydantic objects, LangChain messages, Responses items, Anthropic blocks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from turnout.errors import RoutingError

#: Roles and, for LangChain, types of messages that hold the user's words.
_USER = frozenset({"user", "human", "humanmessagechunk"})
#: Parts that hold what a tool returned. Anthropic and Gemini put them into messages of the user.
_RESULTS = frozenset(
    {"tool_result", "function_call_output", "web_search_tool_result", "code_execution_tool_result", "function_response"}
)
#: Types of parts without text.
_WORDLESS = frozenset(
    {
        "audio", "audio_url", "container_upload", "document", "file", "file_data", "file_url", "function_call", "image", "image_file",
        "image_url", "inline_data", "input_audio", "input_file", "input_image", "input_video", "item_reference", "reasoning",
        "redacted_thinking", "refusal", "server_tool_use", "text-plain", "thinking", "tool_call", "tool_use", "video", "video_url",
    }
)  # fmt: skip
#: Fields of Gemini's parts, which have no type, in both spellings of its API.
_GEMINI = {
    spelling: name
    for name in ("function_response", "function_call", "inline_data", "file_data")
    for spelling in (name, name.partition("_")[0] + name.partition("_")[2].title())
}


def listed(messages: Any) -> list[Any]:
    """Messages as a list that can be read more than once; iterators in place of a list of messages or of parts are consumed.

    Args:
        messages: Any iterable of messages.

    Raises:
        RoutingError: Not an iterable of messages, or without a message.

    Example:
        >>> listed({"role": "user", "content": iter(["Hi"])} for _ in range(1))
        [{'role': 'user', 'content': ['Hi']}]
    """
    if type(messages) is not list and (
        isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable)
    ):
        raise RoutingError(f"messages is {kind(messages)}, expected a list of one message or more")
    found = []
    for index, message in enumerate(messages):
        if type(message) is not dict and not _is_message(message):
            raise RoutingError(f"messages[{index}] is {kind(message)}, expected an object with role and content")
        # The usual message, without the cost of the general one.
        is_plain = type(message) is dict and type(message.get("content")) is str
        found.append(message if is_plain else _readable(message))
    if not found:
        raise RoutingError("messages is an empty list, expected a list of one message or more")
    return found


def field(item: Any, name: str) -> Any:
    """A key of a mapping or an attribute of an object; ``None`` where it is missing."""
    return item.get(name) if type(item) is dict or isinstance(item, Mapping) else getattr(item, name, None)


def role_of(message: Any) -> str:
    """The role, or the type of a message that has no role (LangChain's messages, items of the Responses API)."""
    role = field(message, "role")
    found = field(message, "type") if role is None else role
    return found if isinstance(found, str) else kind(found)


def is_user(message: Any) -> bool:
    """Whether the message is the user's; Anthropic puts results of tools there too, see :func:`words_of`."""
    role = field(message, "role")
    return role == "user" or (role != "assistant" and role_of(message).lower() in _USER)


def content_of(message: Any) -> Any:
    """What holds the text: ``content``, or the ``parts`` of Gemini's messages, or the ``output`` of a result of a tool."""
    content = field(message, "content")
    if content is None:
        content = field(message, "parts")
    return field(message, "output") if content is None else content


def parts_of(message: Any) -> list[Any] | tuple[Any, ...]:
    """The parts of a message; none where the content is a string or absent."""
    content = content_of(message)
    return content if isinstance(content, list | tuple) else ()


def words_of(message: Any, index: int) -> str | None:
    """The text of a message of the user: :func:`texts_of`, a line each.

    Args:
        message: The message.
        index: Its index, for errors.

    Returns:
        The text; ``""`` where it has other media only, ``None`` where it has results of tools only.

    Raises:
        RoutingError: As for :func:`texts_of`.
    """
    texts = texts_of(message, index)
    return None if texts is None else "\n".join(texts)


def texts_of(message: Any, index: int) -> list[str] | None:
    """The texts of a message of the user.

    Args:
        message: The message.
        index: Its index, for errors.

    Returns:
        The text of each part that has one; none where it has other media only, ``None`` where it has results of tools only.

    Raises:
        RoutingError: Content of another type, or no part that can be read; names the place.
    """
    content = content_of(message)
    if isinstance(content, str):
        return [content]
    where = f"messages[{index}].content"
    if not isinstance(content, list | tuple):
        raise RoutingError(f"{where} is {kind(content)}, expected a string or a list of parts")
    if not content:
        raise RoutingError(f"{where} is an empty list, expected a string or at least one part")
    return _texts(content, where, results=False)


def any_text_of(message: Any, index: int) -> str:
    """The text of a message of any role, results of tools included; ``""`` where it has none."""
    content = content_of(message)
    if isinstance(content, str):
        return content
    if isinstance(content, list | tuple):
        return "\n".join(_texts(content, f"messages[{index}].content", results=True) or ())
    return ""


def as_mapping(message: Any) -> Mapping[str, Any]:
    """A message as a mapping, for functions of the user's."""
    if isinstance(message, Mapping):
        return message
    found = message.model_dump() if hasattr(message, "model_dump") else {}
    return {**found, "role": "user" if is_user(message) else role_of(message), "content": field(message, "content")}


def kind(value: object) -> str:
    """How an error names a value."""
    if value is None:
        return "null"
    return "an empty list" if isinstance(value, list | tuple) and not value else f"of type {type(value).__name__}"


def _is_message(message: Any) -> bool:
    return isinstance(message, Mapping) or hasattr(message, "role") or isinstance(getattr(message, "type", None), str)


def _readable(message: Any) -> Any:
    """The message, with parts that can be read only once as a list."""
    if type(message) is not dict and not isinstance(message, Mapping):
        return message
    content = message.get("content")
    if (
        type(content) is str
        or content is None
        or isinstance(content, str | bytes | list | tuple | Mapping)
        or not isinstance(content, Iterable)
    ):
        return message
    return {**message, "content": list(content)}


def _texts(parts: Iterable[Any], where: str, *, results: bool) -> list[str] | None:
    texts: list[str] = []
    only_results, unread = True, ""
    for index, part in enumerate(parts):
        part_kind = kind_of_part(part)
        if part_kind in _RESULTS:
            if results and (found := _result(part)):
                texts.append(found)
            continue
        only_results = False
        text = part if isinstance(part, str) else _text_of(part, part_kind)
        if isinstance(text, str):
            texts.append(text)
        elif part_kind in ("text", "input_text", "output_text"):
            raise RoutingError(f"{where}[{index}].text is {kind(text)}, expected a string")
        elif part_kind not in _WORDLESS:
            unread = unread or f"{where}[{index}] is {_part_kind(part)} and has no `text`"
    if unread and not texts:
        raise RoutingError(f"{unread}; expected at least one part with text")
    return None if only_results and not results else texts


def kind_of_part(part: Any) -> str | None:
    """The type of a part, or of a part without a type the field that says it (Gemini's parts); ``None`` for a text or anything else."""
    found = field(part, "type")
    if isinstance(found, str):
        return found
    return next((name for spelling, name in _GEMINI.items() if field(part, spelling) is not None), None)


def _text_of(part: Any, part_kind: str | None) -> Any:
    if part_kind == "document":
        source = field(part, "source")
        return field(source, "data") if field(source, "type") == "text" else None
    text = field(part, "text")
    if part_kind == "input_audio" and text is None:
        return field(part, "transcript")
    # OpenAI's assistants hold the text of a part one level deeper.
    value = field(text, "value")
    return value if isinstance(value, str) else text


def _result(part: Any) -> str:
    """What a tool returned: its texts, or JSON in Gemini's results."""
    inner = content_of(part)
    if isinstance(inner, str):
        return inner
    response = field(part, "function_response") or field(part, "functionResponse")
    if inner is None and response is not None:
        return json.dumps(field(response, "response"), default=str, ensure_ascii=False)
    return "\n".join(_texts_in(inner))


def _texts_in(parts: Any) -> list[str]:
    found = [field(part, "text") for part in parts] if isinstance(parts, list | tuple) else []
    return [text for text in found if isinstance(text, str)]


def _part_kind(part: Any) -> str:
    part_kind = field(part, "type")
    return f"a part of type {part_kind[:40]!r}" if isinstance(part_kind, str) else kind(part)
