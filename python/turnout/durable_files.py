"""Files that survive a crash: replaced in one step or kept by SQLite, on the disk when a call returns."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from turnout.errors import OverloadedError


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


def _use_write_ahead_log(connection: sqlite3.Connection, wait_s: float) -> None:
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


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, busy: str) -> Iterator[None]:
    """A transaction that writes: committed at the end of the context, rolled back by an exception.

    Args:
        connection: In autocommit mode; its busy time-out says how long others are waited for.
        busy: Message of the error if they take longer.

    Raises:
        OverloadedError: Others kept the database locked for that long.
        sqlite3.Error: The database cannot be written.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise OverloadedError(busy) from error
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def make_tables(
    connection: sqlite3.Connection, application: int, version: int, tables: Sequence[str], busy: str
) -> None:
    """Puts a database into WAL mode and, if it is empty, makes its tables.

    Args:
        connection: In autocommit mode, without an open transaction.
        application: Number that says whose database it is.
        version: Of its tables.
        tables: Statements that make them.
        busy: Message of the error if others keep it locked.

    Raises:
        OverloadedError: Others kept the database locked for longer than the busy time-out of the connection.
        sqlite3.Error: The database cannot be written.
    """
    (milliseconds,) = connection.execute("PRAGMA busy_timeout").fetchone()
    try:
        _use_write_ahead_log(connection, milliseconds / 1000)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        raise OverloadedError(busy) from error
    with transaction(connection, busy):
        if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            connection.execute(f"PRAGMA application_id={application}")
            connection.execute(f"PRAGMA user_version={version}")
            for table in tables:
                connection.execute(table)
