"""Battles from graded answers: the model whose answer is better wins the prompt."""

from __future__ import annotations

import numpy as np

from turnout._core import InvalidInputError
from turnout.data import Battles, Outcomes


def gold_battles(table: Outcomes, strong: str, weak: str) -> Battles:
    """Battles of a pair from their scores: the higher score wins, equal scores tie.

    Prompts without a score of one of them give no battle.

    Args:
        table: Scores of models on prompts.
        strong: Strong model, in any spelling that :class:`turnout.data.ModelAliases` relates to the table's; becomes model a.
        weak: Weak model, likewise; becomes model b.

    Returns:
        The battles, in the order of the table.

    Raises:
        InvalidInputError: The table does not have one of the models, or no prompt has scores of both.

    Example:
        >>> table = Outcomes("t", ["x", "y", "z"], {"big": np.array([1, 1, np.nan]), "small": np.array([0.0, 1, 1])})
        >>> gold_battles(table, "big", "small").outcome.tolist()
        [1.0, 0.5]
    """
    columns = [table.find(name) for name in (strong, weak)]
    if columns[0] == columns[1]:
        raise InvalidInputError(
            f"{table.name}: strong and weak are both the column {columns[0]!r}, expected two models"
        )
    first, second = (table.scores[column] for column in columns)
    known = ~(np.isnan(first) | np.isnan(second))
    if not known.any():
        raise InvalidInputError(f"{table.name}: no prompt has scores of both {strong!r} and {weak!r}")
    prompts = [prompt for prompt, keep in zip(table.prompts, known, strict=True) if keep]
    outcome = (1.0 + np.sign(first[known] - second[known])) / 2.0
    return Battles(prompts, [strong] * len(prompts), [weak] * len(prompts), outcome)
