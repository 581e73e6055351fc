"""Tables of outcomes: one prompt a row, one column of scores a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnout import InvalidInputError
from turnout.data import values
from turnout.data.bad_rows import BadRows
from turnout.data.chunks import CHUNK_ROWS, Chunk, read_chunks

#: Columns that are never scores.
RESERVED = frozenset(
    {"prompt", "category", "prompt_id", "split", "id", "question_id", "source", "index", "idx"}
    | {"cost", "tokens", "prompt_tokens", "completion_tokens"}
)


@dataclass(frozen=True)
class Outcomes:
    """Scores of models on prompts.

    Attributes:
        name: Name of the table, for people.
        prompts: The prompts.
        scores: One number a prompt for each model; NaN where the table has none.
        categories: One category a prompt, where the table has a column ``category``.
    """

    name: str
    prompts: list[str]
    scores: dict[str, NDArray[np.float64]]
    categories: list[str] | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def rows(self, keep: NDArray[np.bool_]) -> Outcomes:
        """The rows where ``keep`` is true."""
        return Outcomes(
            self.name,
            [prompt for prompt, kept in zip(self.prompts, keep, strict=True) if kept],
            {model: scores[keep] for model, scores in self.scores.items()},
            None
            if self.categories is None
            else [category for category, kept in zip(self.categories, keep, strict=True) if kept],
        )

    def with_scores_of(self, models: Sequence[str]) -> Outcomes:
        """The rows in which each of these models has a score."""
        keep = np.ones(len(self), dtype=bool)
        for model in models:
            keep &= ~np.isnan(self.scores[model])
        return self if keep.all() else self.rows(keep)


def iter_outcomes(
    path: str | Path, *, models: Sequence[str] | None = None, bad: BadRows, chunk_rows: int = CHUNK_ROWS
) -> Iterator[Outcomes]:
    """Reads a table of outcomes in chunks.

    Args:
        path: A Parquet, CSV or JSON-lines file with a column ``prompt``.
        models: Columns of scores; by default every column that holds numbers in most rows of the first chunk and is not one of
            :data:`RESERVED`, nor ends in ``_response``.
        bad: Takes the rows left out: without a prompt, or with something in a column of scores that is no score.
        chunk_rows: At most this many rows a chunk.

    Yields:
        Outcomes of some rows, all with the same models.

    Raises:
        InvalidInputError: There is no column ``prompt``, or none of scores.
    """
    path = Path(path)
    columns = None if models is None else ["prompt", "category", *models]
    for chunk in read_chunks(path, columns=columns, bad=bad, chunk_rows=chunk_rows):
        if "prompt" not in chunk.columns:
            raise InvalidInputError(f"{path}: no column `prompt`; columns: {', '.join(chunk.columns) or 'none'}")
        if models is None:
            models = _score_columns(chunk)
            if not models:
                raise InvalidInputError(f"{path}: no column of scores; columns: {', '.join(chunk.columns)}")
        yield _outcomes(path.stem, chunk, models, bad)


def read_outcomes(path: str | Path, *, models: Sequence[str] | None = None, bad: BadRows) -> Outcomes:
    """Reads a whole table of outcomes; arguments as for :func:`iter_outcomes`."""
    return join(Path(path).stem, list(iter_outcomes(path, models=models, bad=bad)))


def join(name: str, parts: Sequence[Outcomes]) -> Outcomes:
    """Outcomes of several parts as one; models that a part does not have are missing (NaN) in its rows."""
    models = list(dict.fromkeys(model for part in parts for model in part.scores))
    return Outcomes(
        name,
        [prompt for part in parts for prompt in part.prompts],
        {
            model: np.concatenate([part.scores.get(model, np.full(len(part), np.nan)) for part in parts])
            for model in models
        },
        [category for part in parts for category in (part.categories or [part.name] * len(part))]
        if any(part.categories for part in parts)
        else None,
    )


def _outcomes(name: str, chunk: Chunk, models: Sequence[str], bad: BadRows) -> Outcomes:
    prompts, problems = values.texts(chunk.columns["prompt"], "prompt")
    scores = {}
    for model in models:
        if model in chunk.columns:
            scores[model], wrong = values.scores(chunk.columns[model], model)
            problems = {**wrong, **problems}
        else:
            scores[model] = np.full(len(prompts), np.nan)
    categories = None
    if "category" in chunk.columns:
        categories = [category or "none" for category in values.texts(chunk.columns["category"], "category")[0]]
    for place in sorted(problems):
        bad.add(chunk.file, int(chunk.rows[place]), problems[place])
    outcomes = Outcomes(name, prompts, scores, categories)
    if not problems:
        return outcomes
    keep = np.ones(len(prompts), dtype=bool)
    keep[list(problems)] = False
    return outcomes.rows(keep)


def _score_columns(chunk: Chunk) -> list[str]:
    found = []
    for name, column in chunk.columns.items():
        if name.lower() in RESERVED or name.endswith("_response"):
            continue
        numbers, problems = values.scores(column, name)
        if len(problems) * 2 < len(numbers) and not np.isnan(numbers).all():
            found.append(name)
    return found
