"""Writes battles as a table that ``turnout train`` reads."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from turnout._core import ConfigError, InvalidInputError
from turnout.data import Battles
from turnout.data.chunks import Chunk, Row
from turnout.data.prompts import read_prompts
from turnout.data.writer import open_writer

#: ``winner`` by outcome.
_WINNERS = {1.0: "model_a", 0.5: "tie", 0.0: "model_b"}


def write_battles(battles: Battles, path: Path, source: str) -> None:
    """Writes columns ``prompt, model_a, model_b, winner, source``; written completely, then renamed.

    Args:
        battles: Battles whose outcome is 0, 0.5 or 1.
        path: A jsonl, csv or parquet file.
        source: Source of the winners, such as ``"gold"``.

    Raises:
        ConfigError: Another file extension, or a file that cannot be written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "battles.csv")
        ...     write_battles(Battles(["Hi"], ["big"], ["small"], np.array([1.0])), path, "gold")
        ...     path.read_text().splitlines()
        ['prompt,model_a,model_b,winner,source', 'Hi,big,small,model_a,gold']
    """
    rows: list[Row] = [
        {"prompt": prompt, "model_a": a, "model_b": b, "winner": _WINNERS[float(outcome)], "source": source}
        for prompt, a, b, outcome in zip(
            battles.prompts, battles.model_a, battles.model_b, battles.outcome, strict=True
        )
    ]
    with open_writer(path, {}) as write:
        write(Chunk(str(path), range(1, len(rows) + 1), rows), {})


def refuse_loss(path: Path, strong: str, weak: str, source: str, prompts: Container[str] | None = None) -> None:
    """Refuses to overwrite a file whose rows the new table of battles would not contain.

    Args:
        path: The file; it may be missing.
        strong: Model a of the new table.
        weak: Model b of the new table.
        source: Source of the new table.
        prompts: Prompts of the new table; ``None`` to accept any.

    Raises:
        ConfigError: The file is not a table of battles, or has rows of other models, of another source or of other prompts.
    """
    if not path.exists():
        return
    lost, example = 0, ""
    try:
        for chunk, found in read_prompts(path):
            for number, row, prompt in zip(chunk.numbers, chunk.rows, found, strict=True):
                made = [row.get(name) for name in ("model_a", "model_b", "source")]
                if made == [strong, weak, source] and (prompts is None or prompt in prompts):
                    continue
                lost += 1
                other = "of another prompt" if made == [strong, weak, source] else f"of {made}"
                example = example or f"row {number} is {other}"
    except InvalidInputError as error:
        raise ConfigError(
            f"{path} exists and is not a table of battles; move it, or name another file: {error}"
        ) from error
    if lost:
        raise ConfigError(
            f"{path} exists with {lost} rows that are not battles of {strong!r} and {weak!r} from {source!r} ({example}); "
            "move it, or name another file"
        )
