"""Tables of (prompt, answer, score), for a learned scorer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.cascade.scorer import pair_text
from turnout.data.bad_rows import BadRows
from turnout.data.chunks import read_chunks
from turnout.profiles.folds import groups_of
from turnout.training.held_out import split_by_prompt
from turnout.training.pair import LabelledPrompts


@dataclass(frozen=True)
class ScoredAnswers:
    """Rows of such tables.

    Attributes:
        prompts: The prompts.
        answers: An answer to each.
        scores: How good it is, float64 ``[rows]`` in 0..1.
    """

    prompts: list[str]
    answers: list[str]
    scores: NDArray[np.float64]

    def split(self, fraction: float, seed: int) -> tuple[ScoredAnswers, ScoredAnswers]:
        """Splits by prompt: all answers to a prompt and to its near-duplicates are in one part.

        Args:
            fraction: Share of the prompts in the second part, near-duplicates counted once.
            seed: Seed of the draw.

        Raises:
            ConfigError: One of the two would be empty.
        """
        groups = groups_of(self.prompts, len(self.prompts) * fraction)
        train, held = split_by_prompt(groups, fraction, seed, "answers")
        return self._rows(train), self._rows(held)

    def labelled(self) -> LabelledPrompts:
        """As the trainer of classifiers takes them: wrong answers are those that the strong model wins."""
        texts = [pair_text(*pair) for pair in zip(self.prompts, self.answers, strict=True)]
        return LabelledPrompts(texts, 1.0 - 2.0 * self.scores, ["answers"] * len(texts))

    def _rows(self, indices: NDArray[np.int64]) -> ScoredAnswers:
        prompts, answers = ([column[at] for at in indices] for column in (self.prompts, self.answers))
        return ScoredAnswers(prompts, answers, self.scores[indices])


def read_scored_answers(
    paths: Sequence[str | Path], score: str = "correct", bad: BadRows | None = None
) -> ScoredAnswers:
    """Reads tables.

    Args:
        paths: Tables with columns ``prompt``, ``answer`` and a score in 0..1.
        score: Name of the column of scores.
        bad: Collects invalid rows; by default the first one is an error.

    Returns:
        Their rows.

    Raises:
        InvalidInputError: A column is missing, or no row is left.
    """
    bad = BadRows(max_share=0.0) if bad is None else bad
    rows = [row for path in paths for row in _rows_of(path, score, bad)]
    if not rows:
        raise InvalidInputError(f"no usable row in {', '.join(map(str, paths))}")
    prompts, answers, scores = zip(*rows, strict=True)
    return ScoredAnswers(list(prompts), list(answers), np.array(scores, dtype=np.float64))


def _rows_of(path: str | Path, score: str, bad: BadRows) -> Iterable[tuple[str, str, float]]:
    for chunk in read_chunks(path):
        for name in ("prompt", "answer", score):
            if name not in chunk.names:
                raise InvalidInputError(f"{path} has no column {name!r}; columns: {', '.join(chunk.names[:40])}")
        problems = {at: problem for at, row in enumerate(chunk.rows) if (problem := _problem(row, score))}
        chunk.add_problems(problems)
        for at in chunk.usable(bad):
            row = chunk.rows[at]
            yield row["prompt"], row["answer"], float(row[score])


def _problem(row: dict[str, object], score: str) -> str | None:
    for name in ("prompt", "answer"):
        if not isinstance(row.get(name), str):
            return f"{name} is {row.get(name)!r}, expected a text"
    try:
        if 0.0 <= float(row[score]) <= 1.0:  # type: ignore[arg-type]
            return None
    except (TypeError, ValueError):
        pass
    return f"{score} is {row[score]!r}, expected a number in 0..1"
