"""What a training run reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from turnout._core import InvalidInputError
from turnout.data import BadRows, Battles, Outcomes, read_outcomes
from turnout.evaluate.dev import DevResult
from turnout.training.pair import Grades
from turnout.training.tables import read_all_battles, read_tables, read_training_tables


@dataclass(frozen=True)
class TrainingFiles:
    """Files of a training run.

    Attributes:
        outcomes: Tables of outcomes.
        battles: Battles.
        grades: Tables of graded prompts.
        dev: Dev tables: evaluated at the end, never trained on.
        column: Column of tables that holds the prompts.
        bad: Collects the rows that could not be used.
    """

    outcomes: Sequence[Path] = ()
    battles: Sequence[Path] = ()
    grades: Sequence[Path] = ()
    dev: Sequence[Path] = ()
    column: str = "prompt"
    bad: BadRows = field(default_factory=BadRows)

    def read(self) -> TrainingData:
        """Reads everything. Prompts of the dev tables are left out of the others, wherever they occur."""
        dev = read_tables(self.dev, bad=self.bad, column=self.column)
        exclude = {prompt for table in dev for prompt in table.prompts}
        return TrainingData(
            read_training_tables(self.outcomes, exclude, self.bad, self.column),
            read_all_battles(self.battles, exclude, self.bad),
            read_grades(self.grades, exclude, self.bad, self.column),
            dev,
        )


@dataclass(frozen=True)
class TrainingData:
    """Data of a training run in memory.

    Attributes:
        tables: Tables of outcomes.
        battles: Battles.
        grades: Graded prompts.
        dev: Dev tables.
    """

    tables: list[Outcomes]
    battles: Battles
    grades: Grades
    dev: list[Outcomes]

    def sources(self) -> list[list[str]]:
        """Distinct prompts of each table, of the battles and of the grades."""
        found = [table.prompts for table in self.tables] + [self.battles.prompts, self.grades.prompts]
        return [list(dict.fromkeys(prompts)) for prompts in found]

    def report(self, config: Mapping[str, Any], results: Sequence[DevResult]) -> dict[str, Any]:
        """What ``router.json`` says of the training: rows that were read, the settings, scores on dev tables."""
        rows = {table.name: len(table) for table in self.tables}
        rows |= {"battles": len(self.battles), "grades": len(self.grades.prompts)}
        return {"rows": rows, "config": dict(config), "dev": [result.to_json() for result in results]}


def read_grades(
    paths: Sequence[Path], exclude: Collection[str] = (), bad: BadRows | None = None, column: str = "prompt"
) -> Grades:
    """Reads tables of graded prompts: a column of prompts and a column ``grade`` of numbers from 1 to 5.

    Args:
        paths: The tables.
        exclude: Prompts to leave out.
        bad: Collects the rows that could not be used.
        column: Column that holds the prompts.

    Raises:
        InvalidInputError: A table cannot be read, or a grade is outside of 1..5; names the file.
    """
    prompts: list[str] = []
    grades: list[float] = []
    for path in paths:
        table = read_outcomes(path, models=["grade"], bad=BadRows() if bad is None else bad, column=column)
        for prompt, grade in zip(table.prompts, table.scores["grade"], strict=True):
            if np.isnan(grade) or prompt in exclude:
                continue
            if not 1.0 <= grade <= 5.0:
                raise InvalidInputError(f"{path}: grade is {grade:g}, expected a number from 1 to 5")
            prompts.append(prompt)
            grades.append(float(grade))
    return Grades(prompts, np.array(grades, dtype=np.float64))
