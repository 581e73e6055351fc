"""Battles for the tests of ``sw_ranking``: made up, but with a winner that depends on the prompt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MODELS = ["alpha", "beta", "gamma", "delta"]


def battle_rows(count: int = 400, seed: int = 0) -> list[dict[str, str]]:
    """Rows in turnout's own layout: on sums the order of the models is that of :data:`MODELS`, elsewhere chance rules."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        a, b = generator.choice(4, 2, replace=False)
        sums = number % 2 == 0
        prompt = f"what is the sum of {number % 40} and two" if sums else f"write python code how many {number % 40}"
        chance = 1 / (1 + 3.0 ** (a - b)) if sums else 0.5
        winner = "tie" if generator.random() < 0.1 else "model_a" if generator.random() < chance else "model_b"
        rows.append({"prompt": prompt, "model_a": MODELS[a], "model_b": MODELS[b], "winner": winner})
    return rows


@pytest.fixture(scope="session")
def battles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file of such battles."""
    path = tmp_path_factory.mktemp("battles") / "battles.parquet"
    pq.write_table(pa.Table.from_pylist(battle_rows()), path)
    return path
