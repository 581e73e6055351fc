"""Parquet files, and Arrow columns as Python values. The only module that reads with pyarrow."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from turnout._core import InvalidInputError
from turnout.data.chunks import CHUNK_BYTES, Chunk, refuse_duplicates
from turnout.data.formats import opened

#: Rows that are decoded at a time.
_DECODED_ROWS = 1024
#: Tests for text and bytes; older versions of pyarrow lack some.
_TEXT = tuple(f"is_{name}" for name in "string large_string string_view binary large_binary binary_view".split())


def read_parquet(path: Path, compression: str, columns: Sequence[str] | None, chunk_rows: int) -> Iterator[Chunk]:
    """Streams a parquet file; see :func:`turnout.data.read_chunks`."""
    with _explained(path), contextlib.ExitStack() as stack:
        source: Any = path
        if compression:
            # Parquet is read from its end.
            source = stack.enter_context(tempfile.TemporaryFile())
            with opened(path, compression) as packed:
                shutil.copyfileobj(packed.stream, source, 1 << 20)
            source.seek(0)
        # `pre_buffer` would keep whole row groups ahead of the reader.
        file = stack.enter_context(pyarrow.parquet.ParquetFile(source, pre_buffer=False))
        names = file.schema_arrow.names
        refuse_duplicates(str(path), names)
        selected = names if columns is None else [name for name in names if name in columns]
        number = 1
        for batch in file.iter_batches(batch_size=min(chunk_rows, _DECODED_ROWS), columns=selected, use_threads=False):
            for part in _split(batch):
                chunk = Chunk(str(path), range(number, number + part.num_rows), batch=part)
                number += part.num_rows
                chunk.part = (number - 1) / file.metadata.num_rows
                yield chunk
        if number == 1:
            empty = pyarrow.RecordBatch.from_pylist([], schema=file.schema_arrow).select(selected)
            yield Chunk(str(path), range(0), batch=empty)


def parquet_rows(path: Path) -> int:
    """Number of rows, which the end of the file states."""
    with _explained(path):
        return int(pyarrow.parquet.read_metadata(path).num_rows)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        if str(path) in str(error) or getattr(error, "filename", None):
            raise
        raise InvalidInputError(f"{path}: {error}") from error


def _split(batch: Any) -> Iterator[Any]:
    """Parts of a batch of long rows, none of them larger than a chunk should be."""
    rows = batch.num_rows
    parts = min(rows, -(-batch.nbytes // CHUNK_BYTES))
    if parts <= 1:
        yield batch
        return
    size = -(-rows // parts)
    for start in range(0, rows, size):
        yield batch.slice(start, size)


def python_values(array: Any, what: str) -> list[Any]:
    """Values of an Arrow array as text, numbers, lists and dictionaries.

    Dates, times and durations become text, because Python's types cannot hold all their digits. Bytes become text, with lone
    surrogates for those that are not UTF-8. No pandas is needed.

    Args:
        array: The array.
        what: What it is, for messages.

    Raises:
        InvalidInputError: A value that Python cannot hold.
    """
    try:
        return _values(array)
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError, AttributeError, ImportError) as error:
        raise InvalidInputError(f"{what}: type {array.type} cannot be read: {error}") from error


def _values(array: Any) -> list[Any]:
    types = pyarrow.types
    kind = array.type
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _values(array.storage)
    if types.is_dictionary(kind):
        return _values(array.dictionary_decode())
    if types.is_run_end_encoded(kind):
        return _values(pyarrow.compute.run_end_decode(array))
    if types.is_duration(kind):
        return [None if number is None else f"{number} {kind.unit}" for number in _values(array.cast("int64"))]
    if types.is_timestamp(kind) and kind.tz is not None:
        return _zoned(array)
    if types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind):
        return list(array.cast(pyarrow.string()).to_pylist())
    if types.is_float16(kind):
        return list(array.cast(pyarrow.float32()).to_pylist())
    if types.is_fixed_size_binary(kind) or _is_text(types, kind):
        return _texts(array)
    if types.is_struct(kind):
        return _structs(array)
    if types.is_map(kind):
        return [None if pairs is None else [list(pair) for pair in pairs] for pairs in array.to_pylist()]
    if types.is_nested(kind) and not types.is_union(kind):
        return _lists(array)
    return list(array.to_pylist())


def _is_text(types: Any, kind: Any) -> bool:
    return any(getattr(types, test)(kind) for test in _TEXT if hasattr(types, test))


def _texts(array: Any) -> list[Any]:
    try:
        values = array.to_pylist()
    except UnicodeDecodeError:  # a file whose text is not UTF-8
        values = array.cast(pyarrow.large_binary()).to_pylist()
    return [value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in values]


def _zoned(array: Any) -> list[Any]:
    try:
        return list(array.cast(pyarrow.string()).to_pylist())
    except pyarrow.ArrowInvalid:  # an unknown time zone: the time in UTC
        texts = array.cast(pyarrow.timestamp(array.type.unit)).cast(pyarrow.string()).to_pylist()
        return [None if text is None else f"{text}Z" for text in texts]


def _structs(array: Any) -> list[Any]:
    names = [field.name for field in array.type]
    if len(set(names)) != len(names):
        raise ValueError("two fields have one name")
    valid = array.is_valid().to_pylist()
    fields = [_values(field) for field in array.flatten()]
    rows = zip(*fields, strict=True) if fields else ([()] * len(array))
    return [dict(zip(names, row, strict=True)) if is_valid else None for row, is_valid in zip(rows, valid, strict=True)]


def _lists(array: Any) -> list[Any]:
    lengths = pyarrow.compute.list_value_length(array).to_pylist()
    items = iter(_values(array.flatten()))
    return [None if length is None else list(islice(items, length)) for length in lengths]
