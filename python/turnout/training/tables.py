"""Reads tables of outcomes and battles to train on, and draws examples of two models from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.data import BadRows, Battles, ModelAliases, Outcomes, read_battles, read_outcomes


@dataclass(frozen=True)
class PairExamples:
    """Two models on one prompt, and how often the first was better.

    Attributes:
        prompts: One prompt an example.
        first: Index of the first model, int64.
        second: Index of the second model, int64.
        outcome: 1 where the first was better, 0 where the second was, 0.5 where neither; float32.
        models: The models, in canonical form.
    """

    prompts: list[str]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    outcome: NDArray[np.float32]
    models: list[str]


def read_training_tables(
    paths: Sequence[Path], exclude: Collection[str] = (), bad: BadRows | None = None, column: str = "prompt"
) -> list[Outcomes]:
    """Reads tables of outcomes as :func:`read_tables` does, to train on: losses have a lower bound for scores in 0..1 only.

    Raises:
        InvalidInputError: A score lies outside; names the file, the column and the score.
    """
    tables = read_tables(paths, exclude, bad, column)
    for path, table in zip(paths, tables, strict=True):
        for model, scores in table.scores.items():
            outside = scores[(scores < 0.0) | (scores > 1.0)]
            if len(outside):
                raise InvalidInputError(
                    f"{path}: column {model} has the score {outside[0]:g}, expected scores in 0..1 to train on: "
                    "scale the column, or drop it if it holds no scores of a model"
                )
    return tables


def read_tables(
    paths: Sequence[Path], exclude: Collection[str] = (), bad: BadRows | None = None, column: str = "prompt"
) -> list[Outcomes]:
    """Reads tables of outcomes: model names in canonical form, each prompt once a table, excluded prompts left out.

    Args:
        paths: The tables.
        exclude: Prompts to leave out.
        bad: Collects the rows that could not be used.
        column: Column that holds the prompts.

    Raises:
        InvalidInputError: A table cannot be read, has too many bad rows, or two columns of one model.
    """
    aliases = ModelAliases()
    tables = []
    for path in paths:
        table = read_outcomes(path, bad=BadRows() if bad is None else bad, column=column)
        names = {aliases.canonical(model): model for model in table.scores}
        for model in table.scores:
            if names[aliases.canonical(model)] != model:
                other = names[aliases.canonical(model)]
                raise InvalidInputError(f"{path}: the columns {model!r} and {other!r} are of one model: drop one")
        table = replace(table, scores={name: table.scores[model] for name, model in names.items()})
        seen = set(exclude)
        keep = np.zeros(len(table), dtype=bool)
        for row, prompt in enumerate(table.prompts):
            keep[row] = prompt not in seen
            seen.add(prompt)
        tables.append(table.rows(keep))
    return tables


def read_all_battles(paths: Sequence[Path], exclude: Collection[str] = (), bad: BadRows | None = None) -> Battles:
    """Reads battles from several files, model names in canonical form, excluded prompts left out."""
    aliases = ModelAliases()
    rows: list[tuple[str, str, str, float]] = []
    for path in paths:
        part = read_battles(path, bad=BadRows() if bad is None else bad)
        rows += [
            (prompt, aliases.canonical(a), aliases.canonical(b), float(outcome))
            for prompt, a, b, outcome in zip(part.prompts, part.model_a, part.model_b, part.outcome, strict=True)
            if prompt not in exclude
        ]
    return Battles([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], np.array([r[3] for r in rows]))


def pair_examples(
    tables: Sequence[Outcomes], battles: Battles, *, per_table: int, min_battles: int, seed: int
) -> PairExamples:
    """Draws pairs of models with their outcomes, so that all tables and the battles weigh the same.

    A table of outcomes gives ``(1 + score_a - score_b) / 2``: a win, a loss, or half where both are right or both wrong. Models
    that are in no table and have fewer than ``min_battles`` battles are left out.

    Args:
        tables: Tables of outcomes.
        battles: Battles.
        per_table: Number of examples from each.
        min_battles: See above.
        seed: Seed of the draw.
    """
    generator = np.random.default_rng(seed)
    battles_of = Counter([*battles.model_a, *battles.model_b])
    models = list(dict.fromkeys(model for table in tables for model in table.scores))
    models += sorted(model for model, number in battles_of.items() if number >= min_battles and model not in models)
    index = {model: position for position, model in enumerate(models)}
    rows: list[tuple[str, int, int, float]] = []
    for table in tables:
        names = list(table.scores)
        if len(names) < 2 or not len(table):
            continue
        scores = np.stack([table.scores[name] for name in names], axis=1)
        for row in generator.integers(0, len(table), per_table):
            a, b = generator.choice(len(names), 2, replace=False)
            outcome = (1.0 + scores[row, a] - scores[row, b]) / 2.0
            if not np.isnan(outcome):
                rows.append((table.prompts[row], index[names[a]], index[names[b]], outcome))
    known = [
        i for i, (a, b) in enumerate(zip(battles.model_a, battles.model_b, strict=True)) if a in index and b in index
    ]
    for battle in generator.permutation(known)[:per_table]:
        a, b = index[battles.model_a[battle]], index[battles.model_b[battle]]
        rows.append((battles.prompts[battle], a, b, float(battles.outcome[battle])))
    return PairExamples(
        [row[0] for row in rows],
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.int64),
        np.array([row[3] for row in rows], dtype=np.float32),
        models,
    )
