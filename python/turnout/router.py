"""The public ``Router`` and ``load``: the extension's class with asyncio, pickling, and battles in files."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from turnout import _core
from turnout.engines import engine_arguments
from turnout.shipped import ARTIFACTS, DEFAULT, artifact_folder
from turnout.threads import INLINE_CHARACTERS, BoundedThreads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import TypedDict, Unpack

    from turnout._core import Decision
    from turnout.battle_store import BattleStore
    from turnout.online_updates import Added
    from turnout.pool import Pool, PoolRouter

    class EngineOptions(TypedDict, total=False):
        """Options of :func:`load` that a router of a pool has, too."""

        engine: str
        device: str
        threads: int
        device_memory_bytes: int | None
        tensorrt_cache: str | Path | None
        max_queue: int
        max_batch_rows: int
        max_batch_tokens: int
        max_wait_us: int
        sessions: int
        index: str | Path | Any

    class PairOptions(EngineOptions, total=False):
        """Options of :func:`load` for a pair of models."""

        strong: str | None
        weak: str | None
        threshold: float | None
        strong_share: float | None
        tiers: Mapping[str, int] | None


#: Folder of the router that ships with the package.
DEFAULT_ARTIFACT = ARTIFACTS / DEFAULT

#: Values of the options where a call gives none; the core writes them.
_DEFAULTS: Mapping[str, Any] = _core.DEFAULT_OPTIONS


class Router(_core.Router):
    """Routes prompts between a strong and a weak model. Immutable, and safe to share between threads.

    Created by :func:`load`. Pickling stores the path and the options, not the weights: unpickling needs the artifact at that path.

    Args:
        path: Artifact folder.
        **options: The options of :func:`load`.

    Raises:
        RouterError: As :func:`load`.

    Example:
        >>> import turnout
        >>> router = turnout.load()
        >>> turnout.Router(router.path, **router.options()).artifact_hash == router.artifact_hash
        True
    """

    _options: dict[str, Any]
    #: Threads that decide prompts which would block an event loop for too long.
    threads: BoundedThreads
    _battle_store: BattleStore | None = None

    def __new__(cls, path: str | Path, **options: Any) -> Router:
        """Opens an artifact folder; see :func:`load`."""
        router = super().__new__(cls, path, **engine_arguments(options))
        router._options = {"path": os.path.abspath(path), **options}
        router.threads = BoundedThreads(router.options()["max_queue"])
        if any(os.path.lexists(router.path / name) for name in ("battles.sqlite", "battles.sqlite-wal", "battles.log")):
            # Imported here: most artifacts have none.
            from turnout.online_updates import read_stored

            read_stored(router)
        return router

    async def aroute(
        self,
        prompt: str | Sequence[Any] | None = None,
        *,
        threshold: float | None = None,
        strong_share: float | None = None,
        embedding: NDArray[np.float32] | None = None,
        deadline_us: int | None = None,
    ) -> Decision:
        """:meth:`route` for asyncio. Only decisions that take microseconds run on the event loop.

        Prompts for a network wait in the same queue as those of threads and share batches with them. A cancelled task leaves the queue.
        Long prompts, which take a while to tokenize, are decided on a worker thread; ``max_queue`` limits them too.

        Args:
            prompt: As for :meth:`route`.
            threshold: As for :meth:`route`.
            strong_share: As for :meth:`route`.
            embedding: As for :meth:`route`.
            deadline_us: As for :meth:`route`.

        Returns:
            The decision.

        Raises:
            OverloadedError: ``max_queue`` prompts are waiting.
            RouterError: As :meth:`route`.

        Example:
            >>> import asyncio, turnout
            >>> router = turnout.load(strong="large", weak="small")
            >>> asyncio.run(router.aroute("What is 2 + 2?", threshold=0.0)).model
            'large'
        """
        if prompt is not None and not isinstance(prompt, str):
            prompt = self._prompt(prompt)
        short = prompt is None or len(prompt) <= INLINE_CHARACTERS
        if short and self.is_microseconds:
            return self.route(prompt, threshold=threshold, strong_share=strong_share, embedding=embedding)
        if prompt is not None and embedding is None and short:
            # Check the threshold before the prompt runs.
            self._decide(0.0, threshold=threshold, strong_share=strong_share)
            win_rate = await self._queued(prompt, deadline_us)
            return self._decide(win_rate, threshold=threshold, strong_share=strong_share)
        called = time.monotonic()

        def route() -> Decision:
            # The deadline includes the time until the thread starts.
            elapsed_us = int((time.monotonic() - called) * 1e6)
            left = deadline_us if deadline_us is None or deadline_us < 0 else max(deadline_us - elapsed_us, 0)
            return self.route(
                prompt, threshold=threshold, strong_share=strong_share, embedding=embedding, deadline_us=left
            )

        return await self.threads.run(route)

    async def aroute_batch(
        self, prompts: Sequence[str], *, threshold: float | None = None, strong_share: float | None = None
    ) -> list[Decision]:
        """:meth:`route_batch` for asyncio, on a worker thread; ``max_queue`` bounds the prompts of all such calls.

        Args:
            prompts: Texts.
            threshold: As for :meth:`route`, for all of them.
            strong_share: As for :meth:`route`, for all of them.

        Returns:
            One decision a prompt.

        Raises:
            OverloadedError: As many prompts as ``max_queue`` wait.
            RouterError: As :meth:`route_batch`.
        """
        return await self.threads.run(
            lambda: self.route_batch(prompts, threshold=threshold, strong_share=strong_share), len(prompts)
        )

    async def _queued(self, prompt: str, deadline_us: int | None) -> float:
        """The win rate of a prompt from the network's queue, without blocking the event loop."""
        # Imported here: asyncio takes longer to import than the rest of this package.
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[float] = loop.create_future()

        def settle(win_rate: float | None, error: Exception | None) -> None:
            if future.done():
                return
            if win_rate is None:
                future.set_exception(error or _core.InferenceError("inference returned no result"))
            else:
                future.set_result(win_rate)

        def callback(win_rate: float | None, error: Exception | None) -> None:
            # Runs on another thread. The loop may have been closed in the meantime.
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, win_rate, error)

        request = self._submit(prompt, callback, deadline_us)
        try:
            return await asyncio.wait_for(future, None if deadline_us is None else deadline_us / 1e6)
        except asyncio.TimeoutError as error:
            raise _core.DeadlineExceededError("the deadline passed before the prompt could be run") from error
        finally:
            if request is not None and (future.cancelled() or not future.done()):
                self._withdraw(request)

    def add_battles(self, table: Any, *, embeddings: NDArray[np.float32] | None = None) -> Added:
        """Adds battles to a router of kind ``sw_ranking``. They affect all later decisions, in every thread.

        The battles are stored in a database in the artifact folder (``battles.sqlite``) before this returns, so they survive a crash and
        are read when the artifact is loaded again. Ratings and tiers do not change until ``turnout battles compact`` merges the battles.

        Args:
            table: Path of a Parquet, CSV or JSON-lines file, a list of dicts, or an Arrow table, with the columns ``prompt,
                model_a, model_b, winner`` (``"model_a"``, ``"model_b"`` or ``"tie"``) or those of arena-55k. A column ``id``
                identifies battles; without one, equal battles of one call are numbered in their order, so that repeating the call
                adds nothing.
            embeddings: float32 ``[rows, dim]``, for a router that takes embeddings from the caller.

        Returns:
            The numbers of battles that were added, already known, or skipped because the prompt is too short.

        Raises:
            InvalidInputError: A row is not a battle or names a model that the router does not know; nothing is added, and the message
                has the numbers of the rows. Or the router is of another kind.
            InvalidTypeError: ``table`` is not a table.
            ArtifactError: The database cannot be written or is damaged, or the artifact was compacted after it was loaded.
            OverloadedError: Another process added battles or compacted for longer than ten seconds.
            InferenceError: The router was loaded before a fork: load it again in the child process.

        Example:
            >>> import shutil, tempfile, turnout
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     copy = shutil.copytree(turnout.load("sw_ranking").path, f"{folder}/mine")
            ...     router = turnout.load(copy)
            ...     a, b = router.models[:2]
            ...     added = router.add_battles([{"prompt": "Prove it by induction.", "model_a": a, "model_b": b, "winner": "tie"}])
            ...     added.added
            1
        """
        # Imported here: routing needs none of it.
        from turnout.online_updates import add_battles

        return add_battles(self, table, embeddings)

    def options(self) -> dict[str, Any]:
        """The options of :func:`load` with the values in use, defaults included.

        Returns:
            Options by name; ``turnout.load(router.path, **router.options())`` loads an equal router. If the router was loaded with
            ``strong_share``, ``threshold`` is the resulting value.

        Example:
            >>> import turnout
            >>> turnout.load(max_queue=8).options()["max_queue"]
            8
        """
        return {**self._options_in_use(), "index": self._options.get("index")}

    def append_battles(
        self,
        ids: NDArray[np.uint64],
        prompts: Sequence[str],
        models_a: Sequence[str],
        models_b: Sequence[str],
        outcomes: NDArray[np.uint8],
        *,
        embeddings: NDArray[np.float32] | None = None,
    ) -> int:
        """Adds battles, as :meth:`add_battles`, from columns.

        Args:
            ids: uint64 ``[n]``, identifies battles.
            prompts: ``n`` texts.
            models_a: ``n`` names of models.
            models_b: ``n`` names of models.
            outcomes: uint8 ``[n]``: 0 if model a won, 1 if model b won, 2 for a tie.
            embeddings: float32 ``[n, dim]``, for a router that takes embeddings from the caller.

        Returns:
            The number of new battles.

        Raises:
            InvalidInputError: A column has another length, or a row is not a battle of the router's models; nothing is added.
            ArtifactError: As for :meth:`add_battles`.
        """
        from turnout.online_updates import append

        return append(self, ids, prompts, models_a, models_b, outcomes, embeddings)

    @property
    def manifest(self) -> dict[str, Any]:
        """The artifact's ``router.json``: models, pair, thresholds, provenance, files."""
        manifest: dict[str, Any] = json.loads(self.manifest_json)
        return manifest

    @property
    def path(self) -> Path:
        """The artifact folder."""
        return Path(self._options["path"])

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self._options)

    def __repr__(self) -> str:
        return (
            f"Router({self.path.name!r}, strong={self.strong!r}, weak={self.weak!r}, threshold={self.threshold}, "
            f"engine={self.engine!r}, device={self.device!r})"
        )


