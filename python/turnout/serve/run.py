"""Runs the server, in one process or in several, and checks that it could."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial

from turnout.serve.describe import lines
from turnout.serve.http.listener import listening, listening_together, url_of
from turnout.serve.process import new_loop, serve
from turnout.serve.settings.tables import ServerSettings, Settings
from turnout.serve.state import State
from turnout.serve.workers import check_workers, run_workers

logger = logging.getLogger("turnout.serve")


def run(settings: Settings, read_again: Callable[[], Settings] | None = None, workers: int = 1) -> int:
    """Serves until SIGTERM or SIGINT; SIGHUP reloads. A second signal ends it at once.

    Args:
        settings: Checked settings.
        read_again: Gives the settings anew, for a reload; by default the same ones. With several workers, a function of a module or a partial
            of one.
        workers: Number of processes that serve.

    Returns:
        The exit code.

    Raises:
        ConfigError: The configuration does not suit several workers, or something that it names is missing.
        OSError: An address that cannot be listened on.
    """
    if workers > 1:
        check_workers(settings, workers)
        shares = list(zip(*_sockets(settings.server, workers), strict=True))
        _announce(settings.server, shares[0])
        return run_workers(settings, read_again or partial(_same, settings), shares, serve)
    loop = new_loop()
    try:
        state = State(settings, read_again)
        sockets = [one for (one,) in _sockets(settings.server)]
        _announce(settings.server, sockets)
        return loop.run_until_complete(serve(state, sockets))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def check(settings: Settings, workers: int = 1) -> list[str]:
    """Opens everything that :func:`run` opens, closes it again, and says what would run.

    Args:
        settings: Checked settings.
        workers: Number of processes that would serve.

    Raises:
        ConfigError: Something is missing or wrong; as :func:`run`.
        ArtifactError: Likewise.
        OSError: Likewise; also an address that is taken, maybe by a server that runs.
    """
    if workers > 1:
        check_workers(settings, workers)
    state = State(settings)
    try:
        for (one,) in _sockets(settings.server):
            one.close()
        return list(lines(state.snapshot))
    finally:
        asyncio.run(state.close())


def _sockets(server: ServerSettings, workers: int = 1) -> list[list[socket.socket]]:
    """Those of clients and, if there is one, of administrators; one for each worker."""

    def of(host: str, port: int) -> list[socket.socket]:
        return [listening(host, port)] if workers == 1 else listening_together(host, port, workers)

    found = [of(server.host, server.port)]
    try:
        if server.admin_port:
            found.append(of(server.admin_host, server.admin_port))
    except OSError:
        for one in found[0]:
            one.close()
        raise
    return found


def _announce(server: ServerSettings, sockets: Sequence[socket.socket]) -> None:
    clients, *admin = map(url_of, sockets)
    logger.info("listening on %s%s", clients, f"; playground: {clients}/" if server.playground else "")
    logger.info("admin on %s", admin[0] if admin else "no address")


def _same(settings: Settings) -> Settings:
    return settings
