"""The gRPC service, whose messages :class:`turnout._core.ExtProcServer` reads and writes in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from turnout._core import ExtProcRequest, ExtProcServer
from turnout.ext_proc.decider import DIALECTS, Decider
from turnout.serve.http.listener import listening
from turnout.serve.settings.tables import Settings
from turnout.serve.state import State

logger = logging.getLogger("turnout.ext_proc")

#: Seconds beyond the deadline of a decision after which the server no longer waits for the event loop.
_PATIENCE_S = 10.0


class Service:
    """The server that gateways call. For one event loop.

    An exchange that fails is closed without an error status: the gateway then sends the request on as it came.

    Args:
        state: The state of a server, whose upstreams are not called.
        shares_port: Whether other processes listen on its port, too.
        on_failure: Called when the server ends without being stopped.
    """

    def __init__(
        self, state: State, *, shares_port: bool = False, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        self._state = state
        self._decider = Decider(state)
        self._shares_port = shares_port
        self._on_failure = on_failure
        self._is_stopping = False
        self._server: ExtProcServer | None = None
        self._ended = asyncio.Event()
        #: Decisions that wait for something.
        self._deciding: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listens.

        Args:
            host: The address.
            port: The port; 0 for a free one.

        Returns:
            The port.

        Raises:
            OSError: The address is taken or is not one of this machine.
        """
        settings = self._state.snapshot.settings
        own = settings.ext_proc
        with listening(host, port, reuse_port=self._shares_port) as socket:
            self._server = ExtProcServer(
                socket.fileno(),
                self._state.bodies,
                paths=[dialect.path for dialect in DIALECTS],
                model_header=own.model_header,
                rewrites_body=own.rewrite_body,
                max_exchanges=own.max_exchanges,
                # A body that is too long to be judged still goes on.
                max_message_bytes=settings.server.max_bodies_bytes,
                max_body_bytes=settings.server.max_body_bytes,
                body_timeout_s=own.body_timeout_s,
                patience_s=own.deadline_ms / 1e3 + _PATIENCE_S,
            )
            found: int = socket.getsockname()[1]
        self._state.on_reload.append(self._reloaded)
        asyncio.get_running_loop().add_reader(self._server.fileno(), self.take)
        return found

    async def stop(self, grace_s: float) -> None:
        """Stops: no new exchanges. Those that only wait for the HTTP answer end at once, the others may decide.

        Args:
            grace_s: Seconds until they are ended; a second call can only shorten them.
        """
        self._is_stopping = True
        if self._server is None:
            return
        self._server.stop(grace_s)
        await self._ended.wait()
        for task in tuple(self._deciding):
            task.cancel()
        await asyncio.gather(*self._deciding, return_exceptions=True)

    def take(self) -> None:
        """Counts and begins to decide what has come. The event loop calls it when there is something."""
        if self._server is None:
            return
        requests, unchanged = self._server.take()
        for reason, count in unchanged:
            self._decider.unchanged(reason, count)
        loop = asyncio.get_running_loop()
        for request in requests:
            self._deciding.add(loop.create_task(self._decide(request)))
        if self._server.has_ended and not self._ended.is_set():
            loop.remove_reader(self._server.fileno())
            self._ended.set()
            if not self._is_stopping:
                logger.error("the server for gateways has ended by itself")
                self._on_failure()

    async def _decide(self, request: ExtProcRequest) -> None:
        try:
            await self._decider.decide(request)
        finally:
            request.close()
            # Not in a callback of the task, which would be another turn of the loop.
            if task := asyncio.current_task():
                self._deciding.discard(task)

    def _reloaded(self, settings: Settings) -> None:
        if self._server is not None:
            self._server.set_max_body_bytes(settings.server.max_body_bytes)