def _reopen(cls: type[Router], options: dict[str, Any]) -> Router:
    return cls(**options)


@overload
def load(path: str | Path | None = None, *, pool: None = None, **options: Unpack[PairOptions]) -> Router: ...


@overload
def load(path: str | Path | None = None, *, pool: Pool, **options: Unpack[EngineOptions]) -> PoolRouter: ...


def load(
    path: str | Path | None = None,
    *,
    pool: Pool | None = None,
    strong: str | None = None,
    weak: str | None = None,
    threshold: float | None = None,
    strong_share: float | None = None,
    engine: str = _DEFAULTS["engine"],
    device: str = _DEFAULTS["device"],
    threads: int = _DEFAULTS["threads"],
    device_memory_bytes: int | None = _DEFAULTS["device_memory_bytes"],
    tensorrt_cache: str | Path | None = _DEFAULTS["tensorrt_cache"],
    max_queue: int = _DEFAULTS["max_queue"],
    max_batch_rows: int = _DEFAULTS["max_batch_rows"],
    max_batch_tokens: int = _DEFAULTS["max_batch_tokens"],
    max_wait_us: int = _DEFAULTS["max_wait_us"],
    sessions: int = _DEFAULTS["sessions"],
    tiers: Mapping[str, int] | None = None,
    index: str | Path | Any = None,
) -> Router | PoolRouter:
    """Loads a router.

    Args:
        path: Artifact folder, or the name of a router in the package: ``"mf"`` (default) or ``"sw_ranking"``. A folder of that name
            takes precedence. Nothing is downloaded.
        pool: Models to choose from in place of a pair; returns a :class:`turnout.PoolRouter`. The options for a pair (``strong``,
            ``weak``, ``threshold``, ``strong_share``, ``tiers``) are errors then.
        strong: Name of the strong model; by default the artifact's. If the artifact knows the name (``router.models``), that model's
            scores are used. Otherwise the name is a label for the strong model of the trained pair. The Controller and the server
            follow the same rule, separately for each of the two names. Routers transfer to other pairs of unequal models ("RouteLLM:
            Learning to Route LLMs with Preference Data", arXiv 2406.18665, section 5.2), but the calibration was fitted for the trained
            pair: choose the threshold on your own prompts.
        weak: Name of the weak model, likewise.
        threshold: Win rate in ``[0, 1]`` from which the strong model is chosen; by default the artifact's.
        strong_share: In place of a threshold: the share of prompts in ``[0, 1]`` that goes to the strong model, by the quantiles of the
            artifact's calibration prompts. The quantiles are valid for the trained pair and labels of it; for another pair a share
            is an error.
        engine: ``"auto"`` runs supported graphs natively and others in ONNX Runtime; ``"native"`` and ``"onnxruntime"`` allow only one.
        device: ``"cpu"``, ``"cuda:N"`` or ``"tensorrt:N"``; several GPUs, separated by commas (``"cuda:0,cuda:1"``), share one queue.
            There is no fallback to another device.
        threads: Threads for a batch; 0 means all cores.
        device_memory_bytes: Largest memory of ONNX Runtime on each GPU, in bytes; by default all that is free. An error on the CPU.
        tensorrt_cache: Folder in which TensorRT caches the engines that it builds for ``"tensorrt:N"``, by artifact; by default
            ``turnout/tensorrt`` in the user's cache folder. Write access to this folder allows running code in this process.
        max_queue: Number of prompts that may wait for a network. Further prompts and batches fail with ``OverloadedError``. A batch that
            is accepted waits in parts. This and the next four options apply to graphs in ONNX Runtime; native graphs have no queue.
        max_batch_rows: Largest number of prompts in one run of a network.
        max_batch_tokens: Largest number of tokens in one run, padding included; on a GPU that includes rounded shapes.
        max_wait_us: Microseconds that a free session waits for more prompts of similar length before it runs. Zero is best on a CPU.
        sessions: Number of ONNX Runtime sessions on the CPU. They share the threads, and each has its own copy of the weights. More
            sessions serve more callers at once; one session is faster for a single caller. 0 means one, or up to eight for a network
            smaller than 32 MiB.
        tiers: For routers of kind ``sw_ranking`` only: tiers of the two models by name, 0 the strongest, in place of their own. With
            tiers, any two names can be routed between.
        index: For routers of kind ``sw_ranking`` only: how the most similar battles are found. By default the artifact's own index if it
            has one; ``"exact"`` compares every battle; otherwise a FAISS index over the artifact's prompts in their order: a path, or a
            live ``faiss.Index`` on the CPU or a GPU, which must not change while the router uses it.

    Returns:
        A router.

    Raises:
        ArtifactError: The folder is missing, damaged or of another version.
        ConfigError: An option that this kind of router or this device does not have, or an invalid value.
        InvalidInputError: The threshold or share is not in ``[0, 1]``, both are given, or the artifact has no quantiles for the pair.
        InvalidTypeError: An option of another type, such as ``threshold=True``.
        DeviceError: The device is unavailable.
        EngineError: The graph needs ONNX Runtime, or the index FAISS, and it is not installed or cannot be loaded.

    Example:
        >>> import turnout
        >>> router = turnout.load()
        >>> decision = router.route("What is 2 + 2?")
        >>> decision.model == (router.strong if decision.win_rate >= decision.threshold else router.weak)
        True
    """
    engine_options: dict[str, Any] = {
        "engine": engine,
        "device": device,
        "threads": threads,
        "device_memory_bytes": device_memory_bytes,
        "tensorrt_cache": tensorrt_cache,
        "max_queue": max_queue,
        "max_batch_rows": max_batch_rows,
        "max_batch_tokens": max_batch_tokens,
        "max_wait_us": max_wait_us,
        "sessions": sessions,
        "index": index,
    }
    pair_options: dict[str, Any] = {
        "strong": strong,
        "weak": weak,
        "threshold": threshold,
        "strong_share": strong_share,
        "tiers": dict(tiers) if tiers else None,
    }
    if pool is None:
        return Router(artifact_folder(path), **pair_options, **engine_options)
    if given := [name for name, value in pair_options.items() if value is not None]:
        raise _core.ConfigError(f"{given[0]} is given together with pool, which has no pair", option=given[0])
    # Imported here: pairs need none of it.
    from turnout.pool.router import PoolRouter

    return PoolRouter(artifact_folder(path), pool, **engine_options)
