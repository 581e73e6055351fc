"""The decision log: receipts, written on a thread of their own."""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turnout._core import ByteBudget
from turnout.serve.rare_log import RareLog
from turnout.serve.receipts.log_writers import LostError, writer_of
from turnout.serve.settings.tables import LogSettings

logger = logging.getLogger("turnout.serve")

#: Receipts that may wait to be written, and of one write; further ones are dropped, counted and reported in the server's log.
_WAITING, _AT_ONCE = 10_000, 1_000
#: Seconds between two checks of the clock while there is nothing to write.
_IDLE_S = 1.0

Receipt = dict[str, Any]


class DecisionLog:
    """Keeps receipts. Neither :meth:`add` nor :meth:`close` waits for a disk that hangs, and no failed write ends the log.

    Args:
        settings: Of ``[log]``, with a path.
        dropped: Called with the number of receipts that could not be kept.
        budget: Of the bytes of prompts that wait.
        group: Folder that the workers of a server share, all of which write this log; ``None`` for the only process.

    Raises:
        ConfigError: The path is in use by another server, or the format is parquet and pyarrow is not installed.
        OSError: The file cannot be opened.
    """

    def __init__(
        self, settings: LogSettings, dropped: Callable[[int], None], budget: ByteBudget, group: Path | None = None
    ) -> None:
        self._dropped = dropped
        self._budget = budget
        self._rare = RareLog(logger)
        self._queue: queue.Queue[tuple[Receipt, int] | None] = queue.Queue(_WAITING)
        self._ends = threading.Event()
        self._writer = writer_of(settings, group)
        self._thread = threading.Thread(target=self._run, name="turnout-decision-log", daemon=True)
        self._thread.start()

    def add(self, receipt: Receipt) -> None:
        """Hands a receipt to the writer."""
        size = sys.getsizeof(receipt["prompt"]) if "prompt" in receipt else 0
        if self._ends.is_set():
            self._lost(1, "the log is closed")
            return
        if not self._budget.take(size):
            self._lost(1, "the limit of max_bodies_bytes for waiting prompts is reached")
            return
        try:
            self._queue.put_nowait((receipt, size))
        except queue.Full:
            self._budget.give_back(size)
            self._lost(1, f"{_WAITING:,} receipts wait already")

    def close(self, timeout_s: float = 5.0) -> None:
        """Writes what waits, and ends.

        Args:
            timeout_s: Seconds after which receipts that could not be written are lost.
        """
        self._ends.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)  # Ends a wait.
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._lost(self._queue.qsize(), f"not written within {timeout_s:g} s at shutdown")
        self._rare.flush(is_end=True)

    def _run(self) -> None:
        while True:
            taken = self._take()
            if taken:
                self._attempt(functools.partial(self._writer.write, [receipt for receipt, _ in taken]), len(taken))
                self._budget.give_back(sum(size for _, size in taken))
            elif self._ends.is_set():
                self._attempt(self._writer.close, 0)
                return
            else:
                self._attempt(self._writer.idle, 0)
                self._rare.flush()

    def _take(self) -> list[tuple[Receipt, int]]:
        """What waits, up to a limit; empty after a second without receipts, or where the log ends and nothing waits."""
        taken: list[tuple[Receipt, int]] = []
        with contextlib.suppress(queue.Empty):
            while len(taken) < _AT_ONCE:
                waits = not taken and not self._ends.is_set()
                if (found := self._queue.get(waits, _IDLE_S)) is not None:
                    taken.append(found)
        return taken

    def _attempt(self, act: Callable[[], None], receipts: int) -> None:
        try:
            act()
        except LostError as error:
            self._lost(error.lost, str(error))
        except Exception as error:  # Whatever it is, the next receipts are tried again.
            logger.exception("unexpected error in the decision log")
            self._lost(receipts, type(error).__name__)

    def _lost(self, receipts: int, reason: str) -> None:
        if receipts:
            self._dropped(receipts)
            self._rare.add("the decision log lost %d receipts: %s", reason, receipts)
