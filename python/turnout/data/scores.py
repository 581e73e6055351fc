"""Values of a column as scores, with the rows where they are none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.data.texts import Problems

_WORDS = {"true": 1.0, "false": 0.0, "": math.nan, "null": math.nan, "none": math.nan, "nan": math.nan, "na": math.nan}
_NUMBERS = {int, float, bool, type(None)}


def scores_of(values: Sequence[Any], name: str) -> tuple[NDArray[np.float64], Problems]:
    """Scores of a column: numbers, booleans, or texts of these. Missing scores are NaN and valid.

    Args:
        values: The column.
        name: Its name, for messages.

    Returns:
        One number a row, float64, and why a value is not a score.
    """
    problems: Problems = {}
    if set(map(type, values)) <= _NUMBERS:
        try:
            result = np.array(values, dtype=np.float64)
        except OverflowError:
            result = np.array([float(str(value)) if value is not None else math.nan for value in values])
        infinite = np.flatnonzero(np.isinf(result)).tolist()
        return result, {index: f"{name} is {result[index]}, expected a finite number" for index in infinite}
    known: dict[str, float | None] = {}
    result = np.full(len(values), math.nan)
    for index, value in enumerate(values):
        if isinstance(value, str):
            if value not in known:
                known[value] = number_of(value)
            number = known[value]
        else:
            number = number_of(value)
        if number is None:
            problems[index] = f"{name} is {shortened(value)}, expected a number{_hint(value)}"
        else:
            result[index] = number
    return result, problems


def number_of(value: Any) -> float | None:
    """The score of one value; NaN if it is missing, ``None`` if it is not a score.

    Example:
        >>> number_of("1.5"), number_of("True"), number_of(None), number_of("high")
        (1.5, 1.0, nan, None)
    """
    if value is None:
        return math.nan
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _WORDS:
            return _WORDS[word]
        if "_" in word:
            return None
    elif not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isinf(number) else number


def _hint(value: Any) -> str:
    """How to write what is a number to people."""
    if not isinstance(value, str):
        return ""
    text = value.strip()
    if text.endswith("%") and number_of(text[:-1]) is not None:
        return f" such as {float(text[:-1]) / 100:g}"
    if text.count(",") == 1 and number_of(text.replace(",", ".")) is not None:
        return f" such as {text.replace(',', '.')}"
    return " such as 1 or 0" if text.isalpha() else ""


def shortened(value: Any) -> str:
    """A value for a message, at most 40 characters of it."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
