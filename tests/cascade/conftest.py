"""A log whose answers are right with a known chance, which its log-probabilities tell."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest


def log_rows(count: int, seed: int = 0, with_logprobs: bool = True) -> list[dict[str, Any]]:
    """Rows of a log: P(correct) is the probability of the only token; the strong model is right nine times in ten."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        chance = draw.uniform(0.05, 0.95)
        row: dict[str, Any] = {
            "prompt": f"Question {number}?",
            "group": "ab"[number % 2],
            "answer": "yes",
            "risk": round(draw.uniform(0.2, 0.8), 3),
            "correct": int(draw.random() < chance),
            "large": int(draw.random() < 0.9),
        }
        if with_logprobs:
            row["logprobs"] = [math.log(chance)]
        rows.append(row)
    return rows


def write_log(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Writes a jsonl."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("cascade") / "log.jsonl", log_rows(600))
