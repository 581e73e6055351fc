from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from turnout.durable_files import make_tables, transaction
from turnout.errors import OverloadedError

WRITERS = 8
TABLE = "CREATE TABLE written (number INTEGER)"


def _open(path: Path, wait_s: float) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=wait_s, check_same_thread=False)


def test_everybody_who_opens_a_new_database_at_once_can_write(tmp_path: Path) -> None:
    """SQLite answers "locked" at once to all but one that change the mode, whatever the time-out is."""
    together = threading.Barrier(WRITERS)

    def write(path: Path) -> str:
        with contextlib.closing(_open(path, 30)) as connection:
            together.wait()
            make_tables(connection, 1, 1, [TABLE], "busy")
            with transaction(connection, "busy"):
                connection.execute("INSERT INTO written VALUES (1)")
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
    with contextlib.closing(_open(path, 0)) as other, contextlib.closing(_open(path, 0.1)) as connection:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        with pytest.raises(OverloadedError, match="others write"):
            make_tables(connection, 1, 1, [TABLE], "others write")
        assert time.monotonic() - started >= 0.1
        with pytest.raises(OverloadedError, match="others write"), transaction(connection, "others write"):
            pass


def test_an_exception_rolls_the_transaction_back(tmp_path: Path) -> None:
    with contextlib.closing(_open(tmp_path / "one.sqlite", 0)) as connection:
        make_tables(connection, 1, 1, [TABLE], "busy")
        rows = iter([(1,), (2,), ()])
        with pytest.raises(sqlite3.ProgrammingError), transaction(connection, "busy"):
            connection.executemany("INSERT INTO written VALUES (?)", rows)
        assert list(rows) == []
        assert connection.execute("SELECT count(*) FROM written").fetchone() == (0,)


def test_an_error_that_is_no_lock_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "one.sqlite"
    with contextlib.closing(_open(path, 0)) as connection:
        make_tables(connection, 1, 1, [TABLE], "busy")
    with contextlib.closing(_open(path, 0)) as connection:
        connection.execute("PRAGMA query_only=ON")
        with pytest.raises(sqlite3.OperationalError, match="readonly") as found, transaction(connection, "busy"):
            pass
        assert found.value.__cause__ is None
