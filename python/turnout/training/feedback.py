"""What outcomes and shadow verdicts say of a pool's models, decision by decision."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.outcomes import Outcome
from turnout.outcomes.receipts import ReceiptIds, answered_by
from turnout.pool.profiles import Doubles

#: Decisions that are used at most, the last ones by time.
MOST = 200_000


@dataclass(frozen=True)
class Feedback:
    """Decisions with an outcome, in the order of their times.

    Attributes:
        prompts: Their prompts.
        scores: In 0..1, float64 ``[decisions, models]``; NaN where nothing is known.
        verdicts: Of shadow evaluation: decision, the other model, the model that answered, 1, .5 or 0 for the other one, and the chance with which it was
            drawn; float64 ``[verdicts, 5]``.
        left_out: Decisions and outcomes that are not used, by reason.
    """

    prompts: Sequence[str]
    scores: Doubles
    verdicts: Doubles
    left_out: Mapping[str, int]

    def rows(self, keep: NDArray[np.bool_]) -> Feedback:
        """Some of the decisions.

        Args:
            keep: bool ``[decisions]``.
        """
        kept = np.flatnonzero(keep)
        number = np.cumsum(keep) - 1
        verdicts = self.verdicts[keep[self.verdicts[:, 0].astype(int)]].copy()
        verdicts[:, 0] = number[verdicts[:, 0].astype(int)]
        return Feedback([self.prompts[row] for row in kept.tolist()], self.scores[kept], verdicts, self.left_out)


def feedback_of(
    receipts: Iterable[Mapping[str, Any]],
    outcomes: Iterable[Outcome],
    names: Sequence[str],
    *,
    sources: Collection[str] | None = None,
    most: int = MOST,
) -> Feedback:
    """Joins receipts with their outcomes.

    The first outcome of an answer grades it. A verdict of shadow evaluation says which of two answers is better: where the delivered answer
    has no grade, the verdict grades both; where it has one, a tie, a better answer than a good one and a worse answer than a bad one grade the
    other.

    Args:
        receipts: Lines of the decision log with prompts.
        outcomes: What was recorded.
        names: The pool's candidates.
        sources: Names of sources to use; ``None`` for all of them. Verdicts of shadow evaluation always count.
        most: Decisions that are used, the last ones by time.

    Raises:
        InvalidInputError: A receipt lacks a field, or decisions have outcomes and none has its prompt.
    """
    left_out: Counter[str] = Counter()
    by_receipt: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.propensity is None and sources is not None and outcome.source not in sources:
            left_out["outcomes of other sources"] += 1
        else:
            by_receipt.setdefault(outcome.receipt_id, []).append(outcome)
    index = {name: number for number, name in enumerate(names)}
    ids = ReceiptIds()
    # A heap, the earliest first: the last decisions by time, whatever the order of the files is.
    found: list[tuple[float, str, str, str]] = []
    for name, receipt in ids.read(receipts):
        served, prompt = answered_by(receipt), receipt.get("prompt")
        if name not in by_receipt:
            left_out["decisions without an outcome"] += 1
        elif served not in index:
            left_out["decisions that no model of the pool answered"] += 1
        elif not isinstance(prompt, str):
            left_out["decisions without their prompt"] += 1
        else:
            heapq.heappush(found, (float(receipt.get("time") or 0.0), name, str(served), prompt))
            if len(found) > most:
                heapq.heappop(found)
                left_out[f"decisions before the last {most:,}"] += 1
    if not found and left_out["decisions without their prompt"]:
        raise InvalidInputError("no decision with an outcome has its prompt: expected a log with [log] prompts = true")
    rows = sorted(one for one in found if ids.is_unique(one[1]))
    left_out["decisions whose id is not unique"] += len(found) - len(rows)
    scores = np.full((len(rows), len(names)), np.nan)
    verdicts: list[tuple[int, int, int, float, float]] = []
    for row, (_, name, served, _) in enumerate(rows):
        own = index[served]
        grades = (outcome.grade_of(served) for outcome in by_receipt[name])
        grade = next((one for one in grades if one is not None), None)
        if grade is not None:
            scores[row, own] = grade
        for outcome in by_receipt[name]:
            other = index.get(outcome.model)
            if outcome.propensity is None or other is None or other == own:
                continue
            verdicts.append((row, other, own, outcome.value, outcome.propensity))
            scores[row, other] = _score(outcome.value, grade)
            if grade is None:
                scores[row, own] = 1.0 - outcome.value
    return Feedback(
        [prompt for *_, prompt in rows],
        scores,
        np.array(verdicts, dtype=np.float64).reshape(-1, 5),
        {reason: count for reason, count in left_out.items() if count},
    )


def _score(verdict: float, grade: float | None) -> float:
    """The score of an answer that was compared with another one of this grade."""
    if grade is None:
        return verdict
    if verdict == 0.5:
        return grade
    is_known = grade >= 0.5 if verdict > 0.5 else grade < 0.5
    return verdict if is_known else float("nan")
