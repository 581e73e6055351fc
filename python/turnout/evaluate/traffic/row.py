"""What is kept of one receipt."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from turnout._core import InvalidInputError
from turnout.evaluate.traffic.prices import TOKENS, costs
from turnout.outcomes.receipts import answered_by
from turnout.token_prices import TokenPrices


class Row(NamedTuple):
    """What is kept of a receipt: neither its prompt nor what else may be long. Numbers are NaN where unknown."""

    prompt: str
    chosen: str
    #: Empty where no model answered.
    served: str
    #: The model that shadow evaluation drew; empty for none.
    drawn: str
    drawn_propensity: float
    input_tokens: float
    output_tokens: float
    cached_tokens: float
    written_tokens: float
    written_1h_tokens: float
    cost: float
    discarded_cost: float
    win_rate: float
    propensities: Mapping[str, float]


def row_of(receipt: Mapping[str, Any], prices: Mapping[str, TokenPrices]) -> Row:
    """Reads a receipt.

    Args:
        receipt: A line of the decision log.
        prices: Of models by name, for discarded answers without a cost.

    Raises:
        InvalidInputError: A field is not of its type.
    """
    shadow = _object(receipt, "shadow")
    return Row(
        prompt=str(receipt["prompt_sha256"]),
        # The same few names in every row.
        chosen=sys.intern(str(receipt["model"])),
        served=sys.intern(answered_by(receipt) or ""),
        drawn=sys.intern(str(shadow.get("model") or "")),
        drawn_propensity=_number(shadow, "propensity"),
        input_tokens=_number(receipt, "input_tokens"),
        output_tokens=_number(receipt, "output_tokens"),
        cached_tokens=_number(receipt, "cached_tokens", 0.0),
        written_tokens=_number(receipt, "written_tokens", 0.0),
        written_1h_tokens=_number(receipt, "written_1h_tokens", 0.0),
        cost=_number(receipt, "cost"),
        discarded_cost=_discarded_cost(receipt, prices),
        win_rate=_number(receipt, "win_rate"),
        propensities=_object(receipt, "propensities"),
    )


def _discarded_cost(receipt: Mapping[str, Any], prices: Mapping[str, TokenPrices]) -> float:
    """What the answers cost that a cascade discarded; NaN where that of one is unknown."""
    answers = _parsed(receipt, "discarded", [])
    if not isinstance(answers, list) or not all(isinstance(one, Mapping) for one in answers):
        raise _not_as_expected(receipt, "discarded", "a list of objects")
    total = 0.0
    for answer in answers:
        cost = _number(answer, "cost")
        if math.isnan(cost) and (price := prices.get(str(answer.get("model")))) is not None:
            known = {"input_tokens": math.nan, "output_tokens": math.nan}
            tokens = [_number(answer, name, known.get(name, 0.0)) for name in TOKENS]
            cost = float(costs(price, np.array([tokens]))[0])
        total += cost
    return total


def _object(receipt: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = _parsed(receipt, name, {})
    if not isinstance(found, Mapping):
        raise _not_as_expected(receipt, name, "an object")
    return found


def _parsed(receipt: Mapping[str, Any], name: str, absent: Any) -> Any:
    """A field with parts; a log in parquet holds its JSON text."""
    found = receipt.get(name)
    if isinstance(found, str) and found:
        with contextlib.suppress(json.JSONDecodeError):
            found = json.loads(found)
    return absent if found is None or found == "" else found


def _not_as_expected(receipt: Mapping[str, Any], name: str, expected: str) -> InvalidInputError:
    found = ascii(receipt[name])[:80]
    return InvalidInputError(f"receipt {str(receipt['request_id'])!r} has {name} {found}, expected {expected}")


def _number(receipt: Mapping[str, Any], name: str, unknown: float = float("nan")) -> float:
    found = receipt.get(name)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if is_number and found is not None else unknown
