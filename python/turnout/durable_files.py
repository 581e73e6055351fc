"""Files that survive a crash: replaced in one step or kept by SQLite, on the disk when a call returns."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file in one step: a reader, or a crash, finds the old content or the new, never a part.

    Args:
        path: The file.
        content: All of it; on the disk when this returns.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def sync_folder(folder: Path) -> None:
    """Makes renames and new names in a folder survive a crash; nothing to do where folders cannot be opened."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def use_write_ahead_log(connection: sqlite3.Connection, wait_s: float) -> None:
    """Puts a database into WAL mode, where it stays.

    Of several processes that open a new database at once, one makes this change. SQLite answers "locked" to the others at once, whatever
    their busy time-out is, because two that both read and wait to write would wait for each other.

    Args:
        connection: Without an open transaction.
        wait_s: Seconds to try for.

    Raises:
        sqlite3.OperationalError: Others kept the database locked for that long.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return
