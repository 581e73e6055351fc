"""Work that would hold an event loop: on a worker thread, and never more of it than a bound."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from turnout._core import OverloadedError

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

T = TypeVar("T")

#: Characters up to which a prompt is handled on the event loop where one of them takes microseconds. Longer ones may take more than
#: about 100 us for their tokens or their hash alone.
INLINE_CHARACTERS = 4096
#: Worker threads at most; each starts when it is first needed.
_WORKERS = min(32, (os.cpu_count() or 1) + 4)


class BoundedThreads:
    """Worker threads of its own for asyncio, with a bound on the prompts that wait for them or run.

    Args:
        limit: Prompts that may wait or run; a call that comes when there are that many is refused.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._prompts = 0
        self._lock = threading.Lock()
        self._executor: Executor | None = None
        self._owner = 0

    async def run(self, work: Callable[[], T], prompts: int = 1) -> T:
        """Runs ``work`` on a worker thread. Where the task is cancelled while it runs, it counts until it ends.

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
        import contextvars

        with self._lock:
            if self._prompts >= self.limit:
                raise OverloadedError(
                    f"{self._prompts} prompts are waiting: try again later, or open the router with a larger max_queue "
                    f"({self.limit})",
                    limit=self.limit,
                )
            self._prompts += prompts

        def ended(_: Future[T] | None) -> None:
            with self._lock:
                self._prompts -= prompts

        try:
            future = self._threads().submit(contextvars.copy_context().run, work)
        except BaseException:
            ended(None)
            raise
        future.add_done_callback(ended)
        return await asyncio.wrap_future(future)

    def _threads(self) -> Executor:
        """The worker threads; new ones in a process that was forked, which has none of its parent's."""
        from concurrent.futures import ThreadPoolExecutor

        with self._lock:
            if self._executor is None or self._owner != os.getpid():
                self._executor, self._owner = ThreadPoolExecutor(_WORKERS, "turnout"), os.getpid()
            return self._executor
