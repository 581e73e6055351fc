"""Runs the service: gRPC for gateways, HTTP for administrators, signals, graceful shutdown."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

from turnout.ext_proc.service import Service
from turnout.serve.app import admin_app
from turnout.serve.describe import lines
from turnout.serve.http.connection import Limits
from turnout.serve.http.listener import listener, listening, url_of
from turnout.serve.process import ADMIN_CONNECTIONS, new_loop, reload_and_log
from turnout.serve.settings.outcomes import OutcomeSettings
from turnout.serve.settings.tables import Settings
from turnout.serve.state import State

logger = logging.getLogger("turnout.ext_proc")


def run(settings: Settings, read_again: Callable[[], Settings] | None = None) -> int:
    """Serves gateways until SIGTERM or SIGINT; SIGHUP reloads. A second signal ends it at once.

    Args:
        settings: As of ``turnout serve``. Keys of upstreams are not read, upstreams are not called.
        read_again: Gives the settings anew, for a reload; by default the same ones.

    Returns:
        The exit code.

    Raises:
        OSError: An address that cannot be listened on.
    """
    again = read_again or (lambda: settings)
    loop = new_loop()
    try:
        return loop.run_until_complete(_serve(State(_without_keys(settings), lambda: _without_keys(again()))))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def check(settings: Settings) -> list[str]:
    """Opens everything that :func:`run` opens, closes it again, and says what would run.

    Args:
        settings: As for :func:`run`.

    Raises:
        ConfigError: Something is missing or wrong; as :func:`run`.
        ArtifactError: Likewise.
        OSError: Likewise; also an address that is taken, maybe by a service that runs.
    """
    state = State(_without_keys(settings))
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


async def _serve(state: State) -> int:
    settings = state.snapshot.settings
    server, own = settings.server, settings.ext_proc
    service = Service(state)
    admin = listener(admin_app(state), Limits(ADMIN_CONNECTIONS, head_s=server.header_timeout_s), server.shutdown_s)
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    tasks = set()

    def end() -> None:
        if ending.is_set():
            tasks.add(loop.create_task(service.stop(0)))
        state.is_ready = False
        ending.set()

    def reload() -> None:
        tasks.add(loop.create_task(reload_and_log(state)))

    for name in ("SIGTERM", "SIGINT"):
        loop.add_signal_handler(getattr(signal, name), end)
    if hasattr(signal, "SIGHUP"):
        loop.add_signal_handler(signal.SIGHUP, reload)
    if server.admin_port:
        admin_socket = listening(server.admin_host, server.admin_port)
        logger.info("admin on %s", url_of(admin_socket))
        tasks.add(loop.create_task(admin.serve([admin_socket])))
    try:
        logger.info("listening on %s:%d", own.host, await service.start(own.host, own.port))
        state.is_ready = True
        await ending.wait()
        await service.stop(server.shutdown_s)
    finally:
        admin.should_exit = True
        await asyncio.gather(*tasks)
        await state.close()
    return 0


def _without_keys(settings: Settings) -> Settings:
    """A decision needs no key of an upstream, the gateway checks those of clients, and nobody sends outcomes here."""
    upstreams = {
        name: one.model_copy(update={"key_env": "", "key_file": ""}) for name, one in settings.upstreams.items()
    }
    server = settings.server.model_copy(update={"client_keys_file": ""})
    return settings.model_copy(update={"upstreams": upstreams, "server": server, "outcomes": OutcomeSettings()})
