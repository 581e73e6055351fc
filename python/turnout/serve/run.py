"""Runs the server: two listeners in one event loop, signals, graceful shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from turnout._core import RouterError
from turnout.serve.app import admin_app, client_app
from turnout.serve.settings import Settings
from turnout.serve.state import State

logger = logging.getLogger("turnout.serve")


def run(settings: Settings, read_again: Callable[[], Settings] | None = None) -> int:
    """Serves until SIGTERM or SIGINT; SIGHUP reloads. A second SIGINT ends it at once.

    Returns:
        The exit code.

    Raises:
        OSError: An address that cannot be listened on.
    """
    loop = _new_loop()
    try:
        return loop.run_until_complete(serve(State(settings, read_again)))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def serve(state: State) -> int:
    """Serves a state until a signal ends it; raises as :func:`run`."""
    server = state.snapshot.settings.server
    sockets = [_listening(server.host, server.port)]
    listeners = [listener(client_app(state), server.host, server.port, server.shutdown_s)]
    if server.admin_port:
        sockets.append(_listening(server.admin_host, server.admin_port))
        listeners.append(listener(admin_app(state), server.admin_host, server.admin_port, server.shutdown_s))

    def end() -> None:
        state.is_ready = False
        for one in listeners:
            one.force_exit = one.should_exit
            one.should_exit = True

    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGINT"):
        loop.add_signal_handler(getattr(signal, name), end)
    reloading: set[asyncio.Task[None]] = set()
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, lambda: reloading.add(loop.create_task(_reload(state))))
    state.is_ready = True
    try:
        await asyncio.gather(*(one.serve([open_socket]) for one, open_socket in zip(listeners, sockets, strict=True)))
    finally:
        await state.close()
    return 0


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


class Listener(uvicorn.Server):
    """One listener of several: signals are the business of :func:`serve`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _reload(state: State) -> None:
    try:
        await state.reload()
    except (RouterError, OSError) as error:
        logger.error("reload refused, everything stays as it was: %s", error)
    else:
        logger.info("reloaded")


def listener(app: Any, host: str, port: int, shutdown_s: float) -> Listener:
    """A listener for an application; port 0 takes any free one."""
    return Listener(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=max(1, round(shutdown_s)),
        )
    )


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()  # uvloop has no build for Windows.
    return uvloop.new_event_loop()
