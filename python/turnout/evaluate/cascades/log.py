"""Logs of a cascade: answers of the cheaper model with what signals read, whether they were right, and what the strong model would have scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from turnout._core import InvalidInputError
from turnout.cascade import Answer
from turnout.data.bad_rows import BadRows
from turnout.data.chunks import read_chunks
from turnout.evaluate.metrics import Floats

_LISTS = ("logprobs", "first_top_logprobs")


@dataclass(frozen=True)
class CascadeLog:
    """Rows of a log.

    Attributes:
        prompts: The prompts.
        answers: Answers of the cheaper model.
        correct: Score of each answer in 0..1, float64 ``[rows]``.
        strong: Score of the strong model's answer, float64 ``[rows]``; ``None`` if the log has none.
        risks: Of the prompts, in 0..1, float64 ``[rows]``.
        groups: Kind of each prompt; empty names if the log has none.
    """

    prompts: Sequence[str]
    answers: Sequence[Answer]
    correct: Floats
    strong: Floats | None
    risks: Floats
    groups: Sequence[str]

    def __len__(self) -> int:
        return len(self.prompts)

    def rows(self, which: Any) -> CascadeLog:
        """Some of the rows.

        Args:
            which: Indices, or a mask.

        Returns:
            A log of these.
        """
        at = np.arange(len(self))[which]
        strong = None if self.strong is None else self.strong[at]
        prompts, answers, groups = ([column[i] for i in at] for column in (self.prompts, self.answers, self.groups))
        return CascadeLog(prompts, answers, self.correct[at], strong, self.risks[at], groups)


def read_cascade_log(
    path: str | Path,
    risk_of: Callable[[list[str]], Any],
    *,
    strong: str | None = None,
    group: str | None = None,
    bad: BadRows | None = None,
    score: Callable[[list[tuple[str, str]]], Sequence[float]] | None = None,
) -> CascadeLog:
    """Reads a log.

    Columns: `prompt`, `correct` (a score in 0..1, or true and false), and for signals `answer`, `logprobs`, `first_top_logprobs`,
    `samples` (lists) and `self_check`; `risk` replaces that of the router.

    Args:
        path: A table, jsonl or parquet where it has lists.
        risk_of: Risks of prompts, for example ``router.win_rates``.
        strong: Column with scores of the strong model.
        group: Column with kinds of prompts.
        bad: Collects invalid rows; by default the first one is an error.
        score: Scores of prompts and answers, for example :meth:`turnout.cascade.Scorer.scores`.

    Returns:
        The log.

    Raises:
        InvalidInputError: A column is missing, or no row is left.
    """
    bad = BadRows(max_share=0.0) if bad is None else bad
    rows: list[dict[str, Any]] = []
    needed = ["prompt", "correct", *(name for name in (strong, group) if name)]
    for chunk in read_chunks(path):
        missing = [name for name in needed if name not in chunk.names]
        if missing:
            raise InvalidInputError(f"{path} has no column {missing[0]!r}; columns: {', '.join(chunk.names[:40])}")
        chunk.add_problems({at: problem for at, row in enumerate(chunk.rows) if (problem := _problem(row, strong))})
        rows += [chunk.rows[at] for at in chunk.usable(bad)]
    if not rows:
        raise InvalidInputError(f"{path} has no usable row")
    prompts = [row["prompt"] for row in rows]
    given = np.array([np.nan if row.get("risk") is None else float(row["risk"]) for row in rows])
    without = np.flatnonzero(np.isnan(given))
    if len(without):
        given[without] = np.asarray(risk_of([prompts[at] for at in without]), dtype=np.float64)
    scores = None if strong is None else np.array([float(row[strong]) for row in rows])
    answers = [_answer(row) for row in rows]
    if score is not None:
        pairs = [(prompt, answer.text) for prompt, answer in zip(prompts, answers, strict=True)]
        answers = [replace(answer, score=value) for answer, value in zip(answers, score(pairs), strict=True)]
    return CascadeLog(
        prompts,
        answers,
        np.array([float(row["correct"]) for row in rows]),
        scores,
        given,
        ["" if group is None else str(row[group]) for row in rows],
    )


def _answer(row: dict[str, Any]) -> Answer:
    samples, check = row.get("samples"), row.get("self_check")
    return Answer(
        row.get("answer") or "",
        _numbers(row.get("logprobs")),
        _numbers(row.get("first_top_logprobs")),
        list(samples) if samples is not None else None,
        None if check is None else float(check),
    )


def _numbers(values: Any) -> list[float] | None:
    return None if values is None else [float(value) for value in values]


def _problem(row: dict[str, Any], strong: str | None) -> str | None:
    if not isinstance(row.get("prompt"), str):
        return f"prompt is {row.get('prompt')!r}, expected a text"
    for name in ("correct", "self_check", "risk", *([strong] if strong else [])):
        value = row.get(name)
        if value is None and name in ("self_check", "risk"):
            continue
        if not _is_chance(value):
            return f"{name} is {value!r}, expected a number in 0..1"
    for name in _LISTS:
        values = row.get(name)
        if values is not None and not (isinstance(values, list) and all(_is_log(value) for value in values)):
            return f"{name}: expected a list of log-probabilities, numbers of 0 or less"
    samples = row.get("samples")
    if samples is not None and not (isinstance(samples, list) and all(isinstance(text, str) for text in samples)):
        return "samples: expected a list of texts"
    if not isinstance(row.get("answer"), str | None):
        return f"answer is {row['answer']!r}, expected a text"
    return None


def _is_chance(value: object) -> bool:
    try:
        return 0.0 <= float(value) <= 1.0  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _is_log(value: object) -> bool:
    return isinstance(value, int | float) and -1e9 < value <= 1e-6
