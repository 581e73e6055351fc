"""Writes battles as a table that ``turnout train`` takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from turnout.data import Battles
from turnout.prompt_files import Chunk, Row, open_writer

#: ``winner`` by outcome.
_WINNERS = {1.0: "model_a", 0.5: "tie", 0.0: "model_b"}


def write_battles(battles: Battles, path: Path, source: str) -> None:
    """Writes columns ``prompt, model_a, model_b, winner, source``; the file takes its name when all is written.

    Args:
        battles: Battles whose outcome is 0, 0.5 or 1.
        path: A jsonl, csv or parquet file.
        source: Where the winners come from.

    Raises:
        ConfigError: The file's ending is none of these.
    """
    rows: list[Row] = [
        {"prompt": prompt, "model_a": a, "model_b": b, "winner": _WINNERS[float(outcome)], "source": source}
        for prompt, a, b, outcome in zip(
            battles.prompts, battles.model_a, battles.model_b, battles.outcome, strict=True
        )
    ]
    with open_writer(path, {}) as write:
        write(rows, _chunk(rows))


def _chunk(rows: Sequence[Row]) -> Chunk:
    return Chunk(list(range(1, len(rows) + 1)), list(rows), [row["prompt"] for row in rows])
