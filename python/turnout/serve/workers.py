"""``turnout serve --workers N`` and ``turnout ext-proc --workers N``: processes that share the sockets, the metrics and the decision log.

uvicorn's supervisor replaces its workers on SIGHUP and runs nothing but uvicorn's own server; here a worker is the whole server of
:func:`turnout.serve.process.serve`, with its limits of connections and two listeners, and SIGHUP has each read the configuration again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from turnout._core import ConfigError, RouterError
from turnout.serve.decisions.snapshot import take
from turnout.serve.http.listener import bound_like
from turnout.serve.metric_files import MetricFiles
from turnout.serve.process import READY, RELOAD_OTHERS, new_loop, on_signals
from turnout.serve.receipts.log_locks import lock_of
from turnout.serve.settings.tables import Settings
from turnout.serve.state import State

logger = logging.getLogger("turnout.serve")

#: Seconds between two starts of a worker that ends again and again.
_AGAIN_S = 1.0
_SPAWN = multiprocessing.get_context("spawn")

#: Reads the settings again. It crosses to the workers, so it must be a function of a module, or a partial of one.
ReadAgain = Callable[[], Settings]
#: For clients and, if there is one, for administrators.
Sockets = Sequence[socket.socket]
#: Serves a state on sockets until a signal ends it; gets the pipe to the process that started it.
Serve = Callable[[State, Sequence[socket.socket], Connection], Coroutine[None, None, int]]


class _Worker:
    """One process, from its start to its end."""

    def __init__(self, settings: Settings, read_again: ReadAgain, sockets: Sockets, group: Path, serve: Serve) -> None:
        self.sockets = sockets
        #: The worker's end is closed when the worker ends, ours when this process does.
        self.pipe, theirs = _SPAWN.Pipe()
        self.began = time.monotonic()
        self.is_ready = False
        #: A signal to reload that came before it was ready, when it would have ended it.
        self.reloads = False
        self.process: SpawnProcess = _SPAWN.Process(
            target=_work, args=(settings, read_again, list(sockets), group, serve, theirs), name="turnout-worker"
        )
        self.process.start()
        theirs.close()

    def signal(self, number: int) -> None:
        if self.process.is_alive() and self.process.pid is not None:
            os.kill(self.process.pid, number)


class Workers:
    """Starts the workers, passes signals on to them, and replaces those that end.

    Args:
        settings: Checked settings.
        read_again: Reads them again.
        shares: The sockets that each of them listens on. They stay open here, so that connections wait while a worker is replaced; those of
            a worker that did not start are closed, and its connections go to the others.
        group: Folder that they share.
        serve: What each of them runs.
    """

    def __init__(
        self, settings: Settings, read_again: ReadAgain, shares: Sequence[Sockets], group: Path, serve: Serve
    ) -> None:
        self._serve = serve
        self._settings, self._read_again, self._shares, self._group = settings, read_again, list(shares), group
        self._workers: dict[int, _Worker] = {}
        self._ends = False
        self._code = 0
        self._ended = asyncio.Event()

    async def run(self) -> int:
        """Runs until a signal ends all, or a worker cannot start.

        Returns:
            The exit code.
        """
        on_signals(self._end, self._reload)
        for share in self._shares:
            self._start(share)
        await self._ended.wait()
        return self._code

    def _start(self, share: Sockets) -> None:
        worker = _Worker(self._settings, self._read_again, share, self._group, self._serve)
        loop = asyncio.get_running_loop()
        self._workers[worker.process.sentinel] = worker
        loop.add_reader(worker.process.sentinel, self._gone, worker)
        loop.add_reader(worker.pipe.fileno(), self._receive, worker)

    def _receive(self, worker: _Worker) -> None:
        """Reads a message of a worker; its end of the pipe is closed when the worker ends."""
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(worker.pipe.fileno())
            return
        if message == READY:
            worker.is_ready = True
            if worker.reloads:
                worker.signal(signal.SIGHUP)
        elif message == RELOAD_OTHERS:
            self._reload(worker)
        else:
            # A worker has opened them, so that the next one can start with them.
            self._settings = message

    def _gone(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(worker.process.sentinel)
        loop.remove_reader(worker.pipe.fileno())
        del self._workers[worker.process.sentinel]
        worker.process.join()
        pid, code = worker.process.pid, worker.process.exitcode
        worker.pipe.close()
        self._retire_metrics(pid)
        if not self._ends:
            if not worker.is_ready and all(not one.is_ready for one in self._workers.values()):
                logger.error("worker %s could not start (exit code %s)", pid, code)
                self._code = 2
                self._end()
            else:
                logger.error("worker %s ended with exit code %s; starting another one", pid, code)
                share = worker.sockets if worker.is_ready else self._reopened(worker.sockets)
                loop.call_later(max(0.0, worker.began + _AGAIN_S - time.monotonic()), self._replace, share)
        if self._ends and not self._workers:
            self._ended.set()

    def _replace(self, share: Sockets) -> None:
        if not self._ends:
            self._start(share)

    def _reopened(self, share: Sockets) -> Sockets:
        """Other sockets in place of a share's, which get no connections before a worker listens on them."""
        fresh = [bound_like(one) for one in share]
        self._shares[self._shares.index(share)] = fresh
        for one in share:
            one.close()
        return fresh

    def _reload(self, done: _Worker | None = None) -> None:
        """Lets all workers read the configuration again, except one that has already done so."""
        for worker in self._workers.values():
            if worker.is_ready and worker is not done:
                worker.signal(signal.SIGHUP)
            worker.reloads = not worker.is_ready

    def _retire_metrics(self, pid: int | None) -> None:
        try:
            if pid is not None:
                MetricFiles(self._group).retire(pid)
        except Exception:
            # They are shown from its own files then. Another worker is needed in every case.
            logger.exception("the metrics of worker %s could not be added to those of workers that have ended", pid)

    def _end(self) -> None:
        """Ends all workers; a second time, at once."""
        self._ends = True
        # Connections would wait for a worker that accepts them.
        for one in itertools.chain.from_iterable(self._shares):
            one.close()
        for worker in self._workers.values():
            worker.signal(signal.SIGTERM)
        if not self._workers:
            self._ended.set()


