"""Whether an answer with status 200 is one: gateways send errors, sign-in pages and nothing at all under it."""

from __future__ import annotations

import re
from typing import Any

import orjson

from turnout.serve.sse import DONE

_NO_STREAM = "200 with a body that is not an event stream"
#: Longer errors are replaced: they are not searched for the key.
LONGEST_ERROR = 64 * 1024
_LONGEST_MESSAGE = 200
#: OpenAI's clients read JSON with it.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

#: Messages of providers about a conversation that is too long, besides OpenAI's code.
_OVERFLOW = re.compile(
    r"context[ _-]?(length|window|size)|maximum (context|input|prompt)|(prompt|input|request)( is)? too (long|large)|too many (input )?tokens"
    r"|reduce the length|exceeds? the (maximum|limit|model).{0,40}token|token count.{0,40}exceed|tokens.{0,60}must be <=",
    re.IGNORECASE,
)


class BadAnswerError(Exception):
    """An answer with status 200 that has no completion.

    Args:
        reason: For metrics: ``error_in_answer``, ``empty_answer``, ``not_json``, ``no_choices`` or ``not_a_stream``.
        message: What was found in place of what; may be long and have the upstream's key.
        error: The JSON text of the answer's own error, if it has one.
        status: The status that this error names, if it names one.
    """

    def __init__(self, reason: str, message: str, error: bytes = b"", status: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.error = error
        self.status = status

    @classmethod
    def of_no_stream(cls, content: bytes) -> BadAnswerError:
        """For a request of a stream that was answered with something else.

        Args:
            content: What was read of the answer.
        """
        try:
            check_completion(content)
        except BadAnswerError as error:
            return error if error.reason in ("error_in_answer", "empty_answer") else cls("not_a_stream", _NO_STREAM)
        return cls("not_a_stream", _NO_STREAM)


def check_completion(body: bytes) -> None:
    """Checks a whole answer.

    Args:
        body: The bytes of the answer.

    Raises:
        BadAnswerError: It is not a JSON object with a choice that has a message, or it has an error.
    """
    found = _object(body, "not_json", "a JSON object")
    _check_error(found, body)
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadAnswerError("no_choices", "200 without choices")
    _check_error(choices[0], body)
    message = choices[0].get("message")
    if not message or not isinstance(message, dict):
        raise BadAnswerError("no_choices", "200 with a choice that has no message")


def check_event(data: bytes) -> bool:
    """Checks one of the first events of a stream.

    Args:
        data: The event's data.

    Returns:
        Whether the stream has begun: the event has a choice. Events before it, such as Azure's of its filters, have none.

    Raises:
        BadAnswerError: The event is an error, not an object of a completion, or the end of the stream.
    """
    if data.strip() == DONE:
        raise BadAnswerError("no_choices", "200 with a stream that ended without choices")
    found = _object(data, "not_a_stream", "a JSON object in each event")
    _check_error(found, data)
    choices = found.get("choices")
    if not isinstance(choices, list):
        raise BadAnswerError("no_choices", "200 with an event without choices")
    if choices and isinstance(choices[0], dict):
        _check_error(choices[0], data)
    return bool(choices)


def is_error_event(data: bytes) -> bool:
    """Whether the data of an event is an error."""
    try:
        check_event(data)
    except BadAnswerError as error:
        return error.reason == "error_in_answer"
    return False


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


def _object(body: bytes, reason: str, expected: str) -> dict[str, Any]:
    if not body.strip():
        raise BadAnswerError("empty_answer", "200 with an empty body")
    try:
        found = orjson.loads(body.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise BadAnswerError(reason, f"200 with a body that is not {expected}")
    return found


def _check_error(found: dict[str, Any], body: bytes) -> None:
    error = found.get("error")
    if not error and found.get("object") != "error":
        return
    details = error or found
    code = details.get("code") if isinstance(details, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else None
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
