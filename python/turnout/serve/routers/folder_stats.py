"""Whether the files of an artifact's folder were touched since it was loaded."""

from __future__ import annotations

import os
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
