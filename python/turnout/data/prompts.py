"""Prompts alone, from a table, a text file or standard input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from turnout import InvalidInputError
from turnout.data import values
from turnout.data.bad_rows import BadRows
from turnout.data.chunks import CHUNK_ROWS, read_chunks
from turnout.prompt_files import read_lines, standard_input

_TABLES = {".parquet", ".csv", ".jsonl", ".ndjson"}


def iter_prompts(source: str | Path, *, bad: BadRows, chunk_rows: int = CHUNK_ROWS) -> Iterator[list[str]]:
    """Reads prompts in chunks.

    Args:
        source: A Parquet, CSV or JSON-lines file with a column ``prompt``; any other file, and ``-`` for standard
        input, holds one
            prompt a line.
        bad: Takes the rows left out: without a prompt, or not UTF-8. Empty lines of a text are no rows.
        chunk_rows: At most this many rows a chunk of a table.

    Yields:
        Lists of prompts, in order.

    Raises:
        InvalidInputError: A table without a column ``prompt``.
    """
    if str(source) != "-" and Path(source).suffix.lower() in _TABLES:
        for chunk in read_chunks(source, columns=["prompt"], bad=bad, chunk_rows=chunk_rows):
            if "prompt" not in chunk.columns:
                raise InvalidInputError(f"{source}: no column `prompt`")
            prompts, problems = values.texts(chunk.columns["prompt"], "prompt")
            for place in sorted(problems):
                bad.add(chunk.file, int(chunk.rows[place]), problems[place])
            yield [prompt for place, prompt in enumerate(prompts) if place not in problems]
        return
    name = "standard input" if str(source) == "-" else str(source)
    with _opened(source) as stream:
        for lines in read_lines(stream):
            prompts = []
            for number, prompt in zip(lines.numbers, lines.prompts, strict=True):
                if not prompt.strip():
                    continue
                if prompt.isprintable() or _is_utf8(prompt):
                    prompts.append(prompt)
                else:
                    bad.add(name, number, "prompt is not UTF-8")
            yield prompts


def _opened(source: str | Path) -> contextlib.AbstractContextManager[IO[bytes]]:
    return contextlib.nullcontext(standard_input()) if str(source) == "-" else Path(source).open("rb")


def _is_utf8(prompt: str) -> bool:
    try:
        prompt.encode()
    except UnicodeEncodeError:
        return False
    return True
