"""Receipts of a decision log, as far as outcomes need them: which receipt an id names, and which model answered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from turnout.errors import InvalidInputError


class ReceiptIds:
    """Ids of the receipts that were read. One that several receipts have does not say which answer an outcome is about."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def read(self, receipts: Iterable[Mapping[str, Any]], *fields: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Receipts with their ids.

        Args:
            receipts: Lines of a decision log.
            fields: What every receipt must have, beside its id and what :func:`answered_by` reads.

        Raises:
            InvalidInputError: A receipt lacks a field.
        """
        for row, receipt in enumerate(receipts):
            missing = [name for name in ("request_id", *fields, "model", "served") if name not in receipt]
            if missing:
                raise InvalidInputError(
                    f"receipt {row} lacks {', '.join(missing)}, expected a line of the decision log", row=row
                )
            name = str(receipt["request_id"])
            self._counts[name] += 1
            yield name, receipt

    def is_unique(self, name: str) -> bool:
        """Whether one receipt has this id.

        Args:
            name: The id.
        """
        return self._counts[name] == 1


def answered_by(receipt: Mapping[str, Any]) -> str | None:
    """The model that answered, as far as is known: the chosen one where a gateway calls the models.

    Args:
        receipt: A line of the decision log.

    Returns:
        ``None`` where no model answered.

    Example:
        >>> answered_by({"model": "small", "served": None, "by": "gateway"})
        'small'
    """
    found: str | None = receipt["served"]
    return str(receipt["model"]) if found is None and receipt.get("by") == "gateway" else found


def cell_of(value: Any) -> Any:
    """A value of a receipt as a log in parquet has it: objects and lists are JSON text, since a column has one type for all rows.

    Args:
        value: Of a field.

    Example:
        >>> cell_of({"a": [1, None]}), cell_of("text")
        ('{"a": [1, null]}', 'text')
    """
    return json.dumps(value) if isinstance(value, dict | list) else value
