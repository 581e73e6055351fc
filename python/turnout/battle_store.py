"""Battles that were added to an artifact since it was built: ``battles.sqlite`` in the artifact folder.

One row a battle, one transaction a call. A call returns after its transaction is on the disk (WAL, ``synchronous=FULL``); one that a
crash cuts off leaves nothing. SQLite keeps no checksums of its tables, so every row has one, and rows are numbered without gaps: a
changed, lost or foreign row is an error, never another battle. Several processes may add at once, one after the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import stat
import struct
import threading
import warnings
import weakref
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from turnout._core import ArtifactError, InferenceError
from turnout.durable_files import make_tables, transaction

#: Name of the database in the artifact folder.
NAME = "battles.sqlite"
#: Name of the log that earlier versions kept.
OLD_NAME = "battles.log"
#: Database and write-ahead log, each.
MAX_BYTES = 4 << 30
#: Seconds that a writer waits for its turn.
WAIT_S = 10.0
#: Rows read at a time.
CHUNK = 10_000

_APPLICATION = 0x7475726E
_VERSION = 1
_TABLE = (
    "CREATE TABLE battle (number INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, outcome INTEGER NOT NULL, "
    "model_a TEXT NOT NULL, model_b TEXT NOT NULL, prompt TEXT NOT NULL, embedding BLOB NOT NULL, checksum INTEGER NOT NULL)"
)
_SCHEMA = [("index", "sqlite_autoindex_battle_1", None), ("table", "battle", _TABLE)]
_KINDS = {stat.S_IFLNK: "a link", stat.S_IFIFO: "a named pipe", stat.S_IFDIR: "a folder", stat.S_IFSOCK: "a socket"}
_INSERT = "INSERT INTO battle VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT * FROM battle WHERE number > ? ORDER BY number LIMIT ?"


class Battle(NamedTuple):
    """A stored battle.

    Attributes:
        id: 64 bits.
        outcome: 0 where model a won, 1 where model b did, 2 for a tie.
        model_a: Name.
        model_b: Name.
        prompt: Text.
        embedding: float32 numbers of the caller's embedding, as bytes; empty where the router makes it from the prompt.
    """

    id: int
    outcome: int
    model_a: str
    model_b: str
    prompt: str
    embedding: bytes


class BattleStore:
    """The added battles of one artifact.

    Args:
        folder: The artifact.
        dim: Length of an embedding.
        models: Names of the models that its battles may be of.
    """

    def __init__(self, folder: Path, dim: int, models: frozenset[str] = frozenset()) -> None:
        self.path = folder / NAME
        self.models = models
        self._files = [(suffix, str(self.path) + suffix) for suffix in ("", "-wal", "-shm", "-journal")]
        self._old_log = str(self.path.with_name(OLD_NAME))
        self._manifest = str(self.path.with_name("router.json"))
        #: Identity of the manifest that was hashed last, and its hash.
        self._hashed: tuple[tuple[int, ...], str] = ((), "")
        #: Rows that the router of this store counts.
        self.seen = 0
        self._embedding_bytes = (0, 4 * dim)
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        _STORES.add(self)

    def __del__(self) -> None:
        # SQLite puts the write-ahead log into the database when its last connection is closed.
        connection: sqlite3.Connection | None = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()

    def is_of(self, artifact_hash: str) -> bool:
        """Whether the folder still holds the artifact of this hash. The manifest is read again where the file is another or was written."""
        found = os.stat(self._manifest)
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if self._hashed[0] != identity:
            self._hashed = (identity, hashlib.sha256(Path(self._manifest).read_bytes()).hexdigest())
        return self._hashed[1] == artifact_hash

    def read(self) -> Iterator[list[Battle]]:
        """Battles that were not seen before, in parts. Files are checked before SQLite opens them.

        Raises:
            ArtifactError: The database is damaged, foreign, too large, not a regular file, or of an earlier version.
        """
        self._refuse_old_log()
        if not self._check_files():
            return
        with self._failures(), contextlib.closing(self._open(self._read_mode())) as connection:
            self._check_schema(connection)
            self._tell_unfinished(connection)
            yield from self._rows(connection)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Keeps everybody else from adding battles; what was inserted is on the disk at the end.

        Raises:
            OverloadedError: Another process is adding battles or compacting, for longer than :data:`WAIT_S`.
            InferenceError: The store was opened before a fork.
            ArtifactError: As for :meth:`read`, or the disk is full.
        """
        if os.getpid() != self._process:
            raise InferenceError(
                "this router was loaded before a fork, and its database of battles cannot be shared with the child; load it again "
                f"in this process ({os.getpid()}) to add battles"
            )
        with self._lock, self._failures():
            self._refuse_old_log()
            self._check_files()
            if self._connection is None:
                self._connection = self._create()
            with transaction(self._connection, _busy(self.path)):
                yield Writer(self, self._connection)

    def confirm(self, number: int) -> None:
        """The router counts all rows up to this one. Until then they are read again: by a writer that follows one that was interrupted."""
        with self._lock:
            self.seen = max(self.seen, number)

    def _rows(self, connection: sqlite3.Connection) -> Iterator[list[Battle]]:
        while rows := connection.execute(_SELECT, (self.seen, CHUNK)).fetchall():
            battles = []
            for number, (found, *row, checksum) in enumerate(rows, start=self.seen + 1):
                if found != number or not self._is_whole(row) or _checksum(row) != checksum:
                    raise sqlite3.DatabaseError(f"row {number} is missing or was changed")
                battles.append(Battle(row[0] % 2**64, *row[1:]))
            yield battles
            self.seen += len(battles)

    def _is_whole(self, row: Sequence[Any]) -> bool:
        types = (int, int, str, str, str, bytes)
        return all(map(isinstance, row, types)) and len(row[5]) in self._embedding_bytes

    def _open(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{mode}",
            uri=True,
            isolation_level=None,
            timeout=WAIT_S,
            check_same_thread=False,
        )
        for setting in ("trusted_schema=OFF", "cell_size_check=ON", "synchronous=FULL"):
            connection.execute(f"PRAGMA {setting}")
        return connection

    def _create(self) -> sqlite3.Connection:
        connection = self._open("mode=rwc")
        try:
            make_tables(connection, _APPLICATION, _VERSION, [_TABLE], _busy(self.path))
            self._check_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        schema = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type LIMIT 9").fetchall()
        # A crash right after the file was made leaves it empty.
        if (application, version, schema) not in ((_APPLICATION, _VERSION, _SCHEMA), (0, 0, [])):
            raise ArtifactError.at(
                self.path,
                f"schema: not the battles of a router (application {application:#x}, version {version}, "
                f"{[name for _, name, _ in schema]}); move it out of the artifact folder",
            )
        if not schema:
            connection.execute(
                "CREATE TEMP TABLE battle (number, id, outcome, model_a, model_b, prompt, embedding, checksum)"
            )

    def _check_files(self) -> bool:
        """Whether there is a database; raises where it or a file of it is not what an artifact may hold."""
        there = []
        for suffix, path in self._files:
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue
            there.append(suffix)
            if not stat.S_ISREG(found.st_mode):
                kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a device")
                raise ArtifactError.at(path, f"{kind}, expected a regular file", "file")
            if found.st_nlink > 1:
                raise ArtifactError.at(path, f"has {found.st_nlink} names (hard links), expected one", "file")
            if found.st_size > MAX_BYTES:
                raise ArtifactError.at(path, f"{found.st_size} bytes, expected at most {MAX_BYTES}", "size")
        if there and "" not in there:
            raise ArtifactError.at(
                self.path, f"missing, but its {', '.join(there)} exists: restore the file, or remove both", "file"
            )
        return bool(there)

    def _refuse_old_log(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(self._old_log)
            if not stat.S_ISREG(found.st_mode) or found.st_size:
                raise ArtifactError.at(
                    self._old_log,
                    "battles in the format of an earlier version: compact them with that version (`turnout battles "
                    "compact`), or remove the file and add the battles again",
                    "file",
                )

    def _read_mode(self) -> str:
        if os.access(self.path.parent, os.W_OK) and os.access(self.path, os.W_OK):
            return "mode=rw"
        wal = self.path.with_name(f"{NAME}-wal")
        return "mode=ro" if wal.exists() and wal.stat().st_size else "mode=ro&immutable=1"

    def _tell_unfinished(self, connection: sqlite3.Connection) -> None:
        """Warns of an incomplete transaction at the end of the write-ahead log, which SQLite drops silently.

        A crash during a call leaves it, whose battles were not acknowledged; damage of the file may leave it, too.
        """
        wal = self.path.with_name(f"{NAME}-wal")
        if not wal.exists() or not os.access(self.path.parent, os.W_OK):
            return
        connection.execute("PRAGMA busy_timeout=0")
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return  # Another process is writing and has read it.
        try:
            # SQLite says how many frames are whole. Reading its shared memory from the file would release this process's locks on it: that
            # is what closing a file does to POSIX locks.
            with contextlib.closing(self._open("mode=rw")) as beside:
                _, finished, _ = beside.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if _frames(wal) > max(finished, 0):
                copy = self._keep_copy()
                warnings.warn(
                    f"{wal}: ends in an incomplete or damaged transaction; its battles are ignored; copy: {copy}",
                    RuntimeWarning,
                    stacklevel=2,
                )
        finally:
            connection.execute("ROLLBACK")
            connection.execute(f"PRAGMA busy_timeout={int(WAIT_S * 1000)}")

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Turns errors of SQLite into errors that name the file, and keeps a copy of a damaged one."""
        try:
            yield
        except (sqlite3.OperationalError, OSError) as error:
            raise ArtifactError.at(self.path, f"{error}", "file") from error
        except sqlite3.DatabaseError as error:
            raise ArtifactError.at(
                self.path,
                f"damaged: {error}; copy: {self._keep_copy()}; restore the file, or remove it together with the "
                "battles added since the last compaction",
                "file",
            ) from error

    def _keep_copy(self) -> str:
        """Copies the database and its log, once for the same content; returns the names, or the reason of a failure."""
        try:
            digest = hashlib.sha256()
            with self.path.open("rb") as stream:
                if stream.read(15) not in (b"SQLite format 3", b""):
                    return "none (not a database)"
            files = [path for suffix in ("", "-wal") if (path := self.path.with_name(NAME + suffix)).exists()]
            for path in files:
                with path.open("rb") as stream:
                    while part := stream.read(1 << 20):
                        digest.update(part)
            copies = [path.with_name(f"damaged-{digest.hexdigest()[:12]}-{path.name}") for path in files]
            for path, copy in zip(files, copies, strict=True):
                if not copy.exists():
                    shutil.copyfile(path, copy)
        except OSError as error:
            return f"none ({error})"
        return ", ".join(copy.name for copy in copies)


def _busy(path: Path) -> str:
    return f"{path}: another process has been adding battles or compacting for {WAIT_S:.0f} s; try again"


class Writer:
    """One transaction; made by :meth:`BattleStore.writing`."""

    def __init__(self, store: BattleStore, connection: sqlite3.Connection) -> None:
        self._store, self._connection = store, connection
        #: Number of the last row, once :meth:`others` are read.
        self.last = store.seen

    def others(self) -> Iterator[list[Battle]]:
        """Battles that the router does not count yet, in parts."""
        yield from self._store._rows(self._connection)
        self.last = self._store.seen

    def insert(self, battles: Sequence[Battle]) -> None:
        """Adds battles whose ids are new, after :meth:`others` were read; :meth:`BattleStore.confirm` takes :attr:`last` afterwards."""
        rows = ([one.id - 2**64 if one.id >= 2**63 else one.id, *one[1:]] for one in battles)
        numbered = ((number, *row, _checksum(row)) for number, row in enumerate(rows, self.last + 1))
        self._connection.executemany(_INSERT, numbered)
        self.last += len(battles)

    def clear(self) -> None:
        """Removes all battles: a compaction has put them into the artifact's own files."""
        self._connection.execute("DELETE FROM battle")
        self._store.seen = 0


def _checksum(row: Sequence[Any]) -> int:
    number, outcome, *texts, embedding = row
    parts = [struct.pack("<qq", number, outcome), *(text.encode("utf-8", "surrogatepass") for text in texts), embedding]
    return zlib.crc32(b"".join(struct.pack("<q", len(part)) + part for part in parts))


def _frames(wal: Path) -> int:
    """Frames at the start of a write-ahead log that belong to its present use."""
    with wal.open("rb") as stream:
        header = stream.read(32)
        page = int.from_bytes(header[8:12], "big")
        if len(header) < 32 or not 512 <= page <= 65_536:
            return 0
        frames = 0
        while len(frame := stream.read(24)) == 24 and frame[8:16] == header[16:24]:
            frames += 1
            stream.seek(page, os.SEEK_CUR)
        return frames


#: Stores whose connections a fork must leave alone.
_STORES: weakref.WeakSet[BattleStore] = weakref.WeakSet()


def _leave_alone() -> None:
    """In a child: closing a connection of the parent's could end the parent's locks, so it is never closed."""
    import ctypes

    for store in _STORES:
        if store._connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(store._connection))
            store._connection = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_alone)
