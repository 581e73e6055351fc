"""Traffic made of real scores: RouterBench's, from ``tests/fixtures/make_scores.py``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

SCORES = Path(__file__).parents[1] / "fixtures" / "outcomes" / "scores.csv"


class Scores(NamedTuple):
    """Scores ``[prompts, models]``, the models' names, and the prompts' tokens."""

    scores: np.ndarray
    models: list[str]
    tokens: np.ndarray

    def of(self, model: str) -> np.ndarray:
        return self.scores[:, self.models.index(model)]


@pytest.fixture(scope="session")
def scores() -> Scores:
    with SCORES.open(encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    values = np.array(rows, dtype=float)
    return Scores(values[:, 1:], names[1:], values[:, 0])


def receipt(number: int, model: str = "big", **fields: object) -> dict[str, object]:
    """A line of a decision log."""
    found = {
        "request_id": f"r{number}",
        "prompt_sha256": f"p{number}",
        "win_rate": 0.5,
        "model": model,
        "served": model,
    }
    return {**found, "input_tokens": 100, "output_tokens": 10, "cost": None, **fields}
