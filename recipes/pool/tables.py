"""Outcomes of all models by prompt, and which prompts are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from recipes.mf.data import held_out

from turnout.data import BadRows, Outcomes, read_outcomes
from turnout.profiles.fitting import Rows
from turnout.profiles.folds import near_duplicate_key
from turnout.training.tables import read_tables

#: Fewest prompts with an outcome of a model that gets a profile.
MIN_PROMPTS = 60


@dataclass(frozen=True)
class Pooled:
    """All tables over one list of prompts.

    Attributes:
        prompts: Every prompt, once.
        tables: The tables.
        places: Rows of each table among the prompts.
        is_held: Whether a prompt is held out, bool ``[prompts]``.
        is_fitted: Whether a prompt may be fitted on: neither held out nor the same as one that is up to numbers, case and punctuation.
    """

    prompts: list[str]
    tables: list[Outcomes]
    places: list[NDArray[np.int64]]
    is_held: NDArray[np.bool_]
    is_fitted: NDArray[np.bool_]

    def models(self, skip: Sequence[str] = ()) -> dict[str, Rows]:
        """Outcomes of each model that has enough of them; those of several tables are joined."""
        found: dict[str, list[Rows]] = {}
        for table, place in zip(self.tables, self.places, strict=True):
            if table.name in skip:
                continue
            for model, scores in table.scores.items():
                known = ~np.isnan(scores)
                found.setdefault(model, []).append(Rows(place[known], scores[known]))
        joined = {
            model: Rows(np.concatenate([one.place for one in rows]), np.concatenate([one.scores for one in rows]))
            for model, rows in sorted(found.items())
        }
        return {model: rows for model, rows in joined.items() if len(rows.scores) >= MIN_PROMPTS}

    def sources(self, model: str) -> list[str]:
        """Names of the tables with outcomes of a model."""
        return [table.name for table in self.tables if model in table.scores]


def read_pooled(folder: Path) -> Pooled:
    """Reads the tables of outcomes in `train` and `train2`; prompts of `dev` are left out.

    Args:
        folder: Folder of the folders.
    """
    dev = [read_outcomes(path, bad=BadRows()) for path in sorted(folder.glob("dev/*.parquet"))]
    exclude = {prompt for table in dev for prompt in table.prompts}
    files = sorted([*folder.glob("train/*.parquet"), *folder.glob("train2/*.parquet")])
    return pooled(read_tables([file for file in files if "battles" not in file.stem], exclude))


def pooled(tables: Sequence[Outcomes]) -> Pooled:
    """Joins tables."""
    prompts = list(dict.fromkeys(prompt for table in tables for prompt in table.prompts))
    place = {prompt: row for row, prompt in enumerate(prompts)}
    is_held = np.array([held_out(prompt) for prompt in prompts])
    keys = [near_duplicate_key(prompt) for prompt in prompts]
    held = {key for key, one in zip(keys, is_held, strict=True) if one}
    return Pooled(
        prompts,
        list(tables),
        [np.array([place[prompt] for prompt in table.prompts]) for table in tables],
        is_held,
        np.array([key not in held for key in keys]),
    )
