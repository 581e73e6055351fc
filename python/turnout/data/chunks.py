"""Parquet, CSV and JSON-lines files in chunks of rows, in memory that does not grow with the file."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from turnout import InvalidInputError
from turnout.data.bad_rows import BadRows

#: Rows of a chunk: large enough that the cost per chunk vanishes, small enough that a chunk of long prompts is some MB.
CHUNK_ROWS = 8192

#: A column as the file gave it: Arrow where the file is columnar, Python values where it is JSON.
Column: TypeAlias = "pa.Array | list[Any]"


@dataclass(frozen=True)
class Chunk:
    """Some consecutive rows of a file.

    Attributes:
        file: The file.
        rows: Numbers of the rows, the first row of data being 1.
        columns: Columns by name. CSV columns are binary: every value is parsed by whoever knows what it should be.
    """

    file: str
    rows: NDArray[np.int64]
    columns: dict[str, Column]


def read_chunks(
    path: str | Path, *, columns: Sequence[str] | None = None, bad: BadRows, chunk_rows: int = CHUNK_ROWS
) -> Iterator[Chunk]:
    """Reads a file in chunks.

    Args:
        path: A ``.parquet``, ``.csv``, ``.jsonl`` or ``.ndjson`` file.
        columns: Columns to read; others cost nothing in Parquet. Columns that the file does not have are left out.
        bad: Takes rows that are no rows: CSV lines with a wrong number of fields, lines that are no JSON objects.
        chunk_rows: At most this many rows a chunk.

    Yields:
        Chunks in the order of the file.

    Raises:
        FileNotFoundError: There is no such file.
        InvalidInputError: The suffix is unknown, or the file is not what its suffix says.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    readers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidInputError(f"{path}: suffix is {path.suffix!r}, expected one of {', '.join(readers)}")
    try:
        yield from reader(path, columns, bad, chunk_rows)
    except pa.ArrowInvalid as error:
        raise InvalidInputError(f"{path}: {error}") from error


def column_names(path: str | Path) -> list[str]:
    """Names of the columns of a file; of its first line for JSON lines."""
    path = Path(path)
    if path.suffix.lower() == ".parquet":
        return list(pa.parquet.read_schema(path).names)
    for chunk in read_chunks(path, bad=BadRows(), chunk_rows=64):
        return list(chunk.columns)
    return []


def _wanted(available: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    return [name for name in available if columns is None or name in columns]


def _parquet(path: Path, columns: Sequence[str] | None, bad: BadRows, chunk_rows: int) -> Iterator[Chunk]:
    # `pre_buffer` would keep whole row groups ahead of the reader.
    with pa.parquet.ParquetFile(path, pre_buffer=False) as file:
        first = 1
        names = _wanted(file.schema_arrow.names, columns)
        for batch in file.iter_batches(batch_size=chunk_rows, columns=names, use_threads=False):
            rows = np.arange(first, first + batch.num_rows, dtype=np.int64)
            yield Chunk(str(path), rows, {name: batch.column(name) for name in names})
            first += batch.num_rows


def _csv(path: Path, columns: Sequence[str] | None, bad: BadRows, chunk_rows: int) -> Iterator[Chunk]:
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    read = pa.csv.ReadOptions(use_threads=False, block_size=4 << 20)
    with pa.csv.open_csv(
        path, parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=_skip)
    ) as head:
        available = head.schema.names
    names = _wanted(available, columns)
    skipped: list[int] = []

    def refuse(row: Any) -> str:
        number = row.number - 1  # Arrow counts the header
        skipped.append(number)
        bad.add(str(path), number, f"{row.actual_columns} fields, expected {row.expected_columns}")
        return "skip"

    parse.invalid_row_handler = refuse
    convert = pa.csv.ConvertOptions(column_types={name: pa.binary() for name in names}, include_columns=names)
    with pa.csv.open_csv(path, read_options=read, parse_options=parse, convert_options=convert) as reader:
        accepted = 0
        for batch in reader:
            for start in range(0, batch.num_rows, chunk_rows):
                part = batch.slice(start, chunk_rows)
                rows = np.arange(accepted + 1, accepted + 1 + part.num_rows, dtype=np.int64)
                accepted += part.num_rows
                yield Chunk(str(path), _file_rows(rows, skipped), {name: part.column(name) for name in names})


def _skip(row: Any) -> str:
    return "skip"


def _file_rows(accepted: NDArray[np.int64], skipped: list[int]) -> NDArray[np.int64]:
    """Row numbers of accepted rows, given the numbers of the skipped ones."""
    if not skipped:
        return accepted
    # The k-th skipped row (from 0) at number s lies after s - 1 - k accepted ones.
    after = [number - 1 - place for place, number in enumerate(sorted(skipped))]
    shifts = [bisect_right(after, int(row) - 1) for row in accepted]
    return accepted + np.array(shifts, dtype=np.int64)


def _json_lines(path: Path, columns: Sequence[str] | None, bad: BadRows, chunk_rows: int) -> Iterator[Chunk]:
    # Arrow's JSON reader stops at the first line that is not what the block before led it to expect, and does not say which.
    rows: list[int] = []
    records: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                bad.add(str(path), number, f"no JSON: {error}")
                continue
            if not isinstance(record, dict):
                bad.add(str(path), number, f"{type(record).__name__}, expected a JSON object")
                continue
            rows.append(number)
            records.append(record)
            if len(records) == chunk_rows:
                yield _record_chunk(path, rows, records, columns)
                rows, records = [], []
    if records:
        yield _record_chunk(path, rows, records, columns)


def _record_chunk(path: Path, rows: list[int], records: list[dict[str, Any]], columns: Sequence[str] | None) -> Chunk:
    names = _wanted(list(dict.fromkeys(name for record in records for name in record)), columns)
    return Chunk(
        str(path), np.array(rows, dtype=np.int64), {name: [record.get(name) for record in records] for name in names}
    )
