"""The body of a request: parsed for the decision, forwarded byte for byte except for the model's name."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from typing import Any, TypeVar

import orjson

from turnout.serve.dialects.errors import ApiError

#: Work on more bytes than these goes to a worker thread: on the event loop it would delay other requests.
_INLINE_BYTES = 32 * 1024

_SPACE = " \t\r\n"
_PLAIN = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*("[^"\\]*")')
#: Keys that are tried before the whole text is read.
_MOST_PROBES = 4
#: Numbers stay text: only positions matter here.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


T = TypeVar("T")


async def beside_the_loop(size: int, work: Callable[[], T]) -> T:
    """Does work that grows with a text: here if the text is short, else on a worker thread.

    Args:
        size: Bytes or characters.
        work: Called once.
    """
    return work() if size <= _INLINE_BYTES else await asyncio.to_thread(work)


async def parse(body: bytes) -> dict[str, Any]:
    """The object in a body.

    Raises:
        ApiError: 400 for anything else, with the position.
    """
    return await beside_the_loop(len(body), lambda: _parse(body))


async def with_model(body: bytes, model: str) -> bytes:
    """The body with another model's name; all other bytes are unchanged.

    Args:
        body: Text of a JSON object that has the key ``model``.
        model: The new name.

    Raises:
        ApiError: 400 if the key occurs more than once, because parsers differ on which one counts.
    """
    return await beside_the_loop(len(body), lambda: replace_model(body, model))


def replace_model(body: bytes, model: str) -> bytes:
    """:func:`with_model`, on this thread.

    Example:
        >>> replace_model(b'{"tools": [{"model": 1}], "model" : "router-mf-0.5", "seed": 1.0}', "large")
        b'{"tools": [{"model": 1}], "model" : "large", "seed": 1.0}'
    """
    # The usual case: no escape stands for a letter of the key, and few keys of tools have the same name.
    if b"\\u006" not in body:
        is_only = body.count(b'"model"') == 1
        for value in islice(_PLAIN.finditer(body), _MOST_PROBES):
            if is_only or _is_outermost(body, value.start()):
                return body[: value.start(1)] + orjson.dumps(model) + body[value.end(1) :]
    text = body.decode()
    place = _position_of(text, "model")
    if place is None:
        raise _occurs("model", 0)
    start, end = place
    return (text[:start] + json.dumps(model) + text[end:]).encode()


async def with_fields(body: bytes, fields: Mapping[str, Any]) -> bytes:
    """The body with fields of a reasoning effort; all other bytes are unchanged.

    Args:
        body: Text of a JSON object with at least one key.
        fields: Values that replace those of the body; a table is merged into the body's.

    Raises:
        ApiError: 400 if a key occurs more than once.
    """
    return await beside_the_loop(len(body), lambda: set_fields(body, fields))


def set_fields(body: bytes, fields: Mapping[str, Any]) -> bytes:
    """:func:`with_fields`, on this thread.

    Example:
        >>> set_fields(b'{"seed": 1.0, "reasoning": {"summary": "auto"}}', {"reasoning": {"effort": "high"}})
        b'{"seed": 1.0, "reasoning": {"summary": "auto", "effort": "high"}}'
        >>> set_fields(b'{"seed": 1.0}', {"reasoning_effort": "high"})
        b'{"reasoning_effort": "high", "seed": 1.0}'
    """
    text = body.decode()
    for key, value in fields.items():
        place = _position_of(text, key)
        if place is None:
            start = text.index("{") + 1
            text = f"{text[:start]}{json.dumps(key)}: {json.dumps(value)}, {text[start:]}"
            continue
        start, end = place
        before = json.loads(text[start:end]) if isinstance(value, Mapping) else None
        merged = {**before, **value} if isinstance(before, dict) else value
        text = text[:start] + json.dumps(merged) + text[end:]
    return text.encode()


def set_fields_of(body: bytes, key: str, fields: Mapping[str, Any]) -> bytes:
    """:func:`set_fields` of the object that a key has.

    Example:
        >>> set_fields_of(b'{"response": {"id": 1, "usage": {"a": 1.0}}}', "response", {"usage": {"b": 2}})
        b'{"response": {"id": 1, "usage": {"a": 1.0, "b": 2}}}'
    """
    text = body.decode()
    place = _position_of(text, key)
    if place is None:
        raise _occurs(key, 0)
    start, end = place
    return (text[:start] + set_fields(text[start:end].encode(), fields).decode() + text[end:]).encode()


async def check_once(body: bytes, keys: Collection[str]) -> None:
    """Checks that keys occur at most once in a body and in their values: of several, a reader may take another than we do.

    Args:
        body: Text of a JSON object with at least one key.
        keys: The keys.

    Raises:
        ApiError: 400 if one occurs more than once.
    """
    # An escape may hide a key.
    if any(key.encode() in body for key in keys) or (keys and b"\\u" in body):
        await beside_the_loop(len(body), lambda: _check_once(body.decode(), keys))


def _check_once(text: str, keys: Collection[str]) -> None:
    for key in keys:
        place = _position_of(text, key)
        if place is not None and text[place[0]] == "{" and text[place[0] + 1 : place[1]].strip(" \t\r\n}"):
            _position_of(text[slice(*place)], "id")


def _parse(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error}", code="invalid_json") from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply", code="invalid_json") from None
    if not isinstance(found, dict):
        raise ApiError(400, f"the body is of type {type(found).__name__}, expected an object", code="invalid_json")
    return found


def _is_outermost(body: bytes, key: int) -> bool:
    """Whether a key is the only outermost ``model``: there is none when this one is called something else."""
    return "model" not in orjson.loads(body[: key + 1] + b"M" + body[key + 2 :])


def _position_of(text: str, name: str) -> tuple[int, int] | None:
    """Where the value of an outermost key begins and ends, in the text of a JSON object; ``None`` where it has no such key."""
    positions = []
    position = _skip(text, text.index("{") + 1)
    while text[position] == '"':
        key, position = _DECODER.raw_decode(text, position)
        position = _skip(text, _skip(text, position) + 1)
        try:
            _, end = _DECODER.raw_decode(text, position)
        except RecursionError:
            raise ApiError(400, "the body is nested too deeply", code="invalid_json") from None
        if key == name:
            positions.append((position, end))
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    if len(positions) > 1:
        raise _occurs(name, len(positions))
    return positions[0] if positions else None


def _occurs(key: str, times: int) -> ApiError:
    return ApiError(400, f"the key {key} occurs {times} times, expected once", code="invalid_json", param=key)


def _skip(text: str, position: int) -> int:
    while text[position] in _SPACE:
        position += 1
    return position
