"""Tables of outcomes: one prompt a row, one column of scores a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.data.aliases import ModelAliases
from turnout.data.bad_rows import BadRows
from turnout.data.chunks import Chunk, listed, read_chunks
from turnout.data.prompts import COLUMN, prompts_of
from turnout.data.scores import scores_of
from turnout.data.texts import texts

#: Columns that are never scores.
RESERVED = frozenset(
    {"prompt", "messages", "category", "prompt_id", "sample_id", "split", "id", "question_id", "source", "index", "idx"}
    | {"cost", "tokens", "prompt_tokens", "completion_tokens"}
)


@dataclass(frozen=True)
class Outcomes:
    """Scores of models on prompts.

    Attributes:
        name: Name of the table, for messages.
        prompts: The prompts.
        scores: float64 ``[prompts]`` for each model; NaN where the table has no score.
        categories: Category of each prompt, if the table has a column ``category``.
        not_scores: Other columns of numbers or text, and the reasons why they are not scores.

    Example:
        >>> table = Outcomes("mine", ["Hi", "Why?"], {"big": np.array([1.0, 1.0]), "small": np.array([1.0, np.nan])})
        >>> len(table), len(table.with_scores_of(["big", "small"]))
        (2, 1)
    """

    name: str
    prompts: list[str]
    scores: dict[str, NDArray[np.float64]]
    categories: list[str] | None = None
    not_scores: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.prompts)

    def rows(self, keep: NDArray[np.bool_]) -> Outcomes:
        """Selects rows.

        Args:
            keep: bool ``[prompts]``.

        Returns:
            The rows for which ``keep`` is true.
        """
        return replace(
            self,
            prompts=[prompt for prompt, kept in zip(self.prompts, keep, strict=True) if kept],
            scores={model: scores[keep] for model, scores in self.scores.items()},
            categories=None
            if self.categories is None
            else [category for category, kept in zip(self.categories, keep, strict=True) if kept],
        )

    def find(self, model: str, aliases: ModelAliases | None = None) -> str:
        """Finds the column of a model.

        Args:
            model: Name of the model in any spelling.
            aliases: Rules that match names of models.

        Returns:
            Name of the column.

        Raises:
            InvalidInputError: There is no such column, or it has no scores; the message has the reason or the columns.
        """
        aliases = aliases or ModelAliases()
        try:
            return aliases.find(model, self.scores)
        except InvalidInputError:
            canonical = aliases.canonical(model)
            for column, reason in self.not_scores.items():
                if model == column or aliases.canonical(column) == canonical:
                    raise InvalidInputError(f"column {column!r} has no scores: {reason}") from None
            raise

    def with_scores_of(self, models: Sequence[str]) -> Outcomes:
        """Selects the rows in which every given model has a score.

        Args:
            models: Names of columns.

        Returns:
            Those rows.
        """
        keep = np.ones(len(self), dtype=bool)
        for model in models:
            keep &= ~np.isnan(self.scores[model])
        return self if keep.all() else self.rows(keep)


def iter_outcomes(
    path: str | Path,
    *,
    models: Sequence[str] | None = None,
    bad: BadRows,
    column: str = COLUMN,
    chunk_rows: int | None = None,
) -> Iterator[Outcomes]:
    """Reads a table of outcomes in chunks.

    Args:
        path: A table with a column of prompts and a column of scores for each model.
        models: Columns of scores; by default every column with numbers in most rows of the first chunk, except those in
            :data:`RESERVED` and those that belong to another column, such as ``gpt-4_response`` and ``gpt-4|total_cost``.
        bad: Collects the invalid rows: those without a prompt or with an invalid score.
        column: Column of the prompts.
        chunk_rows: Largest number of rows in a chunk.

    Yields:
        The outcomes of a chunk, all with the same models.

    Raises:
        InvalidInputError: The column of prompts is missing, there are no scores, or more invalid rows than ``bad`` allows.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "outcomes.csv")
        ...     _ = path.write_text("prompt,big,small\\nHi,1,0\\n")
        ...     [sorted(part.scores) for part in iter_outcomes(path, bad=BadRows())]
        [['big', 'small']]
    """
    path = Path(path)
    columns = None if models is None else [column, "messages", "category", *models]
    not_scores: dict[str, str] = {}
    is_first = True
    for chunk in read_chunks(path, columns=columns, chunk_rows=chunk_rows):
        prompts = prompts_of(chunk, column, is_first=is_first)
        is_first = False
        if models is None and len(chunk.problems) < len(chunk):
            models, not_scores = _score_columns(chunk, column)
            if not models:
                reasons = "".join(f"; {name}: {reason}" for name, reason in not_scores.items())
                raise InvalidInputError(f"{path} has no column of scores; its columns: {listed(chunk.names)}{reasons}")
        yield _outcomes(path.stem, chunk, prompts, models or [], not_scores, bad)
    bad.check(str(path))


def read_outcomes(
    path: str | Path, *, models: Sequence[str] | None = None, bad: BadRows, column: str = COLUMN
) -> Outcomes:
    """Reads a complete table of outcomes.

    Args:
        path: As for :func:`iter_outcomes`.
        models: As for :func:`iter_outcomes`.
        bad: As for :func:`iter_outcomes`.
        column: As for :func:`iter_outcomes`.

    Returns:
        The outcomes of all valid rows.

    Raises:
        InvalidInputError: As :func:`iter_outcomes`, or no row is valid.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "outcomes.csv")
        ...     _ = path.write_text("prompt,big,small\\nHi,1,0\\n")
        ...     read_outcomes(path, bad=BadRows()).scores["big"].tolist()
        [1.0]
    """
    parts = list(iter_outcomes(path, models=models, bad=bad, column=column))
    table = join(Path(path).stem, parts)
    if not len(table):
        reasons = bad.first(str(path))
        raise InvalidInputError(f"{path}: no valid row{': ' + reasons if reasons else ', the table is empty'}")
    return table


def join(name: str, parts: Sequence[Outcomes]) -> Outcomes:
    """Concatenates outcomes; scores of models that a part lacks are NaN in its rows."""
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
        {column: reason for part in parts for column, reason in part.not_scores.items()},
    )


def _outcomes(
    name: str, chunk: Chunk, prompts: Sequence[str], models: Sequence[str], not_scores: dict[str, str], bad: BadRows
) -> Outcomes:
    found, problems = texts(prompts, "prompt")
    chunk.add_problems(problems)
    scores = {}
    for model in models:
        scores[model], problems = scores_of(chunk.column(model), model)
        chunk.add_problems(problems)
    categories = None
    if "category" in chunk.names:
        categories = [category or "none" for category in texts(chunk.column("category"), "category")[0]]
    keep = np.zeros(len(chunk), dtype=bool)
    keep[chunk.usable(bad)] = True
    return Outcomes(name, found, scores, categories, not_scores).rows(keep)


def _score_columns(chunk: Chunk, prompt_column: str) -> tuple[list[str], dict[str, str]]:
    """Columns of scores, and the reasons why other columns are not."""
    found, not_scores = [], {}
    for name in chunk.names:
        of_model = name.endswith("_response") or ("|" in name and name.rpartition("|")[0] in chunk.names)
        if name.lower() in RESERVED or name == prompt_column or of_model:
            continue
        numbers, problems = scores_of(chunk.column(name), name)
        if len(problems) * 2 >= len(numbers):
            index = min(problems)
            not_scores[name] = f"row {chunk.numbers[index]}: {problems[index]}"
        elif np.isnan(numbers).all():
            not_scores[name] = "no row has a number"
        else:
            found.append(name)
    return found, not_scores
