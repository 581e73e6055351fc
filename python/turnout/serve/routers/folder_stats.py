"""Whether the files that a router was loaded from were touched since, and what was in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

#: Size, times and number of each file of a folder: equal for files that were not touched.
Stats = dict[str, tuple[int, ...]]


def stats_of(folder: Path) -> Stats:
    """Size, times and number of each file of a folder; empty where it cannot be read.

    Args:
        folder: The folder.
    """
    try:
        with os.scandir(folder) as entries:
            found = ((entry.name, entry.stat()) for entry in entries if entry.is_file())
            return {name: (one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino) for name, one in found}
    except OSError:
        return {}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; empty where it cannot be read.

    Args:
        path: The file.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while part := file.read(1 << 20):
                digest.update(part)
            return digest.hexdigest()
    except OSError:
        return ""


def contents_of(paths: Iterable[Path]) -> tuple[str, ...]:
    """SHA-256 of each file, in their order; empty for those that are missing or empty.

    Args:
        paths: The files.
    """
    return tuple(sha256_of(path) if path.is_file() and path.stat().st_size else "" for path in paths)


def index_files(options: Mapping[str, object]) -> list[Path]:
    """The file of the index that a router's options name, if they name one.

    Args:
        options: Of ``[routers.NAME]``.
    """
    index = options.get("index")
    return [Path(index)] if isinstance(index, str) else []
