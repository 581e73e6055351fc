"""Log lines for events that may come by the thousand."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable


class RareLog:
    """Writes one line per kind of event in a while, with the number of events since the line before. For several threads.

    Args:
        logger: Where the lines go.
        every_s: Seconds between two lines of one kind.
        clock: Seconds that never run backwards, for tests.

    Example:
        >>> log = RareLog(logging.getLogger("doc"), every_s=60.0)
        >>> for _ in range(3):
        ...     log.add("closed %d connections: %s", "no room")  # one line: closed 1 connections: no room
    """

    def __init__(
        self, logger: logging.Logger, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        #: Number of events and detail of the last one.
        self._waiting: dict[str, tuple[int, str]] = {}
        self._written_at: dict[str, float] = {}

    def add(self, text: str, detail: str, count: int = 1) -> None:
        """Counts events.

        Args:
            text: The kind: a line with ``%d`` for the number of events and ``%s`` for the detail of the last one.
            detail: What happened.
            count: How many of them.
        """
        with self._lock:
            self._waiting[text] = (self._waiting.get(text, (0, ""))[0] + count, detail)
        self.flush()

    def flush(self, *, is_end: bool = False) -> None:
        """Writes what is due; everything at the end."""
        with self._lock:
            now = self._clock()
            due = [
                text for text in self._waiting if is_end or now - self._written_at.get(text, -math.inf) >= self._every_s
            ]
            lines = [(text, *self._waiting.pop(text)) for text in due]
            self._written_at.update(dict.fromkeys(due, now))
        for line in lines:
            self._logger.warning(*line)
