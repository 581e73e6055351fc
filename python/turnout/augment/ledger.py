"""Requests, answers and costs, written to disk before and after each request; and the limit on costs."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turnout._core import ConfigError
from turnout.augment.answer import Answer


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens.

    Attributes:
        prompt: Of what is sent.
        completion: Of what comes back.

    Example:
        >>> Price(2.5, 10.0).dollars(1000, 100)
        0.0035
    """

    prompt: float
    completion: float

    def dollars(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Cost of one request."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class Ledger:
    """Requests, answers and costs in an SQLite file; a request whose answer is in it is never sent again.

    A request is entered with its maximum cost before it is sent, and settled when its answer arrives. A request that a killed process left
    unsettled counts as spent at its maximum from the next opening on, and is sent again. The file is locked from opening to
    :meth:`close`; the operating system releases the lock of a process that ends.

    Args:
        path: The file; created if it is missing.
        read_only: Creates no file, and leaves unsettled requests as they are.

    Attributes:
        unsettled: Requests in flight when the last process was killed.

    Raises:
        ConfigError: The file is not a ledger, cannot be opened or written, or is open in another process. Every method raises it too.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: expected a folder for the ledger, found no folder {path.parent}; create it")
        with self._config_errors():
            # No wait for the lock: a run holds it for hours.
            self._database = sqlite3.connect(":memory:" if read_only and not path.exists() else path, timeout=0)
        try:
            with self._config_errors():
                self._open()
                self.unsettled = int(self._number("SELECT COUNT(*) FROM under_way"))
                if not read_only:
                    self._settle_rest()
        except ConfigError:
            self._database.close()
            raise

    def _open(self) -> None:
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode = WAL")
        # Locks the file now instead of at the first request.
        self._database.execute("BEGIN EXCLUSIVE")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS paid (key BLOB PRIMARY KEY, answer TEXT, dollars REAL NOT NULL, finish TEXT) WITHOUT ROWID"
        )
        if "finish" not in [column[1] for column in self._database.execute("PRAGMA table_info(paid)")]:
            # A ledger of an earlier version.
            self._database.execute("ALTER TABLE paid ADD COLUMN finish TEXT")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS under_way (entry INTEGER PRIMARY KEY, key BLOB NOT NULL, dollars REAL NOT NULL)"
        )
        self._database.commit()

    def _settle_rest(self) -> None:
        with self._database:
            for key, dollars in self._database.execute("SELECT key, dollars FROM under_way").fetchall():
                self._add(key, None, dollars)
            self._database.execute("DELETE FROM under_way")

    def answer(self, key: bytes) -> Answer | None:
        """The answer to a request, if it was paid for."""
        with self._config_errors():
            row = self._database.execute("SELECT answer, finish FROM paid WHERE key = ?", (key,)).fetchone()
        return None if row is None or row[0] is None else Answer(*row)

    def begin(self, key: bytes, dollars: float) -> int:
        """Enters a request with its maximum cost, before it is sent.

        Returns:
            Its number, for :meth:`settle`.
        """
        with self._config_errors(), self._database:
            entered = self._database.execute("INSERT INTO under_way (key, dollars) VALUES (?, ?)", (key, dollars))
        return int(entered.lastrowid or 0)

    def settle(self, entry: int, answer: Answer | None, dollars: float) -> None:
        """Replaces the maximum cost of a request by its actual one, and stores its answer.

        Args:
            entry: Number of the request.
            answer: ``None`` for a request without one; the answer of another attempt stays.
            dollars: What it cost, or may have cost.
        """
        with self._config_errors(), self._database:
            key = self._database.execute("SELECT key FROM under_way WHERE entry = ?", (entry,)).fetchone()[0]
            self._database.execute("DELETE FROM under_way WHERE entry = ?", (entry,))
            if answer is not None or dollars:
                self._add(key, answer, dollars)

    def _add(self, key: bytes, answer: Answer | None, dollars: float) -> None:
        self._database.execute(
            "INSERT INTO paid (key, answer, finish, dollars) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
            "answer = COALESCE(answer, excluded.answer), finish = CASE WHEN answer IS NULL THEN excluded.finish ELSE finish END, "
            "dollars = dollars + excluded.dollars",
            (key, answer and answer.text, answer and answer.finish, dollars),
        )

    def spent(self) -> float:
        """Dollars over all runs; requests in flight count with their maximum cost."""
        with self._config_errors():
            return self._number("SELECT TOTAL(dollars) FROM paid") + self._number(
                "SELECT TOTAL(dollars) FROM under_way"
            )

    def _number(self, query: str) -> float:
        return float(self._database.execute(query).fetchone()[0])

    @contextlib.contextmanager
    def _config_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise ConfigError(
                    f"another run is using {self.path}: wait until it ends, stop it, or name another --out"
                ) from error
            if isinstance(error, sqlite3.OperationalError):
                raise ConfigError(f"{self.path}: expected a ledger to read and write, found: {error}") from error
            raise ConfigError(
                f"{self.path}: expected a ledger of earlier answers, found: {error}; name another --out"
            ) from error

    def close(self) -> None:
        """Closes the file and releases its lock."""
        self._database.close()


class Budget:
    """A limit in dollars on costs; requests in flight count with their maximum cost.

    Args:
        cap: Dollars; ``None`` is no limit.
        spent: Dollars spent before.

    Attributes:
        under_way: Requests in flight, with their cost reserved.
    """

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap, self.spent, self.under_way, self._reserved = cap, spent, 0, 0.0

    def reserve(self, dollars: float) -> bool:
        """Reserves the maximum cost of a request; false if the limit could be exceeded."""
        if self.cap is not None and self.spent + self._reserved + dollars > self.cap:
            return False
        self._reserved += dollars
        self.under_way += 1
        return True

    def settle(self, reserved: float, paid: float) -> None:
        """Replaces a reserved cost by the actual one."""
        self.under_way -= 1
        self._reserved = self._reserved - reserved if self.under_way else 0.0
        self.spent += paid
