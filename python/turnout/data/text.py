"""Readers of csv, tsv, jsonl and json, one record after the other with what is wrong with it; and of lines of text."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from turnout._core import InvalidInputError
from turnout.data.chunks import UNREADABLE, Chunk, Record, Row, refuse_duplicates
from turnout.data.formats import without_bom

_BLOCK = 1 << 20
_BLANKS = " \t\r\n"
#: Longest field of a csv file.
_FIELD_LIMIT = 1 << 30


def records(path: Path, ending: str, stream: IO[bytes], names: list[str]) -> Iterator[Record]:
    """Records of a table in one of the text formats. ``names`` receives the columns of formats that have a header."""
    if ending in (".csv", ".tsv"):
        return _csv(path, stream, "," if ending == ".csv" else "\t", names)
    readers: dict[str, Callable[[Path, IO[bytes]], Iterator[Record]]] = {
        ".jsonl": json_lines,
        ".ndjson": json_lines,
        ".json": _json,
    }
    return readers[ending](path, stream)


def read_lines(stream: IO[bytes], name: str, column: str = "prompt") -> Iterator[Chunk]:
    """Streams one prompt a line from a pipe or file. What has arrived is a chunk, so that no line waits for others.

    Bytes that are not UTF-8 become lone surrogates, which routers refuse with a message.
    """
    number, parts, first = 0, list[bytes](), True
    read = getattr(stream, "read1", stream.read)
    while block := read(_BLOCK):
        if first:
            # A pipe may give a few bytes only.
            while len(block) < 4 and (more := read(_BLOCK)):
                block += more
            block, first = without_bom(name, block), False
        head, newline, tail = block.rpartition(b"\n")
        if not newline:
            parts.append(tail)
            continue
        lines = b"".join([*parts, head]).split(b"\n")
        parts = [tail] if tail else []
        yield _lines_chunk(name, column, number, lines)
        number += len(lines)
    if parts:
        yield _lines_chunk(name, column, number, [b"".join(parts)])


def _lines_chunk(name: str, column: str, before: int, lines: list[bytes]) -> Chunk:
    rows: list[Row] = [{column: line.removesuffix(b"\r").decode("utf-8", "surrogateescape")} for line in lines]
    return Chunk(name, range(before + 1, before + 1 + len(rows)), rows)


def _decoded(path: Path, stream: IO[bytes]) -> io.TextIOWrapper:
    """The stream as text; without the byte order mark of UTF-8, and with lone surrogates for what is not UTF-8."""
    without_bom(path, stream.peek(4)[:4])  # type: ignore[attr-defined]
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")


def _csv(path: Path, stream: IO[bytes], delimiter: str, names: list[str]) -> Iterator[Record]:
    before = csv.field_size_limit(_FIELD_LIMIT)
    reader = csv.reader(_decoded(path, stream), delimiter=delimiter)
    try:
        header = next((cells for cells in reader if cells), None)
        if header is None:
            raise InvalidInputError(f"{path} is empty, expected a line with the names of the columns")
        refuse_duplicates(str(path), header)
        names.extend(header)
        for number, cells in enumerate((cells for cells in reader if cells), start=1):
            row: Row = dict(zip(header, cells, strict=False))
            problem = None
            if len(cells) != len(header):
                problem = f"{len(cells)} fields, expected {len(header)} (line {reader.line_num})"
                if len(cells) > len(header):
                    # Nothing is dropped: additional fields stay in the last column.
                    row[header[-1]] = delimiter.join(cells[len(header) - 1 :])
            yield Record(number, row, sum(map(len, cells)), problem)
    except csv.Error as error:
        raise InvalidInputError(f"{path}: {error} (line {reader.line_num})") from error
    finally:
        csv.field_size_limit(before)


def json_lines(path: str | Path, stream: IO[bytes]) -> Iterator[Record]:
    """One record a line; empty lines are not records."""
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = without_bom(path, line)
        if not line.strip():
            continue
        try:
            value, problem = json.loads(line.decode("utf-8", "surrogateescape")), None
        except (ValueError, RecursionError) as error:
            value, problem = None, f"not JSON: {error}"
        yield _record(number, value, line.decode("utf-8", "backslashreplace").rstrip("\r\n"), problem)


def _record(number: int, value: Any, text: str, problem: str | None = None) -> Record:
    if problem is None and not isinstance(value, dict):
        problem = f"a JSON {_KINDS.get(type(value), 'null')}, expected an object"
    return Record(number, {UNREADABLE: text} if problem else value, len(text), problem)


_KINDS = {list: "array", str: "string", int: "number", float: "number", bool: "true or false"}


def _json(path: Path, stream: IO[bytes]) -> Iterator[Record]:
    """Objects of an array, or one after the other, as in files that hold JSON lines under this ending."""
    decoder = json.JSONDecoder()
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    text, start, number, end_of_file, is_array = "", 0, 0, False, False
    block, first = _BLOCK, True
    while True:
        start = _skip(text, start, _BLANKS)
        if first and start < len(text):
            first, is_array = False, text[start] == "["
            start = _skip(text, start + is_array, _BLANKS)
        if start < len(text) and is_array and number and text[start] == ",":
            start = _skip(text, start + 1, _BLANKS)
        if start < len(text) and is_array and text[start] == "]":
            if text[start + 1 :].strip(_BLANKS) or any(more.strip() for more in iter(lambda: stream.read(_BLOCK), b"")):
                raise InvalidInputError(f"{path}: row {number + 1}: not JSON: text after the end of the array")
            return
        try:
            if start >= len(text):
                raise _needs_more(text)
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            if end_of_file:
                if start >= len(text) and not is_array:
                    return
                raise InvalidInputError(f"{path}: row {number + 1}: not JSON: {error}") from error
            if not _is_cut(error, len(text)):
                raise InvalidInputError(f"{path}: row {number + 1}: not JSON: {error}") from error
            more = stream.read(block)
            if number == 0 and not text:
                more = without_bom(path, more)
            end_of_file = not more
            text, start = text[start:] + decode(more, final=end_of_file), 0
            # A row that does not fit is read with twice as much, so that long rows are not parsed often.
            block = max(_BLOCK, len(text))
            continue
        number += 1
        yield _record(number, value, text[start:end])
        start = end


def _skip(text: str, start: int, characters: str) -> int:
    while start < len(text) and text[start] in characters:
        start += 1
    return start


def _needs_more(text: str) -> json.JSONDecodeError:
    return json.JSONDecodeError("the text ends", text, len(text))


def _is_cut(error: Exception, length: int) -> bool:
    """Whether text that follows could mend a row that could not be parsed."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    # A number, a literal or an escape can be cut anywhere within its characters.
    return error.pos >= length - 12 or error.msg.startswith("Unterminated string")
