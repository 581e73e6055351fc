"""The body of a request: parsed for the decision, forwarded byte for byte except for the model's name."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

import orjson

from turnout.serve.errors import ApiError

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
    start, end = _position_of_model(text)
    return (text[:start] + json.dumps(model) + text[end:]).encode()


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


def _position_of_model(text: str) -> tuple[int, int]:
    """Where the value of the outermost ``model`` begins and ends, in the text of a JSON object."""
    positions = []
    position = _skip(text, text.index("{") + 1)
    while text[position] == '"':
        key, position = _DECODER.raw_decode(text, position)
        position = _skip(text, _skip(text, position) + 1)
        try:
            _, end = _DECODER.raw_decode(text, position)
        except RecursionError:
            raise ApiError(400, "the body is nested too deeply", code="invalid_json") from None
        if key == "model":
            positions.append((position, end))
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)
    if len(positions) != 1:
        raise ApiError(
            400, f"the key model occurs {len(positions)} times, expected once", code="invalid_json", param="model"
        )
    return positions[0]


def _skip(text: str, position: int) -> int:
    while text[position] in _SPACE:
        position += 1
    return position
