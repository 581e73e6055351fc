"""Rows of a file, read a chunk at a time in memory that does not grow with the file.

A row is a dictionary of its columns. Every format gives the same :class:`Chunk`; the rest of the package reads columns from it and
never sees a file. txt, csv, tsv, jsonl and json need nothing but Python, parquet needs pyarrow.
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
    """One row as a reader gives it: its number as a person counts, its columns, its size, and what is wrong with it."""

    number: int
    row: Row
    size: int
    problem: str | None = None


class Chunk:
    """Consecutive rows of a file.

    Attributes:
        file: Name of the file.
        numbers: Number of each row: from 1, lines for txt and jsonl, records for csv, tsv, json and parquet.
        problems: What is wrong with a row, by its index in the chunk.
        batch: The rows as a ``pyarrow.RecordBatch``, if the file is parquet; all its columns have the types of the file.
        part: Part of the file that has been read, in 0..1; ``None`` where its size is not known.
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
        """Names of the columns, of all rows together. Rows that could not be read have none."""
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
        """Values of one column; ``None`` where a row does not have it."""
        if self.batch is None:
            return [row.get(name) for row in self.rows]
        if name not in self.names:
            return [None] * len(self)
        from turnout.data.arrow import python_values

        return python_values(self.batch.column(self.names.index(name)), f"{self.file}: column {name!r}")

    def records(self) -> Iterator[Record]:
        """The rows one by one, with what is wrong with them."""
        for index, (number, row) in enumerate(zip(self.numbers, self.rows, strict=True)):
            yield Record(number, row, 0, self.problems.get(index))

    def add_problems(self, problems: dict[int, str]) -> None:
        """Notes what is wrong with rows; the first problem of a row stays."""
        self.problems = {**problems, **self.problems}

    def usable(self, bad: BadRows) -> list[int]:
        """Indices of the rows without a problem; the others go to ``bad``."""
        bad.rows[self.file] += len(self)
        for index in sorted(self.problems):
            bad.add(self.file, self.numbers[index], self.problems[index])
        return [index for index in range(len(self)) if index not in self.problems]


#: Columns that a message lists.
_LISTED = 40
#: Column of the text of a row that could not be read at all.
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
        path: The file; its ending says what it holds, see :data:`turnout.data.formats.READABLE`.
        columns: Columns that will be used. Parquet files read no others; other formats read all of them.
        readable: Endings that are read here.
        chunk_rows: At most this many rows a chunk.

    Yields:
        Chunks in the order of the file. Rows that could not be read are in :attr:`Chunk.problems`.

    Raises:
        FileNotFoundError: There is no such file.
        InvalidInputError: The ending is unknown, or the file does not hold what its ending says.
        ConfigError: A package is not installed that the format needs.

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
    """Chunks of single rows; of a table with a header and no rows, one without rows."""
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
    """Names of the columns of a file; of its first rows for formats in which rows differ."""
    return next((chunk.names for chunk in read_chunks(path, chunk_rows=64)), [])


def no_column(file: str, column: str, names: Sequence[str], remedy: str = "") -> InvalidInputError:
    """The error for a column that is not there; it lists those that are."""
    return InvalidInputError(f"{file} has no column {column!r}; its columns: {listed(names)}{remedy}")


def listed(names: Sequence[str]) -> str:
    """Names of columns for a message, on one line; the first of them if there are many."""
    shown = [name if name.isprintable() and name else repr(name) for name in names[:_LISTED]]
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return (", ".join(shown) or "none") + more


def refuse_duplicates(file: str, names: Sequence[str]) -> None:
    """Refuses a table with two columns of one name."""
    known: set[str] = set()
    for name in names:
        if name in known:
            raise InvalidInputError(f"{file} has the column {name!r} twice: rename one")
        known.add(name)
