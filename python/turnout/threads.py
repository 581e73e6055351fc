"""Work that would hold an event loop: on a worker thread, and never more of it than a bound."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from turnout._core import OverloadedError

T = TypeVar("T")

#: Characters up to which a prompt is handled on the event loop where one of them takes microseconds. Longer ones may take more than
#: about 100 us for their tokens or their hash alone.
INLINE_CHARACTERS = 4096


class BoundedThreads:
    """Worker threads of asyncio with a bound on the prompts that wait for them.

    Args:
        limit: Prompts that may wait or run; a call that comes when there are that many is refused.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._prompts = 0
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], T], prompts: int = 1) -> T:
        """Runs ``work`` on a worker thread.

        Args:
            work: A function without arguments.
            prompts: How many prompts it handles. A call with many is let in whole when there is room for one.

        Returns:
            What ``work`` returns.

        Raises:
            OverloadedError: As many prompts as the bound wait or run.
        """
        # Imported here: it takes longer than everything else in this package together.
        import asyncio

        with self._lock:
            if self._prompts >= self.limit:
                raise OverloadedError(
                    f"{self._prompts} prompts wait already: try again later, or open the router with a larger max_queue"
                )
            self._prompts += prompts
        try:
            return await asyncio.to_thread(work)
        finally:
            with self._lock:
                self._prompts -= prompts
