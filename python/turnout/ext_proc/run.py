"""Runs the service: gRPC for gateways, HTTP for administrators, signals, graceful shutdown."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection

from turnout.ext_proc.service import Service
from turnout.serve.app import admin_app
from turnout.serve.describe import lines
from turnout.serve.http.connection import Limits
from turnout.serve.http.listener import bound_together, listener, listening, listening_together, url_of
from turnout.serve.process import ADMIN_CONNECTIONS, Reloads, new_loop, on_signals, settled, supervised
from turnout.serve.settings.outcomes import ChangeSettings, OutcomeSettings
from turnout.serve.settings.tables import Settings
from turnout.serve.state import State

logger = logging.getLogger("turnout.ext_proc")


def run(settings: Settings, read_again: Callable[[], Settings] | None = None, workers: int = 1) -> int:
    """Serves gateways until SIGTERM or SIGINT; SIGHUP reloads. A second signal ends it at once.

    Args:
        settings: As of ``turnout serve``. Keys of upstreams are not read, upstreams are not called.
        read_again: Gives the settings anew, for a reload; by default the same ones. With several workers, a function of a module or a partial
            of one.
        workers: Number of processes that serve. The system gives each of them a part of the gateway's connections.

    Returns:
        The exit code.

    Raises:
        ConfigError: The configuration does not suit several workers, or something that it names is missing.
        OSError: An address that cannot be listened on.
    """
    again = partial(_again_without_keys, read_again or partial(_without_keys, settings))
    settings = _without_keys(settings)
    if workers > 1:
        from turnout.serve.workers import check_workers, run_workers

        check_workers(settings, workers)
        return run_workers(settings, again, _shares(settings, workers), _serve)
    loop = new_loop()
    try:
        return loop.run_until_complete(_serve(State(settings, again)))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def check(settings: Settings, workers: int = 1) -> list[str]:
    """Opens everything that :func:`run` opens, closes it again, and says what would run.

    Args:
        settings: As for :func:`run`.
        workers: Number of processes that would serve.

    Raises:
        ConfigError: Something is missing or wrong; as :func:`run`.
        ArtifactError: Likewise.
        OSError: Likewise; also an address that is taken, maybe by a service that runs.
    """
    settings = _without_keys(settings)
    if workers > 1:
        from turnout.serve.workers import check_workers

        check_workers(settings, workers)
    state = State(settings)
    try:
        server, own = settings.server, settings.ext_proc
        for host, port in ((own.host, own.port), (server.admin_host, server.admin_port)):
            if port:
                listening(host, port).close()
        told = [line for line in lines(state.snapshot) if not line.startswith(("listen ", "client keys "))]
        sets = f"header {own.model_header}{' and model in the body' if own.rewrite_body else ''}"
        return [f"listen      grpc://{own.host}:{own.port}: sets {sets} within {own.deadline_ms:g} ms", *told]
    finally:
        asyncio.run(state.close())


def _shares(settings: Settings, workers: int) -> list[tuple[socket.socket, ...]]:
    """For each worker a socket that keeps the address of the service and, if there is one, that of administrators."""
    server, own = settings.server, settings.ext_proc
    found = [bound_together(own.host, own.port, workers)]
    if server.admin_port:
        found.append(listening_together(server.admin_host, server.admin_port, workers))
        logger.info("admin on %s", url_of(found[1][0]))
    # Of this process, which has the addresses: that of a worker is one of several.
    logger.info("starting %d workers on %s:%d", workers, own.host, found[0][0].getsockname()[1])
    return list(zip(*found, strict=True))


async def _serve(state: State, sockets: Sequence[socket.socket] = (), supervisor: Connection | None = None) -> int:
    """Serves a state until a signal ends it.

    Args:
        state: The server's state.
        sockets: Of a worker: one that keeps the address of the service and, if there is one, that of administrators.
        supervisor: Of a worker: the process that started it.

    Returns:
        The exit code: 1 where the service has ended by itself.
    """
    settings = state.snapshot.settings
    server, own = settings.server, settings.ext_proc
    admin = listener(admin_app(state), Limits(ADMIN_CONNECTIONS, head_s=server.header_timeout_s), server.shutdown_s)
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()
    reloads = Reloads(state)
    code = 0

    def fail() -> None:
        nonlocal code
        code = 1
        end()

    service = Service(state, shares_port=supervisor is not None, on_failure=fail)

    def end() -> None:
        if ending.is_set():
            tasks.add(loop.create_task(service.stop(0)))
        state.is_ready = False
        ending.set()

    on_signals(end, reloads.begin, is_worker=supervisor is not None)
    admin_sockets = list(sockets[1:])
    if supervisor is None and server.admin_port:
        admin_sockets = [listening(server.admin_host, server.admin_port)]
        logger.info("admin on %s", url_of(admin_sockets[0]))
    if admin_sockets:
        tasks.add(loop.create_task(admin.serve(admin_sockets)))
    try:
        host, port = sockets[0].getsockname()[:2] if sockets else (own.host, own.port)
        port = await service.start(host, port)
        if supervisor is None:
            logger.info("listening on %s:%d", own.host, port)
        state.is_ready = not ending.is_set()
        with supervised(state, supervisor, end), settled(state):
            await ending.wait()
        await service.stop(server.shutdown_s)
    finally:
        admin.should_exit = True
        await asyncio.gather(*tasks, *reloads.running)
        await state.close()
    return code


def _again_without_keys(read_again: Callable[[], Settings]) -> Settings:
    return _without_keys(read_again())


def _without_keys(settings: Settings) -> Settings:
    """A decision needs no key of an upstream, the gateway checks those of clients, and no outcomes or answers come here."""
    upstreams = {
        name: one.model_copy(update={"key_env": "", "key_file": ""}) for name, one in settings.upstreams.items()
    }
    server = settings.server.model_copy(update={"client_keys_file": ""})
    unused = {"outcomes": OutcomeSettings(), "changes": ChangeSettings()}
    return settings.model_copy(update={"upstreams": upstreams, "server": server, **unused})
