"""One process that serves: two listeners in one event loop, signals, graceful shutdown."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection

from turnout._core import RouterError
from turnout.serve.app import admin_app, client_app
from turnout.serve.http.connection import Limits
from turnout.serve.http.listener import connections_within_descriptors, listener
from turnout.serve.settings.tables import Settings
from turnout.serve.state import State

logger = logging.getLogger("turnout.serve")

#: Connections of the admin listener.
ADMIN_CONNECTIONS = 32
#: Messages of a worker to its supervisor. A third one is the settings of a reload, after they were opened.
READY, RELOAD_OTHERS = "ready", "reload others"
#: Seconds between two updates of a worker's gauges.
_PUBLISH_S = 1.0


async def serve(state: State, sockets: Sequence[socket.socket], supervisor: Connection | None = None) -> int:
    """Serves a state until a signal ends it.

    Args:
        state: The server's state.
        sockets: For clients and, if there is one, for administrators.
        supervisor: Of a worker; the server ends when the other side is closed.
    """
    server = state.snapshot.settings.server
    limits = Limits(connections_within_descriptors(server.max_connections), head_s=server.header_timeout_s)
    closed = state.metrics.connections_closed
    listeners = [
        listener(app(state), limits, server.shutdown_s, lambda reason: closed.labels(reason).inc())
        for app, limits in zip(
            (client_app, admin_app), (limits, replace(limits, connections=ADMIN_CONNECTIONS)), strict=True
        )
    ][: len(sockets)]

    reloads = Reloads(state)
    loop = asyncio.get_running_loop()
    ends_at: list[float] = []

    def end() -> None:
        state.is_ready = False
        if ends_at:
            reloads.cancel()
        ends_at.append(loop.time() + server.shutdown_s)
        for one in listeners:
            one.force_exit = one.should_exit
            one.should_exit = True

    on_signals(end, reloads.begin, is_worker=supervisor is not None)
    state.is_ready = True
    try:
        with supervised(state, supervisor, end), settled(state):
            serving = (one.serve([open_socket]) for one, open_socket in zip(listeners, sockets, strict=True))
            await asyncio.gather(*serving)
            await reloads.finished(ends_at[0] - loop.time() if ends_at else server.shutdown_s)
    finally:
        await state.close()
    return 0


@contextmanager
def supervised(state: State, supervisor: Connection | None, end: Callable[[], None]) -> Iterator[None]:
    """A worker that is ready: connected to the process that started it, whose other workers show its metrics.

    Args:
        state: The server's state.
        supervisor: Gets :data:`READY`, :data:`RELOAD_OTHERS` and the settings of each reload; ``None`` for the only process.
        end: Called when the other side is closed.
    """
    if supervisor is None:
        yield
        return
    loop = asyncio.get_running_loop()
    # Readable when the other side is gone.
    loop.add_reader(supervisor.fileno(), partial(_orphaned, loop, supervisor, end))
    supervisor.send(READY)
    state.on_reload.append(supervisor.send)
    state.reload_others = partial(supervisor.send, RELOAD_OTHERS)
    publishing = loop.create_task(_publish(state))
    try:
        yield
    finally:
        publishing.cancel()


@contextmanager
def settled(state: State) -> Iterator[None]:
    """What is there before the first request, and after each reload, takes no part in garbage collections: every full one would hold all requests up.

    Args:
        state: The server's state.
    """

    def settle(*_: Settings) -> None:
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    state.on_reload.append(settle)
    settle()
    try:
        yield
    finally:
        state.on_reload.remove(settle)
        gc.unfreeze()


async def _publish(state: State) -> None:
    """Keeps the metrics that other workers show of this one."""
    while True:
        state.publish()
        await asyncio.sleep(_PUBLISH_S)


def _orphaned(loop: asyncio.AbstractEventLoop, supervisor: Connection, end: Callable[[], None]) -> None:
    loop.remove_reader(supervisor.fileno())
    logger.error("the process that started this worker is gone; ending")
    end()


def on_signals(end: Callable[[], None], reload: Callable[[], None], *, is_worker: bool = False) -> None:
    """SIGTERM and SIGINT end a process, SIGHUP lets it read its configuration again. For the event loop that runs.

    Args:
        end: Ends it; a second time, at once.
        reload: Begins a reload.
        is_worker: A terminal sends SIGINT to every process; the first one passes SIGTERM on to its workers.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end)
    if not is_worker:
        loop.add_signal_handler(signal.SIGINT, end)
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, reload)


class Reloads:
    """Reloads of a server that signals have begun.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        #: Those that run: the event loop alone would forget them.
        self.running: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Reloads; if that fails, the log says why and the current configuration stays."""
        task = asyncio.get_running_loop().create_task(_reload_and_log(self._state))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def finished(self, within_s: float) -> None:
        """Waits for those that run; what takes longer is canceled.

        Args:
            within_s: Seconds that they may take.
        """
        if self.running:
            await asyncio.wait(self.running, timeout=max(within_s, 0.0))
        self.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    def cancel(self) -> None:
        """Cancels those that run. The current configuration stays."""
        for task in self.running:
            task.cancel()


async def _reload_and_log(state: State) -> None:
    try:
        await state.reload()
    except (RouterError, OSError) as error:
        logger.error("reload failed; keeping the current configuration: %s", error)
    except Exception:
        logger.exception("reload failed; keeping the current configuration")
    else:
        logger.info("reloaded")


def new_loop() -> asyncio.AbstractEventLoop:
    """The fastest event loop that is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()  # uvloop has no build for Windows.
    return uvloop.new_event_loop()