def run_workers(settings: Settings, read_again: ReadAgain, shares: Sequence[Sockets], serve: Serve) -> int:
    """Serves with several processes until a signal ends them.

    Args:
        settings: Checked settings.
        read_again: Reads them again; a function of a module, or a partial of one.
        shares: The sockets that each worker listens on.
        serve: What each worker runs: a function of a module.

    Returns:
        The exit code.

    Raises:
        ConfigError: Something that the configuration names is missing or wrong.
    """
    # What is wrong is said once, by this process.
    take(settings)
    try:
        lock = lock_of(settings.log)
    except OSError as error:
        raise OSError(f"[log] path {settings.log.path!r} cannot be written: {error.strerror or error}") from error
    group = Path(tempfile.mkdtemp(prefix="turnout-workers-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(group)
    try:
        return asyncio.run(_run(settings, read_again, shares, group, serve))
    finally:
        shutil.rmtree(group, ignore_errors=True)
        if lock is not None:
            lock.release()


def check_workers(settings: Settings, count: int) -> None:
    """Refuses several workers where each would have a memory of its own of what must be known to all.

    Args:
        settings: Checked settings.
        count: Number of workers.

    Raises:
        ConfigError: The pool has a budget, or a model a quota; or sessions are on, or responses are stored at several upstreams, and no store
            is shared; or outcomes are watched for changes, or pin what was learned.
    """
    if count == 1:
        return
    if settings.pool is not None and settings.pool.budget is not None:
        raise ConfigError(
            f"{count} workers would each spend the whole [pool.budget]: expected one worker, or an objective in its place"
        )
    limited = [
        name
        for name, model in settings.models.items()
        if any("quota" in fields for fields in (model.pool_fields, *model.efforts.values()))
    ]
    if limited:
        raise ConfigError(
            f"{count} workers would each use the whole quota of [models.{limited[0]}]: expected one worker, or no quota"
        )
    if "outcomes" in settings.changes.watch:
        raise ConfigError(
            f"{count} workers would each know their own answers only, so that most outcomes could not be watched: expected"
            ' [changes] watch without "outcomes", or one worker'
        )
    if settings.changes.pin:
        raise ConfigError(
            f"{count} workers would each notice changes by themselves, and reload differently: expected [changes] pin = false,"
            " or one worker"
        )
    if settings.sessions.store:
        return
    if settings.sessions.stay != "off":
        raise ConfigError(
            f"{count} workers would each keep sessions of their own, so that the model could change within a turn: expected"
            ' [sessions] store = "redis://..." or stay = "off"'
        )
    storing = {model.upstream for model in settings.models.values() if "responses" in model.dialects}
    if len(storing) > 1:
        raise ConfigError(
            f"{count} workers would not know which upstream made a stored response (responses are spoken at"
            f' {", ".join(sorted(storing))}): expected [sessions] store = "redis://..."'
        )


async def _run(settings: Settings, read_again: ReadAgain, shares: Sequence[Sockets], group: Path, serve: Serve) -> int:
    return await Workers(settings, read_again, shares, group, serve).run()


def _work(
    settings: Settings,
    read_again: ReadAgain,
    sockets: list[socket.socket],
    group: Path,
    serve: Serve,
    pipe: Connection,
) -> None:
    """What a worker runs."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format=f"%(asctime)s %(levelname)s %(name)s[{os.getpid()}]: %(message)s"
    )
    # A terminal sends it to every process; the first one passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loop = new_loop()
    try:
        state = State(settings, read_again, group)
        code = loop.run_until_complete(serve(state, sockets, pipe))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except (RouterError, OSError) as error:
        logger.error("%s", error)
        code = 2
    finally:
        loop.close()
    sys.exit(code)
