"""Receipts and their outcomes as columns."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.outcomes import KINDS, Outcome

Floats = NDArray[np.float64]

#: Kinds that grade an answer. ``regenerated`` is only ever recorded for bad ones, so its mean says nothing.
GRADES = tuple(kind for kind in KINDS if kind != "regenerated")


@dataclass(frozen=True)
class Prices:
    """Prices of a model per million tokens.

    Attributes:
        input: Of input tokens.
        output: Of output tokens.
        cached: Of input tokens that the provider has cached; ``None`` where it is that of the others.
    """

    input: float
    output: float
    cached: float | None = None

    def cost(self, tokens: Floats) -> Floats:
        """What requests cost.

        Args:
            tokens: Input, output and cached tokens ``[rows, 3]``; cached ones are part of the input.

        Returns:
            float64 ``[rows]``, NaN where tokens are.

        Example:
            >>> Prices(10, 30, cached=1).cost(np.array([[1_000_000.0, 0.0, 900_000.0]])).tolist()
            [1.9]
        """
        inputs, outputs, cached = tokens.T
        saved = np.minimum(cached, inputs) * (0.0 if self.cached is None else self.input - self.cached)
        found: Floats = (inputs * self.input + outputs * self.output - saved) / 1e6
        return found


@dataclass(frozen=True)
class Traffic:
    """Decisions that a model answered. Rows of all columns belong together.

    Attributes:
        prompts: SHA-256 of each prompt.
        chosen: The model that was decided for.
        served: The model that answered.
        win_rate: ``[rows]``; NaN where the receipt has none.
        tokens: Input, output and cached tokens ``[rows, 3]``; NaN where unknown, 0 where nothing is known to be cached.
        cost: ``[rows]``; NaN where unknown.
        discarded_cost: Part of ``cost`` for an answer that a cascade discarded, ``[rows]``.
        grades: For each kind of grade, ``[rows]`` in ``[0, 1]``; NaN where there is none.
        regenerated: ``[rows]``, whether the user asked for another answer.
        verdicts: Grades of other models' answers by model, ``[rows]``; NaN where there is none.
        verdict_propensities: For each of these models, the chance of each verdict of shadow evaluation, ``[rows]``; NaN for others.
        drawn: The model that shadow evaluation drew, ``[rows]``; empty for none.
        drawn_propensities: The chance of that, ``[rows]``; NaN for none.
        propensities: For each model, the chance with which it was chosen, ``[rows]``; NaN where the receipt has no propensities.
        left_out: Receipts and outcomes that are not in the rows, by reason.
    """

    prompts: tuple[str, ...]
    chosen: NDArray[np.object_]
    served: NDArray[np.object_]
    win_rate: Floats
    tokens: Floats
    cost: Floats
    discarded_cost: Floats
    grades: Mapping[str, Floats]
    regenerated: NDArray[np.bool_]
    verdicts: Mapping[str, Floats]
    verdict_propensities: Mapping[str, Floats]
    drawn: NDArray[np.object_]
    drawn_propensities: Floats
    propensities: Mapping[str, Floats]
    left_out: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.prompts)

    def cost_of(self, model: str, prices: Prices) -> Floats:
        """What every row would cost if one model answered it with the tokens that the row has; what its own answers cost is known.

        Args:
            model: The model.
            prices: Its prices.

        Returns:
            float64 ``[rows]``, NaN where unknown.
        """
        return np.where(self.served == model, self.cost - self.discarded_cost, prices.cost(self.tokens))


def join(receipts: Iterable[Mapping[str, Any]], outcomes: Iterable[Outcome], prices: Mapping[str, Prices]) -> Traffic:
    """Joins receipts and outcomes by id.

    Args:
        receipts: Lines of the decision log.
        outcomes: What was recorded.
        prices: Of models by name, for receipts without a cost.

    Returns:
        The decisions that a model answered. An id that names more than one receipt is left out with its outcomes: it does not say which.

    Raises:
        InvalidInputError: A receipt lacks a field.
    """
    found: dict[str, _Row] = {}
    left_out: Counter[str] = Counter()
    repeated: set[str] = set()
    for row, receipt in enumerate(receipts):
        missing = [name for name in ("request_id", "prompt_sha256", "model", "served") if name not in receipt]
        if missing:
            raise InvalidInputError(
                f"receipt {row} lacks {', '.join(missing)}, expected a line of the decision log", row=row
            )
        name = str(receipt["request_id"])
        if name in found:
            repeated.add(name)
            left_out["receipts whose id is not unique"] += 1
        else:
            found[name] = _row(receipt)
    left_out["receipts whose id is not unique"] += len(repeated)
    failed = {name for name, row in found.items() if not row.served} - repeated
    left_out["decisions that no model answered"] += len(failed)
    names = [name for name in found if name not in repeated and name not in failed]
    rows = [found[name] for name in names]
    index = {name: row for row, name in enumerate(names)}
    grades = {kind: np.full(len(rows), np.nan) for kind in GRADES}
    regenerated = np.zeros(len(rows), dtype=bool)
    verdicts: dict[str, Floats] = {}
    chances: dict[str, Floats] = {}
    for outcome in outcomes:
        at = index.get(outcome.receipt_id)
        if at is None:
            left_out["outcomes without a receipt here"] += 1
            continue
        model = rows[at].served
        if not outcome.is_about(model) and outcome.kind != "preference":
            left_out["grades of a model that did not answer"] += 1
        elif not outcome.is_about(model):
            verdicts.setdefault(outcome.model, np.full(len(rows), np.nan))[at] = outcome.value
            chance = float("nan") if outcome.propensity is None else outcome.propensity
            chances.setdefault(outcome.model, np.full(len(rows), np.nan))[at] = chance
        elif (grade := outcome.grade_of(model)) is None:
            regenerated[at] = True
        elif np.isnan(grades[outcome.kind][at]):
            grades[outcome.kind][at] = grade
        else:
            left_out["outcomes after the first of their kind"] += 1
    numbers = np.array([row.numbers for row in rows], dtype=np.float64).reshape(len(rows), len(_NUMBERS))
    tokens, costs = numbers[:, :3], numbers[:, 3]
    models = np.array([row.served for row in rows], dtype=object)
    for name, price in prices.items():
        costs = np.where(np.isnan(costs) & (models == name), price.cost(tokens), costs)
    return Traffic(
        prompts=tuple(row.prompt for row in rows),
        chosen=np.array([row.chosen for row in rows], dtype=object),
        served=models,
        win_rate=numbers[:, 4],
        tokens=tokens,
        cost=costs,
        discarded_cost=numbers[:, 5],
        grades={kind: values for kind, values in grades.items() if not np.isnan(values).all()},
        regenerated=regenerated,
        verdicts=verdicts,
        verdict_propensities=chances,
        drawn=np.array([row.drawn for row in rows], dtype=object),
        drawn_propensities=numbers[:, 6],
        propensities=_propensities([row.propensities for row in rows]),
        left_out={reason: count for reason, count in left_out.items() if count},
    )


#: Columns of :attr:`_Row.numbers`.
_NUMBERS = ("input_tokens", "output_tokens", "cached_tokens", "cost", "win_rate", "discarded_cost", "drawn_propensity")


class _Row(NamedTuple):
    """What is kept of a receipt: neither its prompt nor what else may be long."""

    prompt: str
    chosen: str
    #: Empty where no model answered.
    served: str
    numbers: tuple[float, ...]
    propensities: Mapping[str, float]
    drawn: str


def _row(receipt: Mapping[str, Any]) -> _Row:
    shadow = _object(receipt, "shadow")
    numbers = (
        _number(receipt, "input_tokens"),
        _number(receipt, "output_tokens"),
        _number(receipt, "cached_tokens", 0.0),
        _number(receipt, "cost"),
        _number(receipt, "win_rate"),
        _number(_object(receipt, "discarded"), "cost", 0.0),
        _number(shadow, "propensity"),
    )
    names = (str(receipt["model"]), _served(receipt) or "", str(shadow.get("model") or ""))
    # The same few names in every row.
    chosen, served, drawn = map(sys.intern, names)
    return _Row(str(receipt["prompt_sha256"]), chosen, served, numbers, _object(receipt, "propensities"), drawn)


def _propensities(rows: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for row, chances in enumerate(rows):
        for model, chance in chances.items():
            found.setdefault(model, np.full(len(rows), np.nan))[row] = chance
    known = np.any([~np.isnan(values) for values in found.values()], axis=0) if found else None
    # A model that a receipt with propensities does not name had no chance there.
    return {model: np.where(known & np.isnan(values), 0.0, values) for model, values in found.items()}


def _served(receipt: Mapping[str, Any]) -> str | None:
    """The model that answered, as far as is known: the chosen one where a gateway calls the models."""
    found: str | None = receipt["served"]
    return str(receipt["model"]) if found is None and receipt.get("by") == "gateway" else found


def _object(receipt: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = receipt.get(name) or {}
    # A log in parquet holds text in place of the object.
    return json.loads(found) if isinstance(found, str) else found


def _number(receipt: Mapping[str, Any], name: str, unknown: float = float("nan")) -> float:
    found = receipt.get(name)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if is_number and found is not None else unknown
