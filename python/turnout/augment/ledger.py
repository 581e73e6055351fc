"""What was asked, answered and paid, on disk before anything else happens; and the cap on what may be paid."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from turnout import ConfigError


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
    """Answers by request, in an SQLite file; a request that is in it is never sent again.

    Args:
        path: The file; made if it is missing.

    Raises:
        ConfigError: The file is no ledger.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS paid (key BLOB PRIMARY KEY, answer TEXT, dollars REAL NOT NULL) WITHOUT ROWID"
            )
            self._database.commit()
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise ConfigError(
                f"{path}: expected a ledger of earlier answers, found {error}; name another --out"
            ) from error

    def answer(self, key: bytes) -> str | None:
        """The answer to a request, if it was paid for."""
        row = self._database.execute("SELECT answer FROM paid WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def pay(self, key: bytes, answer: str | None, dollars: float) -> None:
        """Keeps an answer and its cost; without an answer, only the cost: a request that may have been billed for nothing."""
        with self._database:
            self._database.execute(
                "INSERT INTO paid VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET answer = excluded.answer, "
                "dollars = dollars + excluded.dollars",
                (key, answer, dollars),
            )

    def spent(self) -> float:
        """Dollars over all runs."""
        total = self._database.execute("SELECT COALESCE(SUM(dollars), 0) FROM paid").fetchone()[0]
        return float(total)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()


class Budget:
    """A cap in dollars on what is paid, requests under way included at their worst case.

    Args:
        cap: Dollars; ``None`` is no cap.
        spent: Dollars spent before.
    """

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap, self.spent, self._reserved = cap, spent, 0.0

    def reserve(self, dollars: float) -> bool:
        """Sets money aside for a request; false if that could break the cap."""
        if self.cap is not None and self.spent + self._reserved + dollars > self.cap:
            return False
        self._reserved += dollars
        return True

    def settle(self, reserved: float, paid: float) -> None:
        """A request that had this much set aside cost that much."""
        self._reserved -= reserved
        self.spent += paid
