"""What was asked, answered and paid, on disk before anything else happens; and the cap on what may be paid."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turnout import ConfigError
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

    A request is entered at the most it can cost before it is sent, and settled when its answer is there. What a process that died
    left unsettled counts as spent from the next opening on, and is asked again. The file is locked from the opening to
    :meth:`close`; the operating system takes the lock from a process that dies.

    Args:
        path: The file; made if it is missing.
        look: For reading only: a file that is missing is not made, and what is unsettled stays so.

    Attributes:
        unsettled: Requests that were under way when the last process died.

    Raises:
        ConfigError: The file is no ledger, cannot be opened or written, or is open elsewhere. Every method raises it too.
    """

    def __init__(self, path: Path, *, look: bool = False) -> None:
        self.path = path
        if not path.parent.is_dir():
            raise ConfigError(
                f"{path}: expected a folder to keep the ledger in, found no folder {path.parent}; make it"
            )
        with self._told():
            # Without waiting: who holds the file holds it for hours.
            self._database = sqlite3.connect(":memory:" if look and not path.exists() else path, timeout=0)
        try:
            with self._told():
                self._open()
                self.unsettled = int(self._number("SELECT COUNT(*) FROM under_way"))
                if not look:
                    self._settle_what_is_left()
        except ConfigError:
            self._database.close()
            raise

    def _open(self) -> None:
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode = WAL")
        # Locks the file now rather than at the first request.
        self._database.execute("BEGIN EXCLUSIVE")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS paid (key BLOB PRIMARY KEY, answer TEXT, dollars REAL NOT NULL, finish TEXT) WITHOUT ROWID"
        )
        if "finish" not in [column[1] for column in self._database.execute("PRAGMA table_info(paid)")]:
            # A ledger from before this column was kept.
            self._database.execute("ALTER TABLE paid ADD COLUMN finish TEXT")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS under_way (entry INTEGER PRIMARY KEY, key BLOB NOT NULL, dollars REAL NOT NULL)"
        )
        self._database.commit()

    def _settle_what_is_left(self) -> None:
        with self._database:
            for key, dollars in self._database.execute("SELECT key, dollars FROM under_way").fetchall():
                self._add(key, None, dollars)
            self._database.execute("DELETE FROM under_way")

    def answer(self, key: bytes) -> Answer | None:
        """The answer to a request, if it was paid for."""
        with self._told():
            row = self._database.execute("SELECT answer, finish FROM paid WHERE key = ?", (key,)).fetchone()
        return None if row is None or row[0] is None else Answer(*row)

    def begin(self, key: bytes, dollars: float) -> int:
        """Enters a request that is about to be sent, at the most it can cost; gives its number for :meth:`settle`."""
        with self._told(), self._database:
            entered = self._database.execute("INSERT INTO under_way (key, dollars) VALUES (?, ?)", (key, dollars))
        return int(entered.lastrowid or 0)

    def settle(self, entry: int, answer: Answer | None, dollars: float) -> None:
        """Puts what a request brought and cost in the place of what it could have cost.

        Args:
            entry: Number of the request.
            answer: ``None`` for a request without one; it takes nothing from an answer that another attempt brought.
            dollars: What it cost, or may have cost.
        """
        with self._told(), self._database:
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
        """Dollars over all runs, with what is under way at the most it can cost."""
        with self._told():
            return self._number("SELECT TOTAL(dollars) FROM paid") + self._number(
                "SELECT TOTAL(dollars) FROM under_way"
            )

    def _number(self, query: str) -> float:
        return float(self._database.execute(query).fetchone()[0])

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise ConfigError(
                    f"another run is using {self.path}: wait for its end, stop it, or name another --out"
                ) from error
            if isinstance(error, sqlite3.OperationalError):
                raise ConfigError(f"{self.path}: expected a ledger to read and write, found: {error}") from error
            raise ConfigError(
                f"{self.path}: expected a ledger of earlier answers, found: {error}; name another --out"
            ) from error

    def close(self) -> None:
        """Closes the file and gives up its lock."""
        self._database.close()


class Budget:
    """A cap in dollars on what is paid, requests under way included at their worst case.

    Args:
        cap: Dollars; ``None`` is no cap.
        spent: Dollars spent before.

    Attributes:
        under_way: Requests that money is set aside for.
    """

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap, self.spent, self.under_way, self._reserved = cap, spent, 0, 0.0

    def reserve(self, dollars: float) -> bool:
        """Sets money aside for a request; false if that could break the cap."""
        if self.cap is not None and self.spent + self._reserved + dollars > self.cap:
            return False
        self._reserved += dollars
        self.under_way += 1
        return True

    def settle(self, reserved: float, paid: float) -> None:
        """A request that had this much set aside cost that much."""
        self.under_way -= 1
        self._reserved = self._reserved - reserved if self.under_way else 0.0
        self.spent += paid
