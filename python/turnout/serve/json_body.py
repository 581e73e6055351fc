"""The body of a request: parsed to decide, and sent on byte for byte but for the model's name."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import orjson

from turnout.serve.errors import ApiError

#: Larger bodies are parsed and edited on a worker thread: on the event loop they would hold up other requests.
INLINE_BYTES = 32 * 1024

_SPACE = " \t\r\n"
_PLAIN_VALUE = re.compile(rb'[ \t\r\n]*:[ \t\r\n]*("[^"\\]*")')
#: Numbers stay text: only places matter here.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


async def parse(body: bytes) -> dict[str, Any]:
    """The object in a body.

    Raises:
        ApiError: 400 for anything else, with the place.
    """
    return _parse(body) if len(body) <= INLINE_BYTES else await asyncio.to_thread(_parse, body)


async def with_model(body: bytes, model: str) -> bytes:
    """The body with another model's name; all other bytes are as they came.

    Args:
        body: Text of a JSON object that has the key ``model``.
        model: The new name.

    Raises:
        ApiError: 400 where the key stands more than once, for readers differ on which one counts.
    """
    if len(body) <= INLINE_BYTES:
        return replace_model(body, model)
    return await asyncio.to_thread(replace_model, body, model)


def replace_model(body: bytes, model: str) -> bytes:
    """:func:`with_model`, on this thread.

    Example:
        >>> replace_model(b'{"tools": [{"model": 1}], "model" : "router-mf-0.5", "seed": 1.0}', "large")
        b'{"tools": [{"model": 1}], "model" : "large", "seed": 1.0}'
    """
    # The usual case: the key stands there once, and no escape spells one of its letters.
    if body.count(b'"model"') == 1 and b"\\u006" not in body:
        value = _PLAIN_VALUE.match(body, body.index(b'"model"') + len(b'"model"'))
        if value is not None:
            return body[: value.start(1)] + orjson.dumps(model) + body[value.end(1) :]
    text = body.decode()
    start, end = _place_of_model(text)
    return (text[:start] + json.dumps(model) + text[end:]).encode()


def _parse(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is no JSON: {error}", code="invalid_json") from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply", code="invalid_json") from None
    if not isinstance(found, dict):
        raise ApiError(400, f"the body is of type {type(found).__name__}, expected an object", code="invalid_json")
    return found


def _place_of_model(text: str) -> tuple[int, int]:
    """Where the value of the outermost ``model`` begins and ends; the text is that of a JSON object."""
    places = []
    position = _skip(text, text.index("{") + 1)
    while text[position] == '"':
        key, position = _DECODER.raw_decode(text, position)
        position = _skip(text, _skip(text, position) + 1)
        try:
            _, end = _DECODER.raw_decode(text, position)
        except RecursionError:
            raise ApiError(400, "the body is nested too deeply", code="invalid_json") from None
        if key == "model":
            places.append((position, end))
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    if len(places) != 1:
        raise ApiError(
            400, f"the key model stands {len(places)} times, expected once", code="invalid_json", param="model"
        )
    return places[0]


def _skip(text: str, position: int) -> int:
    while text[position] in _SPACE:
        position += 1
    return position
