"""Columns of a chunk as texts and scores, with the rows where they are neither."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from turnout.data.chunks import Column

Problems = dict[int, str]
_WORDS = {"true": 1.0, "false": 0.0, "": math.nan, "null": math.nan, "none": math.nan, "nan": math.nan, "na": math.nan}


def texts(column: Column, name: str) -> tuple[list[str], Problems]:
    """Texts of a column.

    Args:
        column: A column.
        name: Its name, for messages.

    Returns:
        One text a row (empty where there is none), and reasons by place in the chunk where a row has none.
    """
    values = column if isinstance(column, list) else _decoded(column)
    problems: Problems = {}
    result = []
    for place, value in enumerate(values):
        if isinstance(value, bytes):
            problems[place] = f"{name} is not UTF-8"
        elif value is None or value == "":
            problems[place] = f"{name} is missing"
        elif not isinstance(value, str):
            problems[place] = f"{name} is {type(value).__name__}, expected text"
        result.append(value if isinstance(value, str) else "")
    return result, problems


def scores(column: Column, name: str) -> tuple[NDArray[np.float64], Problems]:
    """Scores of a column: numbers, booleans, or texts of these. Missing ones are NaN and no problem.

    Args:
        column: A column.
        name: Its name, for messages.

    Returns:
        One number a row, and reasons by place in the chunk where a value is no score.
    """
    if not isinstance(column, list) and _is_numeric(column.type):
        result = np.asarray(pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        places = np.flatnonzero(np.isinf(result))
        return result, {int(place): f"{name} is {result[place]}, expected a finite number" for place in places}
    distinct, places = _distinct(column)
    numbers = [_score(value) for value in distinct]
    table = np.array([math.nan if number is None else number for number in numbers] + [math.nan])
    result = table[places]
    wrong = {which for which, number in enumerate(numbers) if number is None}
    problems: Problems = {}
    if wrong:
        for place in np.flatnonzero(np.isin(places, list(wrong))):
            problems[int(place)] = f"{name} is {_shortened(distinct[places[place]])}, expected a number"
    return result, problems


def _distinct(column: Column) -> tuple[list[Any], NDArray[np.int64]]:
    """Values that differ, and which of them each row has; -1 for none."""
    if not isinstance(column, list) and pa.types.is_nested(column.type):
        column = column.to_pylist()
    if not isinstance(column, list):
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        indices = pc.fill_null(encoded.indices.cast(pa.int64()), -1)
        return encoded.dictionary.to_pylist(), np.asarray(indices.to_numpy(zero_copy_only=False), dtype=np.int64)
    known: dict[tuple[type, Any], int] = {}
    distinct: list[Any] = []
    places = np.empty(len(column), dtype=np.int64)
    for place, value in enumerate(column):
        # Lists and objects cannot be keys, and are no scores either: each is a value of its own.
        key = (type(value), value if isinstance(value, str | bool | int | float) else id(value))
        if value is None:
            places[place] = -1
            continue
        if key not in known:
            known[key] = len(distinct)
            distinct.append(value)
        places[place] = known[key]
    return distinct, places


def _is_numeric(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_)
        or pa.types.is_floating(type_)
        or pa.types.is_boolean(type_)
        or pa.types.is_decimal(type_)
        or pa.types.is_null(type_)
    )


def _score(value: Any) -> float | None:
    if value is None:
        return math.nan
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _WORDS:
            return _WORDS[word]
        try:
            value = float(word)
        except ValueError:
            return None
    if not isinstance(value, int | float):
        return None
    number = float(value)
    return None if math.isinf(number) else number


def _decoded(column: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_binary(column.type):
        try:
            return list(column.cast(pa.string()).to_pylist())
        except pa.ArrowInvalid:
            return [_text_or_bytes(value) for value in column.to_pylist()]
    return list(column.to_pylist())


def _text_or_bytes(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _shortened(value: Any) -> str:
    text = repr(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
    return text if len(text) <= 40 else text[:37] + "..."
