"""Whether an answer with status 200 is one: gateways send errors, sign-in pages and nothing at all under it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

#: Longer errors are replaced: they are not searched for the key.
LONGEST_ERROR = 64 * 1024
_LONGEST_MESSAGE = 200
#: OpenAI's clients read JSON with it.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

#: Messages of providers about a conversation that is too long, besides OpenAI's code.
_OVERFLOW = re.compile(
    r"context[ _-]?(length|window|size|limit)|maximum (context|input|prompt)|(prompt|input|request)( is)? too (long|large)"
    r"|too many (input )?tokens|reduce the length|exceed(s|ed)? (the )?(maximum|limit|model).{0,40}token|token count.{0,40}exceed"
    r"|(prompt|input) (length )?exceeds (the )?max|range of input length|tokens.{0,60}must be <=",
    re.IGNORECASE,
)


class BadAnswerError(Exception):
    """An answer with status 200 that is none.

    Args:
        reason: For metrics: ``error_in_answer``, ``empty_answer``, ``not_json``, ``not_a_stream``, or what the dialect misses, such as
            ``no_choices``.
        message: What was found in place of what; may be long and have the upstream's key.
        error: The JSON text of the answer's own error, if it has one.
        status: The status that this error names, if it names one.
    """

    def __init__(self, reason: str, message: str, error: bytes = b"", status: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.error = error
        self.status = status


def is_context_overflow(status: int, body: bytes) -> bool:
    """Whether an error says that the conversation does not fit into the model's context.

    Args:
        status: The status of the answer.
        body: Its body.

    Example:
        >>> is_context_overflow(400, b'{"error": {"message": "...", "code": "context_length_exceeded"}}')
        True
    """
    return status in (400, 413, 422) and _OVERFLOW.search(one_line(message_of(body))) is not None


def is_unknown_response(status: int, body: bytes) -> bool:
    """Whether an error says that the upstream has not made the response that a request continues: 400 in place of 404.

    Args:
        status: The status of the answer.
        body: Its body.

    Example:
        >>> is_unknown_response(400, b'{"error": {"message": "...", "code": "previous_response_not_found"}}')
        True
    """
    if status != 400:
        return False
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    error = found.get("error") if isinstance(found, dict) else None
    return isinstance(error, dict) and error.get("code") == "previous_response_not_found"


def message_of(body: bytes) -> str:
    """What an error body says and its code; empty for a page in HTML and for what is not text.

    The text is whole: a key that is cut in two would not be found. :func:`one_line` shortens it after the key is removed.

    Args:
        body: JSON in the shape of OpenAI, FastAPI or another, or text in UTF-8.

    Example:
        >>> message_of(b'{"error": {"message": "no credit left", "code": 402}}')
        'no credit left (402)'
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _text_of(body)
    return _described(found.get("error") or found if isinstance(found, dict) else found)


def one_line(text: str) -> str:
    """Text of others for a message or a log: without control characters, cut after 200 characters."""
    text = _CONTROL.sub(" ", text[: 4 * _LONGEST_MESSAGE]).strip()
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "..."


def _text_of(body: bytes) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text or text.lstrip().startswith("<") else text


def json_object(body: bytes, reason: str, expected: str) -> dict[str, Any]:
    """The object in a body, or in the data of an event.

    Args:
        body: JSON text.
        reason: Of the error where it is none.
        expected: What it should be.

    Raises:
        BadAnswerError: It is empty, or no JSON object.
    """
    if not body.strip():
        raise BadAnswerError("empty_answer", "200 with an empty body")
    try:
        found = orjson.loads(body.removeprefix(BYTE_ORDER_MARK))
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise BadAnswerError(reason, f"200 with a body that is not {expected}")
    return found


def check_error(found: Mapping[str, Any], statuses: Mapping[str, int], body: bytes | None = None) -> None:
    """Checks that an object has no error: neither in a field, as OpenAI's and Anthropic's, nor as a whole, as vLLM's.

    Args:
        found: The object.
        statuses: Statuses by the code or type of an error that names none.
        body: JSON text that can be relayed as the body of an error. By default, the error as OpenAI's bodies have it.

    Raises:
        BadAnswerError: It has one.
    """
    details = found.get("error") or ("error" in (found.get("object"), found.get("type")) and found)
    if not details:
        return
    names = [details.get("code"), details.get("type")] if isinstance(details, dict) else []
    if names and isinstance(names[0], int) and 400 <= names[0] < 600:
        status: int | None = names[0]
    else:
        status = next((statuses[name] for name in names if isinstance(name, str) and name in statuses), None)
    if body is None:
        try:
            body = orjson.dumps({"error": details})
        except TypeError:  # Nested more deeply than orjson writes.
            body = b""
    raise BadAnswerError("error_in_answer", f"200 with an error: {_described(details)}", body, status)


def _described(error: Any) -> str:
    if not isinstance(error, dict):
        return _text(error)
    message = _text(error.get("message") or error.get("detail") or error.get("type") or "")
    code = error.get("code")
    return f"{message} ({_text(code)})".lstrip() if code else message


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # Nested more deeply than orjson writes.
        return ""
