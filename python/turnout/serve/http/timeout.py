"""Time-outs of the waits of a stream, with one timer for all of them."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType


class Timeout:
    """Ends waits that follow one another in one task, each at a time of its own.

    ``asyncio.timeout_at`` starts and cancels a timer for each wait, several microseconds for each chunk of a stream. Here a timer keeps
    running after its wait has ended, and when it fires, it starts again for the wait that is under way then. Call :meth:`close` at the end.

    Example:
        >>> async def read_twice(stream):
        ...     timeout, loop = Timeout(), asyncio.get_running_loop()
        ...     try:
        ...         for _ in range(2):
        ...             with timeout.at(loop.time() + 0.01):
        ...                 print(await stream.get())
        ...     except TimeoutError:
        ...         print("nothing came")
        ...     finally:
        ...         timeout.close()
        >>> async def main():
        ...     stream = asyncio.Queue()
        ...     stream.put_nowait("a chunk")
        ...     await read_twice(stream)
        >>> asyncio.run(main())
        a chunk
        nothing came
    """

    __slots__ = ("_cancelling", "_is_over", "_loop", "_task", "_timer", "_until")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._until = math.inf
        self._cancelling = 0
        self._is_over = False

    def at(self, until: float) -> Timeout:
        """A context in which the task waits until a loop time at most, and then raises ``TimeoutError``."""
        self._until = until
        if self._timer is None or self._timer.when() > until:
            self._start(until)
        return self

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        # Before 3.11 tasks do not count who cancels them.
        self._cancelling = task.cancelling() if task is not None and hasattr(task, "cancelling") else 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._until = math.inf
        if not self._is_over:
            return
        self._is_over = False
        # Another cancellation at the same time, as of a client that has gone, stays one.
        task = self._task
        left = task.uncancel() if task is not None and hasattr(task, "uncancel") else 0
        if left <= self._cancelling and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from None

    def _start(self, at: float) -> None:
        self.close()
        self._timer = self._loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._until == math.inf or self._task is None:
            return
        if self._loop.time() < self._until:
            self._start(self._until)
        else:
            self._is_over = True
            self._task.cancel()
