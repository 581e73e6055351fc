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
        source: Where the winners come from.

    Raises:
        ConfigError: Another file extension.
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
    """Refuses to overwrite a file that holds anything which the new table of battles will not.

    Args:
        path: The file; one that is not there is no loss.
        strong: Model a of the new table.
        weak: Its model b.
        source: Its source.
        prompts: Prompts that it can hold; ``None`` for a table that anybody can make again.

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
                other = "of a prompt that is not asked" if made == [strong, weak, source] else f"of {made}"
                example = example or f"row {number} is {other}"
    except InvalidInputError as error:
        raise ConfigError(f"{path} is there and is no table of battles; move it, or name another: {error}") from error
    if lost:
        raise ConfigError(
            f"{path} is there with {lost} rows that the battles of {strong!r} and {weak!r} from {source!r} would not hold ({example}); "
            "move it, or name another"
        )
