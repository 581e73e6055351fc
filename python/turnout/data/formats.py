"""Endings of files that hold prompts and tables, and how such files are opened."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from turnout._core import InvalidInputError
from turnout.extras import require

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
READABLE = (".txt", *TABLES)
WRITABLE = (".jsonl", ".csv", ".tsv", ".parquet")
COMPRESSED = (".gz", ".zst")

_UTF_8_BOM = b"\xef\xbb\xbf"
#: Byte order marks of encodings that are not read, the longer ones first.
_OTHER_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


class Format(NamedTuple):
    """Format of a file by its name: an ending such as ``.csv``, and ``.gz``, ``.zst`` or nothing after it."""

    ending: str
    compression: str


def format_of(path: str | Path) -> Format:
    """Format of a file by its name.

    Example:
        >>> format_of("a/prompts.csv.GZ")
        Format(ending='.csv', compression='.gz')
        >>> format_of("notes.md")
        Format(ending='.md', compression='')
    """
    path = Path(path)
    last = path.suffix.lower()
    if last not in COMPRESSED:
        return Format(last, "")
    return Format(Path(path.stem).suffix.lower(), last)


def names_file(argument: str) -> bool:
    """Whether an argument is the name of a file and not a prompt.

    It is if such a file or folder exists, or if it has a known extension and no space.

    Example:
        >>> names_file("missing.csv.gz"), names_file("Summarize notes.txt"), names_file("Hello")
        (True, False, False)
    """
    if os.path.exists(argument):
        return True
    return format_of(argument).ending in READABLE and not any(character.isspace() for character in argument)


def readable_format(path: Path, readable: tuple[str, ...] = READABLE) -> Format:
    """Format of a file that can be read. A pipe without an ending, such as ``/dev/fd/63`` of a shell, is text.

    Args:
        path: The file.
        readable: Endings that are read here.

    Raises:
        FileNotFoundError: There is no such file.
        InvalidInputError: It is a folder, or its ending is none of these.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    expected = f"expected a file that ends in {', '.join(readable)}, or one of these followed by .gz or .zst"
    if stat.S_ISDIR(mode):
        raise InvalidInputError(f"{path} is a folder, {expected}")
    found = format_of(path)
    if found.ending in readable:
        return found
    if not found.ending and not stat.S_ISREG(mode) and ".txt" in readable:
        return Format(".txt", "")
    raise InvalidInputError(f"{path} ends in {path.suffix!r}, {expected}")


class Opened(NamedTuple):
    """A file that is read: its bytes, decompressed, and how far the reading is."""

    stream: IO[bytes]
    part: Callable[[], float | None]


@contextlib.contextmanager
def opened(path: Path, compression: str = "") -> Iterator[Opened]:
    """Opens a file for reading.

    Raises:
        InvalidInputError: The compressed data is damaged.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        size = os.fstat(file.fileno()).st_size
        stream: IO[bytes] = file
        if compression:
            packed = gzip.GzipFile(fileobj=file) if compression == ".gz" else _zstd(path, file, "rb")
            stream = stack.enter_context(cast("IO[bytes]", io.BufferedReader(packed, 1 << 20)))
        try:
            # Readers of text close the file at its end.
            yield Opened(stream, lambda: (1.0 if file.closed else file.tell() / size) if size else None)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InvalidInputError(f"{path}: {error}") from error
        except OSError as error:
            if compression and error.errno is None:
                raise InvalidInputError(f"{path}: {error}") from error
            raise


@contextlib.contextmanager
def created(path: Path, compression: str = "") -> Iterator[IO[bytes]]:
    """Opens a file for writing, compressed."""
    with contextlib.ExitStack() as stack:
        file: Any = stack.enter_context(path.open("wb"))
        if compression == ".gz":
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, file, 0))
        elif compression == ".zst":
            file = stack.enter_context(_zstd(path, file, "wb"))
        yield file


def _zstd(path: Path, file: IO[bytes], mode: str) -> Any:
    try:
        from compression.zstd import ZstdFile  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        require_pyarrow(path, "zstd")
        import pyarrow

        stream = pyarrow.CompressedInputStream if mode == "rb" else pyarrow.CompressedOutputStream
        return stream(pyarrow.PythonFile(file, mode), "zstd")
    return ZstdFile(file, mode)


def require_pyarrow(path: Path, what: str) -> None:
    """Refuses a file of a format that needs pyarrow where it is not installed."""
    require("eval", "pyarrow", purpose=f"{path}: reading and writing {what}")


def without_bom(path: str | Path, head: bytes) -> bytes:
    """The first bytes of a text without the byte order mark of UTF-8.

    Raises:
        InvalidInputError: They begin with the mark of another encoding.
    """
    for mark, name in _OTHER_BOMS.items():
        if head.startswith(mark):
            raise InvalidInputError(f"{path} is encoded in {name}, expected UTF-8: convert it, such as with iconv")
    return head.removeprefix(_UTF_8_BOM)
