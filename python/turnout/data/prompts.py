"""Prompts from a table, a text file or standard input."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from turnout._core import InvalidInputError
from turnout.data.bad_rows import BadRows
from turnout.data.chunks import Chunk, Row, no_column, read_chunks
from turnout.data.formats import READABLE, opened, readable_format
from turnout.data.text import read_lines
from turnout.data.texts import Problems, texts

#: Column of prompts where none is named, and the one of chats that takes its place.
COLUMN, MESSAGES = "prompt", "messages"
_REMEDY = "; choose one with --column"


def read_prompts(source: str | Path, column: str = COLUMN) -> Iterator[tuple[Chunk, list[Any]]]:
    """Streams the rows of a file with their prompts.

    A prompt is text, or the messages of a chat, of which :func:`turnout.conversation.prompt_of` takes the text. Where no column is named
    and there is no ``prompt``, a column ``messages`` is read.

    Args:
        source: A table, a text file with one prompt a line, or ``-`` for the lines of standard input.
        column: Column that holds the prompt; of a text file, the name it gets.

    Yields:
        Chunks with all rows of the file, and the prompt of each row. Rows without a prompt are in :attr:`Chunk.problems`.

    Raises:
        FileNotFoundError: There is no such file.
        InvalidInputError: There is no such column, or the content does not match the extension.
        ConfigError: Parquet without pyarrow.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "chats.jsonl")
        ...     _ = path.write_text('{"messages": [{"role": "user", "content": "What is 2 + 2?"}]}\\n')
        ...     [prompts for chunk, prompts in read_prompts(path)]
        [['What is 2 + 2?']]
    """
    if str(source) == "-":
        yield from _lines(standard_input(), "stdin", column)
        return
    path = Path(source)
    found = readable_format(path, READABLE)
    if found.ending == ".txt":
        with opened(path, found.compression) as (stream, part):
            for chunk, prompts in _lines(stream, str(path), column):
                chunk.part = part()
                yield chunk, prompts
        return
    for number, chunk in enumerate(read_chunks(path)):
        yield chunk, prompts_of(chunk, column, is_first=number == 0)


def _lines(stream: IO[bytes], name: str, column: str) -> Iterator[tuple[Chunk, list[Any]]]:
    for chunk in read_lines(stream, name, column):
        yield chunk, chunk.column(column)


def prompts_of(chunk: Chunk, column: str = COLUMN, *, is_first: bool = True) -> list[Any]:
    """Prompts of a chunk; rows without a prompt are marked as invalid.

    Args:
        chunk: The rows.
        column: As for :func:`read_prompts`.
        is_first: Whether this is the first chunk, which must have the column.
    """
    name = MESSAGES if column == COLUMN and column not in chunk.names and MESSAGES in chunk.names else column
    if is_first and name not in chunk.names and (chunk.names or len(chunk.problems) < len(chunk)):
        raise no_column(chunk.file, column, chunk.names, _REMEDY)
    prompts: list[Any] = []
    problems = Problems()
    for index, value in enumerate(chunk.column(name)):
        try:
            prompts.append(_prompt(value, name))
        except InvalidInputError as error:
            prompts.append(None)
            absent = value is None and chunk.batch is None and name not in chunk.rows[index]
            problems[index] = f"no column {name!r}" if absent else f"{name}: {error}"
    chunk.add_problems(problems)
    return prompts


def _prompt(value: Any, name: str) -> str:
    if isinstance(value, str) and name == MESSAGES:
        # A chat in a CSV file.
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InvalidInputError("not JSON, expected a list of messages") from None
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        from turnout.conversation import prompt_of

        return prompt_of(value)
    raise InvalidInputError(f"{'null' if value is None else type(value).__name__}, expected text or a list of messages")


def iter_prompts(source: str | Path, *, bad: BadRows, column: str = COLUMN) -> Iterator[list[str]]:
    """Reads valid prompts in chunks.

    Args:
        source: As for :func:`read_prompts`.
        bad: Collects the invalid rows: those without a prompt, or not UTF-8. Empty lines of a text file are ignored.
        column: Column of the prompts.

    Yields:
        Lists of prompts, in order.

    Raises:
        InvalidInputError: As :func:`read_prompts`, or no row has a prompt.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "prompts.txt")
        ...     _ = path.write_text("Hi\\nWhy?\\n")
        ...     list(iter_prompts(path, bad=BadRows()))
        [['Hi', 'Why?']]
    """
    found = 0
    name = str(source)
    for chunk, prompts in read_prompts(source, column):
        name = chunk.file
        _, problems = texts(prompts, column)
        if is_text(source):
            problems = {index: problem for index, problem in problems.items() if prompts[index].strip()}
        chunk.add_problems(problems)
        usable = [prompts[index] for index in chunk.usable(bad) if not is_text(source) or prompts[index].strip()]
        found += len(usable)
        yield usable
    bad.check(name)
    if not found:
        raise InvalidInputError(f"{name} has no prompts{': ' + bad.first(name) if bad.counts[name] else ''}")


def is_text(source: str | Path) -> bool:
    """Whether a source is lines of text rather than a table."""
    return str(source) == "-" or readable_format(Path(source)).ending == ".txt"


def prompt_chunk(prompts: Sequence[str], name: str = COLUMN) -> Chunk:
    """A chunk of prompts that come from no file."""
    rows: list[Row] = [{name: prompt} for prompt in prompts]
    return Chunk(COLUMN, range(1, len(rows) + 1), rows)


def standard_input() -> IO[bytes]:
    """Bytes of standard input, also where a test has put text in its place."""
    buffer: IO[bytes] | None = getattr(sys.stdin, "buffer", None)
    return buffer if buffer is not None else io.BytesIO(sys.stdin.read().encode("utf-8", "surrogateescape"))
