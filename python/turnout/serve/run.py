"""Runs the server: two listeners in one event loop, signals, graceful shutdown."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import replace

from turnout._core import RouterError
from turnout.serve.app import admin_app, client_app
from turnout.serve.connection import Limits
from turnout.serve.describe import lines
from turnout.serve.listener import connections_within_descriptors, listener, listening, url_of
from turnout.serve.settings import ServerSettings, Settings
from turnout.serve.state import State

logger = logging.getLogger("turnout.serve")

#: Connections of the admin listener.
ADMIN_CONNECTIONS = 32


def run(settings: Settings, read_again: Callable[[], Settings] | None = None) -> int:
    """Serves until SIGTERM or SIGINT; SIGHUP reloads. A second signal ends it at once.

    Returns:
        The exit code.

    Raises:
        OSError: An address that cannot be listened on.
    """
    loop = new_loop()
    try:
        return loop.run_until_complete(serve(State(settings, read_again)))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def serve(state: State) -> int:
    """Serves a state until a signal ends it; raises as :func:`run`."""
    server = state.snapshot.settings.server
    sockets = _sockets(server)
    limits = Limits(connections_within_descriptors(server.max_connections), head_s=server.header_timeout_s)
    closed = state.metrics.connections_closed
    listeners = [
        listener(app(state), limits, server.shutdown_s, lambda reason: closed.labels(reason).inc())
        for app, limits in zip(
            (client_app, admin_app), (limits, replace(limits, connections=ADMIN_CONNECTIONS)), strict=True
        )
    ][: len(sockets)]
    clients, *admin = map(url_of, sockets)
    logger.info("listening on %s%s", clients, f"; playground: {clients}/" if server.playground else "")
    logger.info("admin on %s", admin[0] if admin else "no address")

    def end() -> None:
        state.is_ready = False
        for one in listeners:
            one.force_exit = one.should_exit
            one.should_exit = True

    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGINT"):
        loop.add_signal_handler(getattr(signal, name), end)
    reloading: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(reload_and_log(state))
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, reload)
    state.is_ready = True
    try:
        await asyncio.gather(*(one.serve([open_socket]) for one, open_socket in zip(listeners, sockets, strict=True)))
    finally:
        await state.close()
    return 0


def check(settings: Settings) -> list[str]:
    """Opens everything that :func:`run` opens, closes it again, and says what would run.

    Raises:
        ConfigError: Something is missing or wrong; as :func:`run`.
        ArtifactError: Likewise.
        OSError: Likewise; also an address that is taken, maybe by a server that runs.
    """
    state = State(settings)
    try:
        for one in _sockets(settings.server):
            one.close()
        return list(lines(state.snapshot))
    finally:
        asyncio.run(state.close())


def _sockets(server: ServerSettings) -> list[socket.socket]:
    """Those of clients and, if there is one, of administrators."""
    found = [listening(server.host, server.port)]
    try:
        if server.admin_port:
            found.append(listening(server.admin_host, server.admin_port))
    except OSError:
        found[0].close()
        raise
    return found


async def reload_and_log(state: State) -> None:
    """Reloads; if that fails, the log says why and the current configuration stays.

    Args:
        state: The server's state.
    """
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
