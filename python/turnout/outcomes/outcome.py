"""One outcome: what is known of the answer to a routed request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from turnout.errors import InvalidInputError, InvalidTypeError

#: Kinds of outcomes, and the values that each takes with the number in ``[0, 1]`` that is stored; ``score`` takes any such number.
KINDS: Mapping[str, Mapping[Any, float]] = {
    "score": {},
    "preference": {"win": 1.0, "tie": 0.5, "loss": 0.0},
    "thumbs": {"up": 1.0, "down": 0.0},
    "passed": {True: 1.0, False: 0.0},
    "regenerated": {True: 0.0},
}
#: Characters of a receipt's id and of a model's name.
LONGEST_NAME = 256
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Outcome(NamedTuple):
    """One value of one kind for a receipt.

    Attributes:
        receipt_id: The receipt; for the server, the request id of its decision.
        kind: A key of :data:`KINDS`.
        value: In ``[0, 1]``, larger is better.
        model: Whose answer it is about; empty for the answer that was delivered.
        time: Seconds since 1970.
        source: Who recorded it: the name of a client key, or of a judge; may be empty.
        propensity: Of a verdict of shadow evaluation, the chance with which this comparison was made.
        position: Likewise, where the judge read the answer of ``model``: 1 first, 2 second.

    Example:
        >>> Outcome("4f1c", "thumbs", 1.0).value
        1.0
    """

    receipt_id: str
    kind: str
    value: float
    model: str = ""
    time: float = 0.0
    source: str = ""
    propensity: float | None = None
    position: int | None = None

    def is_about(self, served: str) -> bool:
        """Whether it is about the answer that was delivered.

        Args:
            served: The model that answered.

        Returns:
            ``True`` where it names that model, or none.
        """
        return self.model in ("", served)

    def grade_of(self, served: str) -> float | None:
        """The grade that it gives the delivered answer: its value, or ``None`` where it gives none.

        An outcome of another model's answer does not grade this one. Neither does ``regenerated``: that a user did not ask for another
        answer is never recorded, so its mean says nothing.

        Args:
            served: The model that answered.

        Returns:
            In ``[0, 1]``, or ``None``.

        Example:
            >>> outcome = Outcome("4f1c", "thumbs", 1.0, model="large")
            >>> outcome.grade_of("large"), outcome.grade_of("small")
            (1.0, None)
            >>> Outcome("4f1c", "regenerated", 0.0).grade_of("large") is None
            True
        """
        return self.value if self.kind != "regenerated" and self.is_about(served) else None


def outcome_of(fields: Mapping[str, Any], row: int | None = None) -> Outcome:
    """Checks the fields of an outcome, as ``POST /v1/outcomes`` takes them.

    Args:
        fields: ``receipt_id``, exactly one key of :data:`KINDS` that is not ``None``, and maybe ``model``.
        row: For errors, in a call with many.

    Returns:
        The outcome, without time and source.

    Raises:
        InvalidInputError: A field is missing, unknown, or out of range.
        InvalidTypeError: A field is of the wrong type.

    Example:
        >>> outcome_of({"receipt_id": "4f1c", "thumbs": "up"})[:3]
        ('4f1c', 'thumbs', 1.0)
    """
    if unknown := [name for name in fields if name not in KINDS and name not in ("receipt_id", "model")]:
        raise InvalidInputError(
            f"unknown field {_shown(unknown[0])}, expected receipt_id, model and one of {', '.join(KINDS)}", row=row
        )
    receipt_id = _name(fields.get("receipt_id"), "receipt_id", row)
    model = fields.get("model")
    given = [kind for kind in KINDS if fields.get(kind) is not None]
    if len(given) != 1:
        found = ", ".join(given) or "none"
        raise InvalidInputError(f"expected exactly one of {', '.join(KINDS)}; found: {found}", row=row)
    (kind,) = given
    value = _value(kind, fields[kind], row)
    return Outcome(receipt_id, kind, value, "" if model is None else _name(model, "model", row))


def _value(kind: str, found: Any, row: int | None) -> float:
    values = KINDS[kind]
    if not values:
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise InvalidTypeError(
                f"score is of type {type(found).__name__}, expected a number in 0..=1", argument=kind
            )
        if not 0 <= found <= 1:  # not a number, too
            raise InvalidInputError(f"score is {_shown(found)}, expected a number in 0..=1", argument=kind, row=row)
        return float(found)
    for value, number in values.items():
        if type(found) is type(value) and found == value:
            return number
    expected = " or ".join(str(value).lower() if isinstance(value, bool) else repr(value) for value in values)
    raise InvalidInputError(f"{kind} is {_shown(found)}, expected {expected}", argument=kind, row=row)


def _name(found: Any, field: str, row: int | None) -> str:
    if found is None:
        raise InvalidInputError(f"{field} is missing", argument=field, row=row)
    if not isinstance(found, str):
        raise InvalidTypeError(f"{field} is of type {type(found).__name__}, expected a string", argument=field)
    if not 1 <= len(found) <= LONGEST_NAME:
        raise InvalidInputError(
            f"{field} has {len(found)} characters, expected 1..={LONGEST_NAME}", argument=field, row=row
        )
    if _CONTROL.search(found):
        raise InvalidInputError(f"{field} has a control character: {_shown(found)}", argument=field, row=row)
    return found


def _shown(value: Any) -> str:
    if not isinstance(value, str | int | float):
        return f"a value of type {type(value).__name__}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    text = ascii(value)
    return text if len(text) <= 80 else text[:80] + "..."
