"""A listening address: a socket, the limits of its connections, and uvicorn's server on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from turnout.serve.http.connection import Connections, Limits

logger = logging.getLogger("turnout.serve")

#: Descriptors for everything but connections: artifacts, logs, the event loop.
_RESERVED = 64


class Listener(uvicorn.Server):
    """One listener of several, whose connections are swept once a second. Signals are handled by :func:`turnout.serve.process.serve`.

    Args:
        config: uvicorn's.
        connections: Those that ``config`` makes.
    """

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self._connections = connections

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        if counter % 10 == 0:
            self._connections.sweep(asyncio.get_running_loop().time())
        return await super().on_tick(counter)


def listener(
    app: Any, limits: Limits, shutdown_s: float, closed: Callable[[str], None] = lambda reason: None
) -> Listener:
    """A listener for an application; :meth:`~uvicorn.Server.serve` takes its socket.

    Args:
        app: An ASGI application.
        limits: Of its connections.
        shutdown_s: Seconds that open answers may take after the end was requested.
        closed: Called with the reason of each connection that a limit closed.
    """
    connections = Connections(limits, closed)
    config = uvicorn.Config(
        app,
        http=connections.protocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(shutdown_s)),
    )
    return Listener(config, connections)


def listening(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A socket that listens.

    Args:
        host: A name or address of this machine.
        port: The port; 0 for any that is free.
        reuse_port: Whether other sockets may listen there too; the system then gives each of them a part of the connections.

    Raises:
        OSError: The address is taken or is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.create_server((host, port), family=family, backlog=2048, reuse_port=reuse_port)
        # Connections inherit it. asyncio sets it only on sockets that name TCP as their protocol, which this one does not; without it, the
        # second part of a stream waits some 40 ms for the client's delayed acknowledgment.
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def listening_together(host: str, port: int, count: int) -> list[socket.socket]:
    """Sockets of one address, for several processes: with a single socket, most connections would go to the process that is idle first.

    Args:
        host: A name or address of this machine.
        port: The port; 0 for any that is free.
        count: Number of sockets.

    Raises:
        OSError: The address is taken or is not one of this machine.
    """
    # Another server that shares its port would not be noticed.
    with listening(host, port) as alone:
        port = alone.getsockname()[1]
    return _all(lambda: listening(host, port, reuse_port=True), count)


def bound_like(open_socket: socket.socket) -> socket.socket:
    """A socket that shares the address of one of :func:`listening_together` and does not listen yet: the system gives it no connections.

    Args:
        open_socket: The other one.

    Raises:
        OSError: The address cannot be shared.
    """
    return _bound(open_socket.family, open_socket.getsockname())


def bound_together(host: str, port: int, count: int) -> list[socket.socket]:
    """Sockets that keep an address for what listens there in several processes, and do not listen themselves.

    Args:
        host: A name or address of this machine.
        port: The port; 0 for any that is free.
        count: Number of sockets.

    Raises:
        OSError: The address is taken or is not one of this machine.
    """
    with listening(host, port) as alone:
        family, address = alone.family, alone.getsockname()
    return _all(lambda: _bound(family, address), count)


def _all(opened: Callable[[], socket.socket], count: int) -> list[socket.socket]:
    """So many sockets, or none that stays open."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(opened()) for _ in range(count)]
        stack.pop_all()
    return found


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            found.setsockopt(socket.SOL_SOCKET, option, 1)
        if found.family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # As in listening.
        found.bind(address)
    except OSError:
        found.close()
        raise
    return found


def url_of(listening: socket.socket) -> str:
    """The address of a socket as a URL."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def connections_within_descriptors(limit: int) -> int:
    """How many connections the process may hold, after raising its limit of open files as far as it may.

    Half of the descriptors are for connections of clients, because each request in flight needs another one to an upstream.

    Args:
        limit: The configured number.
    """
    if sys.platform == "win32":
        return limit
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * limit + _RESERVED
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return limit
    found = max((soft - _RESERVED) // 2, 1)
    logger.warning(
        "[server] max_connections is %d, but the process may open %d files: the limit is %d connections (see ulimit -n)",
        limit,
        soft,
        found,
    )
    return found
