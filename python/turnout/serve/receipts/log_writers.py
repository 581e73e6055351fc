"""Files of the decision log: JSON lines that rotate, or a folder of parquet parts."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from turnout.extras import require
from turnout.outcomes.receipts import cell_of
from turnout.serve.rare_log import RareLog
from turnout.serve.receipts.log_locks import Turns, lock_of
from turnout.serve.settings.tables import LogSettings

logger = logging.getLogger("turnout.serve")

#: Rows of a parquet part at most, and seconds after which it is written however small it is.
_ROWS, _PART_S = 5_000, 30.0
#: Bytes of prompts from which a part is written: those of rows that wait here are not in the budget of bodies.
_PROMPT_BYTES = 4 << 20
#: Seconds between two attempts to rotate, where one failed.
_ROTATE_AGAIN_S = 60.0

Row = Mapping[str, Any]


class LostError(OSError):
    """Receipts that could not be written.

    Args:
        lost: How many.
        cause: Why.
    """

    def __init__(self, lost: int, cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.lost = lost


class Writer(Protocol):
    """Where receipts go. Its methods raise :class:`LostError`."""

    def write(self, receipts: Sequence[Row]) -> None:
        """Takes receipts."""

    def idle(self) -> None:
        """Called about once a second while there are none."""

    def close(self) -> None:
        """Writes what it holds, and ends."""


def writer_of(settings: LogSettings, group: Path | None = None) -> Writer:
    """Opens the log.

    Args:
        settings: Of ``[log]``, with a path.
        group: Folder that the workers of a server share, whose supervisor holds :func:`lock_of` for them; ``None`` for the only process.

    Raises:
        ConfigError: Another process has it open, or pyarrow is missing for parquet.
        OSError: The file or folder cannot be written.
    """
    try:
        return Parts(settings, group) if settings.format == "parquet" else Lines(settings, group)
    except OSError as error:
        raise OSError(f"[log] path {settings.path!r} cannot be written: {error.strerror or error}") from error


class Lines:
    """JSON lines; ``path`` becomes ``path.1`` when it would grow beyond ``max_bytes``, and so on up to ``path.<keep>``.

    A rotation that fails is tried again after a minute; until then the file grows beyond ``max_bytes`` and nothing is lost.

    Args:
        settings: Of ``[log]``.
        group: As for :func:`writer_of`.
    """

    def __init__(self, settings: LogSettings, group: Path | None = None) -> None:
        self._settings = settings
        self._turns = Turns(group)
        self._path = Path(settings.path)
        self._was_there = self._path.exists() or group is not None
        self._file = self._path.open("ab", buffering=0)
        self._is_regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        self._lock = lock_of(settings) if group is None else None
        self._size = os.fstat(self._file.fileno()).st_size
        self._rotate_at = 0.0
        self._rare = RareLog(logger)

    def write(self, receipts: Sequence[Row]) -> None:
        """Appends a line each, with as few calls as rotation allows."""
        with self._turns.turn() as is_shared:
            self._follow()
            if is_shared and self._is_regular:
                self._size = os.fstat(self._file.fileno()).st_size
                self._end_line()
            self._write(receipts)

    def _write(self, receipts: Sequence[Row]) -> None:
        lines: list[bytes] = []
        size = 0
        for index, receipt in enumerate(receipts):
            line = _line(receipt)
            is_full = self._size + size + len(line) > self._settings.max_bytes
            if is_full and self._size + size > 0 and self._is_regular and time.monotonic() >= self._rotate_at:
                self._append(lines, len(receipts) - index)
                lines, size = [], 0
                self._rotate()
            lines.append(line)
            size += len(line)
        self._append(lines, 0)

    def idle(self) -> None:
        """Writes are not delayed."""
        self._rare.flush()

    def close(self) -> None:
        """Closes the file, and removes it where it is empty and was not there before."""
        self._file.close()
        if self._is_regular and self._size == 0 and not self._was_there:
            self._path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.release()

    def _append(self, lines: list[bytes], later: int) -> None:
        """Appends whole lines or none of them; ``later`` lines are lost with them."""
        content = memoryview(b"".join(lines))
        try:
            written = 0
            while written < len(content):
                written += self._file.write(content[written:]) or 0
        except OSError as error:
            if self._is_regular:
                # A part of a line would spoil the next one.
                os.ftruncate(self._file.fileno(), self._size)
            raise LostError(len(lines) + later, error) from error
        self._size += len(content)

    def _end_line(self) -> None:
        """Ends a line that a killed worker began, so that it spoils no other one."""
        if self._size:
            with self._path.open("rb") as content:
                content.seek(self._size - 1)
                if content.read(1) != b"\n":
                    self._append([b"\n"], 0)

    def _follow(self) -> None:
        """Opens the path again where someone moved or removed the file: what is written to that one, no reader of the path sees."""
        with contextlib.suppress(FileNotFoundError):
            if not self._is_regular or os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno())):
                return
        with contextlib.suppress(OSError):  # Written on to the old one then.
            fresh = self._path.open("ab", buffering=0)
            self._file.close()
            self._file, self._size = fresh, os.fstat(fresh.fileno()).st_size

    def _rotate(self) -> None:
        """Moves the file away and begins a new one; where that fails, the old one is written on."""
        try:
            # Only as far as the first free number, so that attempts in a row push nothing out.
            numbers = range(1, self._settings.keep)
            last = next((number for number in numbers if not self._numbered(number).exists()), self._settings.keep)
            for number in range(last - 1, 0, -1):
                self._numbered(number).replace(self._numbered(number + 1))
            self._path.replace(self._numbered(1))
            fresh = self._path.open("ab", buffering=0)
        except OSError as error:
            self._rotate_at = time.monotonic() + _ROTATE_AGAIN_S
            self._rare.add("the decision log failed to rotate %d times and grows beyond max_bytes: %s", str(error))
            return
        self._file.close()
        self._file, self._size = fresh, 0

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class Parts:
    """A folder of parquet files; the oldest go when all together grow beyond ``max_bytes * keep``.

    Args:
        settings: Of ``[log]``.
        group: As for :func:`writer_of`.
    """

    def __init__(self, settings: LogSettings, group: Path | None = None) -> None:
        require("eval", "pyarrow", purpose="[log] format parquet")
        import pyarrow.parquet

        self._parquet: Any = pyarrow.parquet
        self._table: Any = pyarrow.Table
        # pyarrow imports pandas at the first conversion, which takes seconds where the end of the log has few.
        self._table.from_pylist([{"time": 0.0}])
        self._limit = settings.max_bytes * settings.keep
        self._folder = Path(settings.path)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock_of(settings) if group is None else None
        self._waiting: list[Row] = []
        self._prompt_bytes = 0
        self._began = time.monotonic()

    def write(self, receipts: Sequence[Row]) -> None:
        """Keeps rows until there are enough for a part."""
        if not self._waiting:
            self._began = time.monotonic()
        self._waiting += receipts
        self._prompt_bytes += sum(sys.getsizeof(receipt.get("prompt", "")) for receipt in receipts)
        if len(self._waiting) >= _ROWS or self._prompt_bytes > _PROMPT_BYTES:
            self._part()
        self.idle()

    def idle(self) -> None:
        """Writes a part that has waited long enough."""
        if self._waiting and time.monotonic() - self._began > _PART_S:
            self._part()

    def close(self) -> None:
        """Writes the last part."""
        try:
            self._part()
        finally:
            if self._lock is not None:
                self._lock.release()

    def _part(self) -> None:
        receipts, self._waiting, self._prompt_bytes = self._waiting, [], 0
        if not receipts:
            return
        path = self._folder / f"decisions-{time.time_ns()}-{os.getpid()}.parquet"
        hidden = path.with_name(f".{path.name}")
        try:
            self._parquet.write_table(self._table.from_pylist(_columns(receipts)), hidden)
            hidden.replace(path)
        except Exception as error:  # pyarrow has its own exceptions.
            hidden.unlink(missing_ok=True)
            raise LostError(len(receipts), error) from error
        self._forget_old_parts()

    def _forget_old_parts(self) -> None:
        parts, sizes = [], []
        for part in sorted(self._folder.glob("decisions-*.parquet")):
            with contextlib.suppress(FileNotFoundError):  # Another worker may have removed it.
                sizes.append(part.stat().st_size)
                parts.append(part)
        while len(parts) > 1 and sum(sizes) > self._limit:
            parts.pop(0).unlink(missing_ok=True)
            sizes.pop(0)


def _columns(receipts: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows that all have the columns of all: pyarrow takes those of the first one."""
    names = dict.fromkeys(name for receipt in receipts for name in receipt)
    return [{name: cell_of(receipt.get(name)) for name in names} for receipt in receipts]


def _line(receipt: Row) -> bytes:
    return json.dumps(receipt, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
