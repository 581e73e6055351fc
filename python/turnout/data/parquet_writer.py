"""Writes rows to a parquet file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from turnout._core import InvalidInputError
from turnout.data.chunks import Chunk
from turnout.data.scores import shortened
from turnout.data.writer import Added, Writer, escaped, refuse_new_columns, to_json


@contextlib.contextmanager
def parquet_writer(temporary: Path, path: Path, added: Mapping[str, type]) -> Iterator[Writer]:
    """Opens a parquet file. Columns that come from parquet keep their types; others get the type of their first rows.

    A column whose first rows have no common type, or one that parquet lacks, is text: JSON of what is not text.

    Args:
        temporary: File that is written.
        path: Name that it will have, for messages.
        added: Columns that are added, with their types.
    """
    types = {str: pyarrow.string(), float: pyarrow.float64()}
    extra = [pyarrow.field(name, types[kind]) for name, kind in added.items()]
    with contextlib.ExitStack() as stack:
        opened: list[Any] = []
        names: list[str] = []

        def write(chunk: Chunk, values: Added) -> None:
            if not opened:
                names.extend(name for name in chunk.names if name not in added)
                schema = chunk.batch.schema if chunk.batch is not None else _schema(chunk, names)
                for field in extra:
                    schema = schema.append(field)
                opened.append(stack.enter_context(pyarrow.parquet.ParquetWriter(temporary, schema)))
            if chunk.batch is None:
                for number, row in zip(chunk.numbers, chunk.rows, strict=True):
                    refuse_new_columns(path, number, row, [*names, *added])
            try:
                opened[0].write_table(_table(chunk, names, values, opened[0].schema))
            except (pyarrow.ArrowException, OverflowError, ValueError, TypeError) as error:
                raise InvalidInputError(
                    f"{path}: rows {chunk.numbers[0]} to {chunk.numbers[-1]} do not match the types of earlier rows, "
                    f"write jsonl: {error}"
                ) from error

        yield write
        if not opened:
            empty = pyarrow.schema(extra)
            stack.enter_context(pyarrow.parquet.ParquetWriter(temporary, empty)).write_table(empty.empty_table())


def _table(chunk: Chunk, names: Sequence[str], added: Added, schema: Any) -> Any:
    if chunk.batch is not None:
        columns = [chunk.batch.column(name) for name in names]
    else:
        columns = [_array(chunk.column(name), field.type) for name, field in zip(names, schema, strict=False)]
    columns += [_array(list(added[name]), schema.field(name).type) for name in added]
    return pyarrow.Table.from_arrays(columns, schema=schema)


def _schema(chunk: Chunk, names: Sequence[str]) -> Any:
    return pyarrow.schema([(escaped(name), _column_type(chunk.column(name))) for name in names])


def _column_type(values: Sequence[Any]) -> Any:
    """Type of a column by its first rows; text where all are null or no type fits them."""
    try:
        found = pyarrow.array(escaped(list(values))).type
    except OverflowError:
        found = pyarrow.uint64()
    except (pyarrow.ArrowException, ValueError, TypeError):
        return pyarrow.string()
    if _is_storable(found):
        try:
            _array(list(values), found)
        except (pyarrow.ArrowException, OverflowError, ValueError, TypeError):
            return pyarrow.string()
        return found
    return pyarrow.string()


def _is_storable(kind: Any) -> bool:
    """Whether parquet has the type, and every part of it is known: null alone and structs without fields are not."""
    if pyarrow.types.is_struct(kind):
        return kind.num_fields > 0 and all(_is_storable(field.type) for field in kind)
    if pyarrow.types.is_list(kind):
        return _is_storable(kind.value_type)
    return not pyarrow.types.is_null(kind)


def _array(values: list[Any], kind: Any) -> Any:
    if pyarrow.types.is_string(kind):
        values = [value if value is None or isinstance(value, str) else to_json(value) for value in values]
    try:
        array = pyarrow.array(values, kind)
    except UnicodeEncodeError:
        values = escaped(values)
        array = pyarrow.array(values, kind)
    if not pyarrow.types.is_string(kind):
        for value, stored in zip(values, array.to_pylist(), strict=True):
            if not _is_kept(value, stored):
                raise InvalidInputError(f"{shortened(value)} is not of type {kind}")
    return array


def _is_kept(value: Any, stored: Any) -> bool:
    """Whether nothing of a value is lost: Arrow cuts off fractions of numbers, and leaves out fields that a type does not have."""
    if isinstance(value, dict) and isinstance(stored, dict):
        return value.keys() <= stored.keys() and all(_is_kept(one, stored[name]) for name, one in value.items())
    if isinstance(value, list) and isinstance(stored, list):
        return len(value) == len(stored) and all(map(_is_kept, value, stored))
    if value is None or isinstance(value, bool) or isinstance(stored, bool):
        return value is stored
    return bool(value == stored or (value != value and stored != stored))
