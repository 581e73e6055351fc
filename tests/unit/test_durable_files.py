from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from turnout.durable_files import use_write_ahead_log

WRITERS = 8


def _open(path: Path, wait_s: float) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=wait_s, check_same_thread=False)


def test_everybody_who_opens_a_new_database_at_once_can_write(tmp_path: Path) -> None:
    """SQLite answers "locked" at once to all but one that change the mode, whatever the time-out is."""
    together = threading.Barrier(WRITERS)

    def write(path: Path) -> str:
        with contextlib.closing(_open(path, 30)) as connection:
            together.wait()
            use_write_ahead_log(connection, 30)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE IF NOT EXISTS written (number INTEGER)")
            connection.execute("INSERT INTO written VALUES (1)")
            connection.execute("COMMIT")
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            return str(mode)

    with ThreadPoolExecutor(WRITERS) as pool:
        for number in range(10):
            path = tmp_path / f"{number}.sqlite"
            assert list(pool.map(write, [path] * WRITERS)) == ["wal"] * WRITERS
            with contextlib.closing(_open(path, 0)) as connection:
                assert connection.execute("SELECT count(*) FROM written").fetchone() == (WRITERS,)


def test_a_database_that_stays_locked_is_an_error_after_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "locked.sqlite"
    with contextlib.closing(_open(path, 0)) as other, contextlib.closing(_open(path, 0)) as connection:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            use_write_ahead_log(connection, 0.1)
        assert time.monotonic() - started >= 0.1
