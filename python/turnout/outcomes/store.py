"""The database of outcomes: one SQLite file, in which each receipt has at most one value of each kind.

A call returns after its transaction is on the disk (WAL, ``synchronous=FULL``); a call that a crash cuts off leaves nothing. Several
processes may record at once.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from turnout.durable_files import make_tables, transaction
from turnout.errors import InvalidInputError, InvalidTypeError, OutcomeConflictError, OutcomesError
from turnout.outcomes.outcome import Outcome, outcome_of

#: Outcomes that a database takes at most by default: about one gigabyte.
MOST = 10_000_000
#: Seconds that a writer waits for its turn.
WAIT_S = 10.0
#: Rows read at a time.
CHUNK = 10_000

_APPLICATION = 0x74726F63
_VERSION = 2
_TABLE = (
    "CREATE TABLE outcome (number INTEGER PRIMARY KEY, receipt_id TEXT NOT NULL, kind TEXT NOT NULL, value REAL NOT NULL, "
    "model TEXT NOT NULL, time REAL NOT NULL, source TEXT NOT NULL, propensity REAL, position INTEGER, "
    "UNIQUE (receipt_id, kind, model))"
)
_SPENT = "CREATE TABLE spent (day INTEGER PRIMARY KEY, amount REAL NOT NULL)"
_SCHEMA = [
    ("index", "sqlite_autoindex_outcome_1", None),
    ("table", "outcome", _TABLE),
    ("table", "spent", _SPENT),
]
_INSERT = (
    "INSERT INTO outcome (receipt_id, kind, value, model, propensity, position, time, source) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
_FOUND = "SELECT value FROM outcome WHERE receipt_id = ? AND kind = ? AND model = ?"
_SELECT = (
    "SELECT number, receipt_id, kind, value, model, time, source, propensity, position FROM outcome "
    "WHERE number > ? ORDER BY number LIMIT ?"
)


class Recorded(NamedTuple):
    """What a call recorded.

    Attributes:
        added: Outcomes that are new.
        known: Outcomes that were there before, with the same value: nothing is counted twice.

    Example:
        >>> Recorded(added=1, known=2).known
        2
    """

    added: int
    known: int


class Outcomes:
    """Outcomes on disk. Safe to share between threads; every process needs one of its own.

    Args:
        path: The database; made where it does not exist.
        most: Outcomes that it takes.

    Raises:
        OutcomesError: The file is not a database of outcomes, is damaged, or cannot be opened.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Outcomes(f"{folder}/outcomes.sqlite") as outcomes:
        ...     outcomes.record("4f1c", thumbs="up"), outcomes.record("4f1c", thumbs="up"), len(outcomes)
        (True, False, 1)
    """

    def __init__(self, path: str | os.PathLike[str], *, most: int = MOST) -> None:
        self.path = Path(path)
        self._most = most
        self._lock = threading.Lock()
        self._process = os.getpid()
        with self._failures():
            self._connection = _open(self.path)

    def record(
        self,
        receipt_id: str,
        *,
        score: float | None = None,
        preference: Literal["win", "tie", "loss"] | None = None,
        thumbs: Literal["up", "down"] | None = None,
        passed: bool | None = None,
        regenerated: Literal[True] | None = None,
        model: str | None = None,
        source: str = "",
    ) -> bool:
        """Records one outcome of a receipt; exactly one of the kinds.

        Args:
            receipt_id: The receipt. It need not be known: a report counts outcomes without a receipt.
            score: In ``[0, 1]``, larger is better.
            preference: Of this answer compared with another one.
            thumbs: Of a user.
            passed: Whether the answer passed a test.
            regenerated: True where the user asked for another answer.
            model: Whose answer it is about, where it is not the one that was delivered.
            source: Who says so.

        Returns:
            Whether it is new; False where the same outcome was recorded before.

        Raises:
            InvalidInputError: Not exactly one kind, or a value out of range.
            OutcomeConflictError: The receipt has another value of this kind. The first one stays.
            OutcomesError: The database is full, damaged, or was opened before a fork.
            OverloadedError: Other processes are writing, for longer than 10 s.
        """
        fields = {"receipt_id": receipt_id, "score": score, "preference": preference, "thumbs": thumbs}
        fields |= {"passed": passed, "regenerated": regenerated, "model": model}
        return self.record_many([fields], source=source).added == 1

    def record_many(self, outcomes: Iterable[Mapping[str, Any]], *, source: str = "") -> Recorded:
        """Records outcomes in one transaction: all of them, or none.

        Args:
            outcomes: Dictionaries with the arguments of :meth:`record`.
            source: Who says so.

        Returns:
            How many were new.

        Raises:
            InvalidInputError: As for :meth:`record`; ``row`` is that of the outcome.
            OutcomeConflictError: Likewise.
            OutcomesError: As for :meth:`record`.
            OverloadedError: Likewise.

        Example:
            >>> outcomes = Outcomes(":memory:")
            >>> outcomes.record_many([{"receipt_id": "a", "passed": True}, {"receipt_id": "b", "score": 0.5}])
            Recorded(added=2, known=0)
        """
        found = []
        for row, fields in enumerate(outcomes):
            if not isinstance(fields, Mapping):
                raise InvalidTypeError(f"outcome {row} is of type {type(fields).__name__}, expected an object")
            try:
                found.append(outcome_of(fields, row))
            except InvalidTypeError as error:
                raise InvalidTypeError(f"outcome {row}: {error}", argument=error.argument) from None
            except InvalidInputError as error:
                raise InvalidInputError(f"outcome {row}: {error}", argument=error.argument, row=row) from None
        return self._record(found, source)

    def record_verdict(
        self,
        receipt_id: str,
        model: str,
        preference: Literal["win", "tie", "loss"],
        *,
        propensity: float,
        position: Literal[1, 2],
        source: str = "",
    ) -> bool:
        """Records a judge's comparison of another model's answer with the one that was delivered.

        Args:
            receipt_id: The receipt.
            model: The other model.
            preference: Of its answer.
            propensity: The chance in ``(0, 1]`` with which the comparison was made, for estimates.
            position: Where the judge read its answer.
            source: The judge.

        Returns:
            Whether it is new.

        Raises:
            InvalidInputError: A value out of range.
            OutcomeConflictError: As for :meth:`record`.
            OutcomesError: Likewise.
            OverloadedError: Likewise.

        Example:
            >>> outcomes = Outcomes(":memory:")
            >>> outcomes.record_verdict("a", "large", "win", propensity=0.01, position=2, source="judge")
            True
            >>> next(outcomes.read()).propensity
            0.01
        """
        one = outcome_of({"receipt_id": receipt_id, "preference": preference, "model": model})
        if not 0 < propensity <= 1:  # not a number, too
            raise InvalidInputError(f"propensity is {propensity}, expected a number in (0, 1]", argument="propensity")
        if position not in (1, 2):
            raise InvalidInputError(f"position is {position}, expected 1 or 2", argument="position")
        return self._record([one._replace(propensity=propensity, position=position)], source).added == 1

    def read(self, after: int = 0) -> Iterator[Outcome]:
        """Outcomes in the order in which they were recorded.

        Args:
            after: How many of the first are left out.

        Yields:
            Outcomes.

        Raises:
            OutcomesError: The database is damaged, or was opened before a fork.
        """
        while True:
            self._check_process()
            with self._lock, self._failures():
                rows = self._connection.execute(_SELECT, (after, CHUNK)).fetchall()
            if not rows:
                return
            for number, *row in rows:
                yield Outcome(*row)
                after = number

    def __len__(self) -> int:
        """Number of outcomes."""
        self._check_process()
        with self._lock, self._failures():
            return self._count(self._connection)

    def __enter__(self) -> Outcomes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the database."""
        with self._lock:
            self._connection.close()

    def _record(self, found: Sequence[Outcome], source: str) -> Recorded:
        now = time.time()
        with self.writing() as connection:
            added = sum(self._insert(connection, row, one, now, source) for row, one in enumerate(found))
            if added and self._count(connection) > self._most:
                raise OutcomesError(
                    f"{self.path}: full, with {self._most:,} outcomes", path=self.path, limit=self._most
                )
        return Recorded(added, len(found) - added)

    def _insert(self, connection: sqlite3.Connection, row: int, one: Outcome, now: float, source: str) -> bool:
        values = (one.receipt_id, one.kind, one.value, one.model, one.propensity, one.position, now, source)
        if connection.execute(_INSERT, values).rowcount:
            return True
        (value,) = connection.execute(_FOUND, (one.receipt_id, one.kind, one.model)).fetchone()
        if value != one.value:
            raise OutcomeConflictError(
                f"outcome {row}: receipt {one.receipt_id!a} has {one.kind} {value:g} already, found {one.value:g}; "
                "the first one stays",
                receipt_id=one.receipt_id,
                row=row,
            )
        return False

    @staticmethod
    def _count(connection: sqlite3.Connection) -> int:
        # Rows are never deleted, so the last number is the count.
        return int(connection.execute("SELECT coalesce(max(number), 0) FROM outcome").fetchone()[0])

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, which ends with the context; for tables beside that of outcomes.

        Returns:
            A context of the connection.

        Raises:
            OutcomesError: As for :meth:`record`.
            OverloadedError: Likewise.
        """
        self._check_process()
        with self._lock, self._failures(), transaction(self._connection, _busy(self.path)):
            yield self._connection

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise OutcomesError(
                f"{self.path}: opened before a fork; open it again in this process ({os.getpid()})", path=self.path
            )

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise OutcomesError(f"{self.path}: {error}", path=self.path) from error


def _busy(path: Path) -> str:
    return f"{path}: other processes have been recording for {WAIT_S:.0f} s; try again"


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=WAIT_S, check_same_thread=False)
    try:
        for setting in ("trusted_schema=OFF", "cell_size_check=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {setting}")
        make_tables(connection, _APPLICATION, _VERSION, [_TABLE, _SPENT], _busy(path))
        _check_schema(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_schema(connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    schema = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name LIMIT 9").fetchall()
    if (application, version, schema) != (_APPLICATION, _VERSION, _SCHEMA):
        tables = [name for _, name, _ in schema]
        raise sqlite3.DatabaseError(
            f"not a database of outcomes (application {application:#x}, version {version}, tables {tables})"
        )
