"""Receipts and their outcomes as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.evaluate.metrics import Floats
from turnout.evaluate.traffic.prices import TOKENS, costs
from turnout.evaluate.traffic.row import Row, row_of
from turnout.outcomes import KINDS, Outcome
from turnout.outcomes.receipts import ReceiptIds
from turnout.token_prices import TokenPrices

#: Kinds that grade an answer. ``regenerated`` is only ever recorded for bad ones, so its mean says nothing.
GRADES = tuple(kind for kind in KINDS if kind != "regenerated")


@dataclass(frozen=True)
class Traffic:
    """Decisions that a model answered. Rows of all columns belong together.

    Attributes:
        prompts: SHA-256 of each prompt.
        chosen: The model that was decided for.
        served: The model that answered.
        win_rate: ``[rows]``; NaN where the receipt has none.
        tokens: Columns :data:`~turnout.evaluate.traffic.prices.TOKENS`, ``[rows, 5]``; NaN where unknown, 0 where nothing is known to be cached.
        cost: ``[rows]``; NaN where unknown.
        discarded_cost: Part of ``cost`` for the answers that a cascade discarded, ``[rows]``; NaN where unknown.
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

    def cost_of(self, model: str, prices: TokenPrices) -> Floats:
        """What every row would cost if one model answered it with the tokens that the row has; what its own answers cost is known.

        Args:
            model: The model.
            prices: Its prices.

        Returns:
            float64 ``[rows]``, NaN where unknown.
        """
        return np.where(self.served == model, self.cost - self.discarded_cost, costs(prices, self.tokens))


def join(
    receipts: Iterable[Mapping[str, Any]], outcomes: Iterable[Outcome], prices: Mapping[str, TokenPrices]
) -> Traffic:
    """Joins receipts and outcomes by id.

    Args:
        receipts: Lines of the decision log.
        outcomes: What was recorded.
        prices: Of models by name, for answers without a cost.

    Returns:
        The decisions that a model answered. An id that names more than one receipt is left out with its outcomes: it does not say which.

    Raises:
        InvalidInputError: A receipt lacks a field, or a field is not of its type.
    """
    ids = ReceiptIds()
    found: dict[str, Row] = {}
    left_out: Counter[str] = Counter()
    receipts_read = 0
    for name, receipt in ids.read(receipts, "prompt_sha256"):
        found[name] = row_of(receipt, prices)
        receipts_read += 1
    unique = {name: row for name, row in found.items() if ids.is_unique(name)}
    left_out["receipts whose id is not unique"] = receipts_read - len(unique)
    answered = {name: row for name, row in unique.items() if row.served}
    left_out["decisions that no model answered"] = len(unique) - len(answered)
    rows = list(answered.values())
    index = {name: row for row, name in enumerate(answered)}
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

    def column(name: str) -> Floats:
        return np.array([getattr(row, name) for row in rows], dtype=np.float64)

    tokens = np.stack([column(name) for name in TOKENS], axis=1)
    paid, discarded = column("cost"), column("discarded_cost")
    models = np.array([row.served for row in rows], dtype=object)
    for name, price in prices.items():
        paid = np.where(np.isnan(paid) & (models == name), costs(price, tokens) + discarded, paid)
    return Traffic(
        prompts=tuple(row.prompt for row in rows),
        chosen=np.array([row.chosen for row in rows], dtype=object),
        served=models,
        win_rate=column("win_rate"),
        tokens=tokens,
        cost=paid,
        discarded_cost=discarded,
        grades={kind: values for kind, values in grades.items() if not np.isnan(values).all()},
        regenerated=regenerated,
        verdicts=verdicts,
        verdict_propensities=chances,
        drawn=np.array([row.drawn for row in rows], dtype=object),
        drawn_propensities=column("drawn_propensity"),
        propensities=_propensities([row.propensities for row in rows]),
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def _propensities(rows: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    for row, chances in enumerate(rows):
        for model, chance in chances.items():
            found.setdefault(model, np.full(len(rows), np.nan))[row] = chance
    known = np.any([~np.isnan(values) for values in found.values()], axis=0) if found else None
    # A model that a receipt with propensities does not name had no chance there.
    return {model: np.where(known & np.isnan(values), 0.0, values) for model, values in found.items()}
