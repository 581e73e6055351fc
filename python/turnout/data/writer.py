"""Writes rows to jsonl, csv, tsv and parquet files, in constant memory."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from turnout._core import ConfigError, InvalidInputError
from turnout.data.chunks import UNREADABLE, Chunk, Row
from turnout.data.formats import COMPRESSED, WRITABLE, created, format_of, require_pyarrow

#: Values of added columns, one a row.
Added = Mapping[str, Sequence[Any]]
#: Takes the rows of a chunk and the values of the columns that are added to them.
Writer = Callable[[Chunk, Added], None]


def check_output(path: Path, option: str = "--out", reads: Mapping[str, Path] | None = None) -> None:
    """Refuses a file that cannot be written, before any work.

    Args:
        path: The file.
        option: Option that names it, for messages.
        reads: Files that are read, by the option that names them.

    Raises:
        ConfigError: The extension cannot be written, the folder does not exist, or the file is an input.
    """
    if format_of(path).ending not in WRITABLE:
        raise ConfigError(
            f"{option} {path} ends in {path.suffix!r}, expected one of {', '.join(WRITABLE)}, or one of these followed by "
            f"{' or '.join(COMPRESSED)}"
        )
    check_folder(path, option)
    for name, source in (reads or {}).items():
        if path.exists() and source.exists() and path.samefile(source):
            raise ConfigError(f"{option} {path} is the file that {name} reads: name another")


def check_folder(path: Path, option: str = "--out") -> None:
    """Refuses a path that is a folder, or whose folder does not exist."""
    if path.is_dir():
        raise ConfigError(f"{option} {path} is a folder, expected the name of a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no folder {path.parent}")


@contextlib.contextmanager
def open_writer(path: Path, added: Mapping[str, type], option: str = "--out") -> Iterator[Writer]:
    """Opens a file for rows. The file appears under its name only when all rows have been written.

    Rows keep their columns. Rows of a parquet file keep their types in another parquet file; in other formats dates and bytes become
    text and nested values JSON. Numbers that are not finite are null in JSON.

    Args:
        path: A jsonl, csv, tsv or parquet file; the first three may end in ``.gz`` or ``.zst``.
        added: Columns to add to the rows, with their types (``str`` or ``float``); values may be ``None``.
        option: Name of the option that gives the file, for messages.

    Yields:
        A function that writes a chunk and the values of the added columns.

    Raises:
        ConfigError: The file cannot be written, or is parquet and pyarrow is not installed.
        InvalidInputError: Rows have other columns than earlier rows, in a format with fixed columns.

    Example:
        >>> from turnout.data import Chunk
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "out.jsonl")
        ...     with open_writer(path, {"model": str}) as write:
        ...         write(Chunk("-", [1], [{"prompt": "Hi"}]), {"model": ["small"]})
        ...     path.read_text()
        '{"prompt": "Hi", "model": "small"}\\n'
    """
    check_output(path, option)
    ending, compression = format_of(path)
    if ending == ".parquet":
        require_pyarrow(path, "parquet")
        if compression:
            raise ConfigError(f"{option} {path}: parquet files are already compressed: omit {compression}")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigError(f"{option} {path} cannot be written: {error.strerror}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        if ending == ".parquet":
            from turnout.data.parquet_writer import parquet_writer

            with parquet_writer(temporary, path, added) as write:
                yield write
        else:
            with (
                created(temporary, compression) as stream,
                io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape", newline="") as file,
            ):
                delimiter = "\t" if ending == ".tsv" else ","
                yield _json_writer(file) if ending == ".jsonl" else _csv_writer(file, path, added, delimiter)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def to_json(value: Any) -> str:
    """A row, or another value, as JSON on one line. Values that JSON lacks are text, and numbers that are not finite are null.

    Example:
        >>> to_json({"prompt": "中", "model": None, "score": float("nan")})
        '{"prompt": "中", "model": null, "score": null}'
    """
    try:
        text = _dumped(value)
        return text if text.isascii() or is_utf8(text) else _dumped(value, ensure_ascii=True)
    except RecursionError as error:
        raise InvalidInputError("a row is nested too deeply for JSON") from error


def _dumped(value: Any, ensure_ascii: bool = False) -> str:
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii, default=_json_value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=ensure_ascii, default=_json_value, allow_nan=False)


def _json_value(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def is_utf8(text: str) -> bool:
    """Whether a text has a UTF-8 form, that is, no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(value: Any) -> Any:
    """The value with lone surrogates in its texts written as ``\\ud83d``."""
    if isinstance(value, str):
        return value if is_utf8(value) else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {escaped(key): escaped(one) for key, one in value.items()}
    return [escaped(one) for one in value] if isinstance(value, list | tuple) else value


def rows_with(chunk: Chunk, added: Added) -> list[Row]:
    """The rows of a chunk with the added columns."""
    columns = list(added.values())
    return [
        {**row, **dict(zip(added, (column[index] for column in columns), strict=True))}
        for index, row in enumerate(chunk.rows)
    ]


def _json_writer(file: io.TextIOWrapper) -> Writer:
    def write(chunk: Chunk, added: Added) -> None:
        file.writelines(to_json(row) + "\n" for row in rows_with(chunk, added))

    return write


def _csv_writer(file: io.TextIOWrapper, path: Path, added: Mapping[str, type], delimiter: str) -> Writer:
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    header: list[str] = []

    def line(cells: list[Any]) -> None:
        try:
            writer.writerow(cells)
        except UnicodeEncodeError:
            writer.writerow([escaped(cell) for cell in cells])
        except csv.Error as error:  # Python 3.10 neither writes nor reads NUL.
            raise InvalidInputError(
                f"{path}: a value has a NUL character, which CSV cannot hold before Python 3.11: write jsonl or parquet"
            ) from error

    def write(chunk: Chunk, values: Added) -> None:
        if not header:
            header.extend([*(name for name in chunk.names if name not in added), *added])
            line(list(header))
        for number, row in zip(chunk.numbers, rows_with(chunk, values), strict=True):
            refuse_new_columns(path, number, row, header)
            line([_cell(row.get(name)) for name in header])

    return write


def _cell(value: Any) -> Any:
    return to_json(value) if isinstance(value, dict | list | bytes) else value


def refuse_new_columns(path: Path, number: int, row: Row, known: Sequence[str]) -> None:
    """Refuses a row with a column that the rows before do not have. Of rows that could not be read only the number is left."""
    if new := [name for name in row if name not in known and name != UNREADABLE]:
        raise InvalidInputError(
            f"{path}: row {number} has a new column {new[0]!r}: write jsonl, where rows may have different columns"
        )
