"""Rows with prompts, streamed from and to txt, jsonl, csv and parquet files in constant memory.

Rows stay rows: what goes in comes out in the same order with columns added, and a row that holds no usable prompt comes out too,
with the reason in :attr:`Chunk.problems`. Only parquet needs pyarrow (``pip install 'turnout[eval]'``).
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from turnout import ConfigError, InvalidInputError
from turnout.extras import require

#: A chunk ends after this many rows or this much text, whichever comes first.
CHUNK_ROWS, CHUNK_BYTES = 4096, 4 << 20
READABLE, WRITABLE = (".txt", ".jsonl", ".csv", ".parquet"), (".jsonl", ".csv", ".parquet")

Row = dict[str, Any]


@dataclass
class Chunk:
    """Some rows of a file.

    Attributes:
        numbers: Number of each row as a person counts: from 1, lines for txt and jsonl, records for csv and parquet.
        rows: The rows, every column.
        prompts: The prompt of each row; anything but a ``str`` is a row without a prompt.
        problems: What is wrong with a row, by its place in the chunk.
        schema: The ``pyarrow.Schema`` of the file, if it has one.
    """

    numbers: list[int]
    rows: list[Row]
    prompts: list[Any]
    problems: dict[int, str] = field(default_factory=dict)
    schema: Any = None


def is_prompt_file(text: str) -> bool:
    """Whether an argument names a file rather than being a prompt: it ends like one and has no space, or is a file.

    Example:
        >>> is_prompt_file("prompts.csv"), is_prompt_file("Summarise notes.txt"), is_prompt_file("Hello")
        (True, False, False)
    """
    if not text.lower().endswith(READABLE) or "\n" in text:
        return False
    return not any(character.isspace() for character in text) or Path(text).is_file()


def read_prompts(path: Path, column: str = "prompt") -> Iterator[Chunk]:
    """Streams a file.

    Args:
        path: A txt (one prompt a line), jsonl, csv (with a header) or parquet file.
        column: Column that holds the prompt; txt files have no other.

    Yields:
        Chunks with the file's rows, all of them.

    Raises:
        InvalidInputError: No such column, or a file that is none of its kind.
        ConfigError: An unknown ending, or parquet without pyarrow.
        OSError: The file cannot be read.
    """
    readers: dict[str, Callable[[Path, str], Iterator[Chunk]]] = {
        ".txt": _read_txt,
        ".jsonl": _read_jsonl,
        ".csv": _read_csv,
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{path} ends in {path.suffix!r}, expected one of {', '.join(READABLE)}")
    return reader(path, column)


def read_lines(stream: IO[bytes]) -> Iterator[Chunk]:
    """Streams one prompt a line from a pipe or file; what has arrived is a chunk, so nobody waits for a chunk to fill.

    Bytes that are no UTF-8 become lone surrogates, which the router refuses by name.
    """
    number, parts = 0, list[bytes]()
    read = getattr(stream, "read1", stream.read)
    while block := read(1 << 20):
        head, newline, tail = block.rpartition(b"\n")
        if not newline:
            parts.append(tail)
            continue
        lines = b"".join([*parts, head]).split(b"\n")
        parts = [tail] if tail else []
        yield _lines_chunk(number, lines)
        number += len(lines)
    if parts:
        yield _lines_chunk(number, [b"".join(parts)])


def _lines_chunk(before: int, lines: Sequence[bytes]) -> Chunk:
    texts = [line.removesuffix(b"\r").decode("utf-8", "surrogateescape") for line in lines]
    return Chunk(
        [before + place for place in range(1, len(texts) + 1)], [{"prompt": text} for text in texts], list(texts)
    )


def _read_txt(path: Path, column: str) -> Iterator[Chunk]:
    with path.open("rb") as file:
        for chunk in read_lines(file):
            chunk.rows = [{column: prompt} for prompt in chunk.prompts]
            yield chunk


def _gather(rows: Iterable[tuple[int, Row, str | None, int]], column: str) -> Iterator[Chunk]:
    """Chunks from single rows: number, row, what is wrong with it, size in bytes."""
    chunk, size = Chunk([], [], []), 0
    for number, row, problem, row_size in rows:
        place = len(chunk.rows)
        chunk.numbers.append(number)
        chunk.rows.append(row)
        prompt = row.get(column)
        chunk.prompts.append(None if problem else prompt)
        if problem is None and not isinstance(prompt, str):
            problem = f"{column} is {type(prompt).__name__}, expected str" if column in row else f"no column {column!r}"
        if problem is not None:
            chunk.problems[place] = problem
        size += row_size
        if len(chunk.rows) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = Chunk([], [], []), 0
    if chunk.rows:
        yield chunk


def _read_jsonl(path: Path, column: str) -> Iterator[Chunk]:
    def rows() -> Iterator[tuple[int, Row, str | None, int]]:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                    problem = None if isinstance(row, dict) else f"a JSON {type(row).__name__}, expected an object"
                except (ValueError, RecursionError) as error:
                    row, problem = None, f"no JSON: {error}"
                if problem is not None:
                    row = {"unreadable": line.decode("utf-8", "backslashreplace").rstrip("\r\n")}
                yield number, row, problem, len(line)

    return _gather(rows(), column)


def _read_csv(path: Path, column: str) -> Iterator[Chunk]:
    def rows() -> Iterator[tuple[int, Row, str | None, int]]:
        before = csv.field_size_limit(1 << 30)
        try:
            with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                reader = csv.reader(file)
                header = next(reader, None)
                if header is None:
                    raise InvalidInputError(f"{path} is empty, expected a header with a column {column!r}")
                _require_column(path, column, header)
                for number, cells in enumerate((cells for cells in reader if cells), start=1):
                    row: Row = dict(zip(header, cells, strict=False))
                    problem = None
                    if len(cells) != len(header):
                        problem = f"{len(cells)} fields, expected {len(header)} (line {reader.line_num})"
                        if len(cells) > len(header):
                            # Nothing is dropped: what has no column of its own stays in the last one.
                            row[header[-1]] = ",".join(cells[len(header) - 1 :])
                    yield number, row, problem, sum(map(len, cells))
        except csv.Error as error:
            raise InvalidInputError(f"{path}: {error} (line {reader.line_num})") from error
        finally:
            csv.field_size_limit(before)

    return _gather(rows(), column)


def _read_parquet(path: Path, column: str) -> Iterator[Chunk]:
    pyarrow, parquet = _pyarrow(path)
    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise InvalidInputError(f"{path}: {error}") from error
    with file:
        schema = file.schema_arrow
        _require_column(path, column, schema.names)
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            rows = batch.to_pylist()
            for chunk in _gather(((number + place, row, None, 0) for place, row in enumerate(rows, start=1)), column):
                chunk.schema = schema
                yield chunk
            number += len(rows)


def _require_column(path: Path, column: str, columns: Sequence[str]) -> None:
    if column not in columns:
        names = ", ".join(columns) or "none"
        raise InvalidInputError(f"{path} has no column {column!r}; its columns: {names}; choose one with --column")
    doubled = next((name for place, name in enumerate(columns) if name in columns[:place]), None)
    if doubled is not None:
        raise InvalidInputError(f"{path} has the column {doubled!r} twice")


def _pyarrow(path: Path) -> tuple[Any, Any]:
    require("eval", "pyarrow", purpose=f"{path}: parquet")
    import pyarrow
    import pyarrow.parquet

    return pyarrow, pyarrow.parquet


class Writer(Protocol):
    """Where rows go. Every call holds the rows of one chunk with the columns added."""

    def __call__(self, rows: Sequence[Row], chunk: Chunk, /) -> None:
        """Writes rows."""


@contextlib.contextmanager
def open_writer(path: Path, added: Mapping[str, type]) -> Iterator[Writer]:
    """Opens a file for rows; it takes its name when all is written, so nobody meets half a file.

    Args:
        path: A jsonl, csv or parquet file.
        added: Columns that the caller adds to the rows, with their types (``str`` or ``float``); they may be null.

    Yields:
        A writer.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ConfigError(f"{path} ends in {path.suffix!r}, expected one of {', '.join(WRITABLE)}")
    if suffix == ".parquet":
        _pyarrow(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        opener = {".jsonl": _write_jsonl, ".csv": _write_csv, ".parquet": _write_parquet}[suffix]
        with opener(temporary, path, added) as writer:
            yield writer
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def to_json(row: Mapping[str, Any]) -> str:
    """One row as a line of JSON; values that JSON lacks (dates, bytes) are written as text.

    Example:
        >>> to_json({"prompt": "中", "model": None})
        '{"prompt": "中", "model": null}'
    """
    text = json.dumps(row, ensure_ascii=False, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(row, default=str)
    return text


@contextlib.contextmanager
def _write_jsonl(temporary: Path, path: Path, added: Mapping[str, type]) -> Iterator[Writer]:
    with temporary.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda rows, chunk: file.writelines(to_json(row) + "\n" for row in rows)


@contextlib.contextmanager
def _write_csv(temporary: Path, path: Path, added: Mapping[str, type]) -> Iterator[Writer]:
    with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        header: list[str] = []
        writer = csv.writer(file, lineterminator="\n")

        def write(rows: Sequence[Row], chunk: Chunk) -> None:
            if not header and rows:
                names = dict.fromkeys(name for row in rows for name in row if name not in added)
                header.extend([*names, *added])
                writer.writerow(header)
            for number, row in zip(chunk.numbers, rows, strict=True):
                _refuse_new_columns(path, number, row, header)
                writer.writerow([_csv_cell(row.get(name)) for name in header])

        yield write


def _csv_cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value


def _refuse_new_columns(path: Path, number: int, row: Row, known: Sequence[str]) -> None:
    if new := [name for name in row if name not in known]:
        raise InvalidInputError(
            f"{path}: row {number} brings the new column {new[0]!r}; write jsonl, where rows may differ"
        )


@contextlib.contextmanager
def _write_parquet(temporary: Path, path: Path, added: Mapping[str, type]) -> Iterator[Writer]:
    pyarrow, parquet = _pyarrow(path)
    with contextlib.ExitStack() as stack:
        opened: list[Any] = []
        types = {str: pyarrow.string(), float: pyarrow.float64()}

        def write(rows: Sequence[Row], chunk: Chunk) -> None:
            if not opened:
                own = [{name: value for name, value in row.items() if name not in added} for row in rows]
                names = dict.fromkeys(name for row in own for name in row)
                inferred = pyarrow.schema(
                    [(name, _column_type(pyarrow, [row.get(name) for row in own])) for name in names]
                )
                schema = chunk.schema or inferred
                for name, kind in added.items():
                    schema = schema.append(pyarrow.field(name, types[kind]))
                opened.append(stack.enter_context(parquet.ParquetWriter(temporary, schema)))
            writer = opened[0]
            for number, row in zip(chunk.numbers, rows, strict=True):
                _refuse_new_columns(path, number, row, writer.schema.names)
            try:
                writer.write_table(pyarrow.Table.from_pylist(list(rows), schema=writer.schema))
            except (pyarrow.ArrowException, UnicodeEncodeError) as error:
                places = f"rows {chunk.numbers[0]} to {chunk.numbers[-1]}"
                raise InvalidInputError(
                    f"{path}: {places} do not fit the columns of the rows before: {error}"
                ) from error

        yield write
        if not opened:
            write([], Chunk([], [], []))


def _column_type(pyarrow: Any, values: Sequence[Any]) -> Any:
    """The type of a column by its first rows; one that is null so far is taken for text."""
    try:
        found = pyarrow.array(values).type
    except (pyarrow.ArrowException, UnicodeEncodeError):
        return pyarrow.string()
    return pyarrow.string() if pyarrow.types.is_null(found) else found


def standard_input() -> IO[bytes]:
    """Bytes of standard input, also where a test has put text in its place."""
    import sys

    buffer: IO[bytes] | None = getattr(sys.stdin, "buffer", None)
    return buffer if buffer is not None else io.BytesIO(sys.stdin.read().encode("utf-8", "surrogateescape"))
