"""Reads the rows of a file in chunks, in memory that does not grow with the file.

A row is a dictionary of its columns. Every format gives the same :class:`Chunk`; the rest of the package reads columns from chunks and
opens no files. txt, csv, tsv, jsonl and json need only Python; parquet needs pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from turnout._core import InvalidInputError
from turnout.data.formats import TABLES, Format, opened, readable_format, require_pyarrow

if TYPE_CHECKING:
    from turnout.data.bad_rows import BadRows

Row = dict[str, Any]

#: A chunk ends after this many rows or this many bytes, whichever comes first.
CHUNK_ROWS, CHUNK_BYTES = 4096, 4 << 20


class Record(NamedTuple):
    """One row: its number from 1, its columns, its size in bytes, and the reason if it is invalid."""

    number: int
    row: Row
    size: int
    problem: str | None = None


class Chunk:
    """Consecutive rows of a file.

    Args:
        file: Name of the file.
        numbers: Number of each row, from 1: lines for txt and jsonl, records for csv, tsv, json and parquet.
        rows: The rows; not needed with ``batch``.
        batch: The rows as a ``pyarrow.RecordBatch`` if the file is parquet, with the file's types.
        problems: Reasons why rows are invalid, by index in the chunk.
        names: Names of the columns; by default those of the rows.

    Attributes:
        part: Part of the file that has been read, in ``[0, 1]``; ``None`` if its size is unknown.

    Example:
        >>> Chunk("table.csv", [1, 2], [{"prompt": "Hi"}, {"prompt": "Why?"}]).column("prompt")
        ['Hi', 'Why?']
    """

    def __init__(
        self,
        file: str,
        numbers: Sequence[int],
        rows: list[Row] | None = None,
        *,
        batch: Any = None,
        problems: dict[int, str] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.file, self.numbers, self.batch = file, numbers, batch
        self.problems: dict[int, str] = problems or {}
        self.part: float | None = None
        self._rows, self._names = rows, names

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns of all rows. Unreadable rows have none."""
        if self._names is not None:
            return list(self._names)
        if self.batch is not None:
            return list(self.batch.schema.names)
        rows = (row for index, row in enumerate(self.rows) if index not in self.problems or UNREADABLE not in row)
        return list(dict.fromkeys(name for row in rows for name in row))

    @cached_property
    def rows(self) -> list[Row]:
        """The rows, every column, as Python values."""
        if self._rows is not None:
            return self._rows
        names = self.names
        columns = [self.column(name) for name in names]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]

    def column(self, name: str) -> list[Any]:
        """Returns the values of one column.

        Args:
            name: Name of the column.

        Returns:
            One value per row; ``None`` for rows without the column.
        """
        if self.batch is None:
            return [row.get(name) for row in self.rows]
        if name not in self.names:
            return [None] * len(self)
        from turnout.data.arrow import python_values

        return python_values(self.batch.column(self.names.index(name)), f"{self.file}: column {name!r}")

    def records(self) -> Iterator[Record]:
        """Iterates over the rows.

        Returns:
            An iterator over records, with the reason of each invalid row.
        """
        for index, (number, row) in enumerate(zip(self.numbers, self.rows, strict=True)):
            yield Record(number, row, 0, self.problems.get(index))

    def add_problems(self, problems: dict[int, str]) -> None:
        """Marks rows as invalid. The first reason of a row is kept.

        Args:
            problems: Reasons by index in the chunk.
        """
        self.problems = {**problems, **self.problems}

    def usable(self, bad: BadRows) -> list[int]:
        """Returns the valid rows and reports the others.

        Args:
            bad: Collects the invalid rows.

        Returns:
            Indices of the valid rows.
        """
        bad.rows[self.file] += len(self)
        for index in sorted(self.problems):
            bad.add(self.file, self.numbers[index], self.problems[index])
        return [index for index in range(len(self)) if index not in self.problems]


#: Largest number of columns in a message.
_LISTED = 40
#: Column with the text of an unreadable row.
UNREADABLE = "unreadable"


def read_chunks(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    readable: tuple[str, ...] = TABLES,
    chunk_rows: int | None = None,
) -> Iterator[Chunk]:
    """Reads a file in chunks.

    Args:
        path: The file. Its extension determines the format, see :data:`turnout.data.formats.READABLE`.
        columns: Columns that the caller uses. Only these are read from parquet files; other formats read all columns.
        readable: Extensions to accept.
        chunk_rows: Largest number of rows in a chunk.

    Yields:
        Chunks in the order of the file. Unreadable rows are in :attr:`Chunk.problems`.

    Raises:
        FileNotFoundError: There is no such file.
        InvalidInputError: The extension is unknown, or the content has another format.
        ConfigError: A package that the format needs is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "table.csv")
        ...     _ = path.write_text("prompt,score\\nHello,1\\n")
        ...     [chunk.rows for chunk in read_chunks(path)]
        [[{'prompt': 'Hello', 'score': '1'}]]
    """
    path = Path(path)
    found = readable_format(path, readable)
    rows = chunk_rows or CHUNK_ROWS
    if found.ending == ".parquet":
        require_pyarrow(path, "parquet")
        from turnout.data.arrow import read_parquet

        return read_parquet(path, found.compression, columns, rows)
    return _read_text(path, found, rows)


def _read_text(path: Path, found: Format, chunk_rows: int) -> Iterator[Chunk]:
    from turnout.data.text import records

    names: list[str] = []
    with opened(path, found.compression) as (stream, part):
        for chunk in _gather(str(path), records(path, found.ending, stream, names), chunk_rows, names):
            chunk.part = part()
            yield chunk


def _gather(file: str, records: Iterable[Record], chunk_rows: int, names: list[str]) -> Iterator[Chunk]:
    """Groups rows into chunks; a table with a header and no rows gives one empty chunk."""
    is_empty = True
    numbers: list[int] = []
    rows: list[Row] = []
    problems: dict[int, str] = {}
    size = 0
    for record in records:
        if record.problem is not None:
            problems[len(rows)] = record.problem
        numbers.append(record.number)
        rows.append(record.row)
        size += record.size
        if len(rows) >= chunk_rows or size >= CHUNK_BYTES:
            yield Chunk(file, numbers, rows, problems=problems, names=names or None)
            numbers, rows, problems, size, is_empty = [], [], {}, 0, False
    if rows or (is_empty and names):
        yield Chunk(file, numbers, rows, problems=problems, names=names or None)


def column_names(path: str | Path) -> list[str]:
    """Names of the columns of a file; for formats whose rows differ, those of the first rows."""
    return next((chunk.names for chunk in read_chunks(path, chunk_rows=64)), [])


def no_column(file: str, column: str, names: Sequence[str], remedy: str = "") -> InvalidInputError:
    """The error for a missing column; lists the columns that exist."""
    return InvalidInputError(f"{file} has no column {column!r}; its columns: {listed(names)}{remedy}")


def listed(names: Sequence[str]) -> str:
    """Names of columns on one line, for a message; only the first of many."""
    shown = [name if name.isprintable() and name else repr(name) for name in names[:_LISTED]]
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return (", ".join(shown) or "none") + more


def refuse_duplicates(file: str, names: Sequence[str]) -> None:
    """Refuses a table with duplicate column names."""
    known: set[str] = set()
    for name in names:
        if name in known:
            raise InvalidInputError(f"{file}: duplicate column {name!r}: rename one")
        known.add(name)
