"""The decision log: a receipt a line, or a row, written on a thread of its own."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from turnout.extras import require
from turnout.serve.recent import Receipt
from turnout.serve.settings import LogSettings

logger = logging.getLogger("turnout.serve")

#: Receipts that may wait to be written; beyond them they are dropped, counted and told in the server's log.
_WAITING = 10_000
#: Receipts of one write at most, and seconds after which a parquet part is written however small it is.
_ROWS, _PART_S = 5_000, 30.0


class _Writer(Protocol):
    def write(self, receipts: list[Receipt]) -> None: ...

    def close(self) -> None: ...


class DecisionLog:
    """Keeps receipts. :meth:`add` never waits for the disk.

    Args:
        settings: Of ``[log]``, with a path.
        dropped: Called with the number of receipts that could not be kept.

    Raises:
        ConfigError: parquet, and pyarrow is not installed.
        OSError: The file cannot be opened.
    """

    def __init__(self, settings: LogSettings, dropped: Callable[[int], None]) -> None:
        self._dropped = dropped
        self._queue: queue.Queue[Receipt | None] = queue.Queue(_WAITING)
        self._writer: _Writer = (_Parquet if settings.format == "parquet" else _Lines)(settings)
        self._thread = threading.Thread(target=self._run, name="turnout-decision-log", daemon=True)
        self._thread.start()

    def add(self, receipt: Receipt) -> None:
        """Hands a receipt to the writer."""
        try:
            self._queue.put_nowait(receipt)
        except queue.Full:
            self._dropped(1)

    def close(self) -> None:
        """Writes what waits, and ends."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            receipts: list[Receipt] = []
            found = self._queue.get()
            while found is not None and len(receipts) < _ROWS:
                receipts.append(found)
                try:
                    found = self._queue.get_nowait()
                except queue.Empty:
                    break
            ends = found is None
            self._attempt(lambda receipts=receipts: self._writer.write(receipts), len(receipts))  # type: ignore[misc]
            if ends:
                self._attempt(self._writer.close, 0)
                return

    def _attempt(self, act: Callable[[], None], receipts: int) -> None:
        try:
            act()
        except OSError as error:
            logger.error("the decision log lost %d receipts: %s", receipts, error)
            self._dropped(receipts)


class _Lines:
    """JSON lines; ``path`` becomes ``path.1`` when it would grow beyond ``max_bytes``, and so on up to ``path.<keep>``."""

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._path = Path(settings.path)
        self._file = self._path.open("ab")

    def write(self, receipts: list[Receipt]) -> None:
        for receipt in receipts:
            line = json.dumps(receipt, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
            if self._file.tell() and self._file.tell() + len(line) > self._settings.max_bytes:
                self._rotate()
            self._file.write(line)
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._settings.keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        self._file = self._path.open("ab")

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class _Parquet:
    """A folder of parquet files; the oldest go when all together grow beyond ``max_bytes * keep``."""

    def __init__(self, settings: LogSettings) -> None:
        require("eval", "pyarrow", purpose="[log] format parquet")
        import pyarrow.parquet

        self._parquet: Any = pyarrow.parquet
        self._table: Any = pyarrow.Table
        self._limit = settings.max_bytes * settings.keep
        self._folder = Path(settings.path)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._waiting: list[Receipt] = []
        self._began = time.monotonic()

    def write(self, receipts: list[Receipt]) -> None:
        self._waiting += receipts
        if len(self._waiting) >= _ROWS or time.monotonic() - self._began > _PART_S:
            self._part()

    def close(self) -> None:
        self._part()

    def _part(self) -> None:
        receipts, self._waiting, self._began = self._waiting, [], time.monotonic()
        if not receipts:
            return
        path = self._folder / f"decisions-{time.time_ns()}-{os.getpid()}.parquet"
        hidden = path.with_name(f".{path.name}")
        self._parquet.write_table(self._table.from_pylist(receipts), hidden)
        hidden.replace(path)
        parts = sorted(self._folder.glob("decisions-*.parquet"))
        sizes = [part.stat().st_size for part in parts]
        while len(parts) > 1 and sum(sizes) > self._limit:
            parts.pop(0).unlink()
            sizes.pop(0)
