"""The router as Python sees it: the extension's class, plus what asyncio, pickle and files need."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout import _core
from turnout.engines import engine_cache, faiss_library, onnxruntime_library, preload_cuda
from turnout.shipped import ARTIFACTS, DEFAULT, artifact_folder
from turnout.threads import INLINE_CHARACTERS, BoundedThreads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from turnout._core import Decision
    from turnout.battle_store import BattleStore
    from turnout.battles import Added

#: Folder of the router that ships with the package.
DEFAULT_ARTIFACT = ARTIFACTS / DEFAULT

#: Values of the options where a call gives none; the core writes them.
_DEFAULTS: Mapping[str, Any] = _core.DEFAULT_OPTIONS


class Router(_core.Router):
    """Routes prompts between a strong and a weak model. Immutable, and safe to share between threads.

    Made by :func:`load`. Pickling stores the path and the options, not the weights: the artifact must be there when unpickled.
    """

    _options: dict[str, Any]
    #: Where prompts are decided that would hold an event loop.
    threads: BoundedThreads
    _battle_store: BattleStore | None = None

    def __new__(cls, path: str | Path, **options: Any) -> Router:
        """Opens an artifact folder; see :func:`load`."""
        arguments = dict(options)
        device = str(arguments.get("device") or "cpu")
        if device != "cpu":
            preload_cuda()
        if "tensorrt" in device:
            arguments["tensorrt_cache"] = arguments.get("tensorrt_cache") or engine_cache()
        # ONNX Runtime has sent usage data on Linux since 1.29 unless this is set before it is loaded; its threads also hang the end of a
        # fork.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        router = super().__new__(
            cls, path, **arguments, faiss_library=faiss_library(), onnxruntime_library=onnxruntime_library()
        )
        router._options = {"path": os.path.abspath(path), **options}
        router.threads = BoundedThreads(router.options()["max_queue"])
        if any(os.path.lexists(router.path / name) for name in ("battles.sqlite", "battles.sqlite-wal", "battles.log")):
            # Imported here: most artifacts have none.
            from turnout.battles import read_stored

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
        """:meth:`route` for asyncio; the loop is never held for longer than a decision of microseconds.

        Prompts for a network wait in the same queue as those of threads and share runs with them; one whose task is cancelled
        leaves the queue. Long prompts, whose tokens alone take a while, are decided on a worker thread; ``max_queue`` bounds them too.

        Args:
            prompt: As for :meth:`route`.
            threshold: As for :meth:`route`.
            strong_share: As for :meth:`route`.
            embedding: As for :meth:`route`.
            deadline_us: As for :meth:`route`.

        Returns:
            The decision.

        Raises:
            OverloadedError: As many prompts as ``max_queue`` wait.
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
            # Checked before the prompt is run: a threshold that makes no sense.
            self._decide(0.0, threshold=threshold, strong_share=strong_share)
            win_rate = await self._queued(prompt, deadline_us)
            return self._decide(win_rate, threshold=threshold, strong_share=strong_share)
        called = time.monotonic()

        def route() -> Decision:
            # The time until the thread starts counts.
            passed = int((time.monotonic() - called) * 1e6)
            left = deadline_us if deadline_us is None or deadline_us < 0 else max(deadline_us - passed, 0)
            return self.route(
                prompt, threshold=threshold, strong_share=strong_share, embedding=embedding, deadline_us=left
            )

        return await self.threads.run(route)

    async def _queued(self, prompt: str, deadline_us: int | None) -> float:
        """The win rate of a prompt that waits in the network's queue while the loop goes on."""
        # Imported here: it takes longer than everything else in this package together.
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[float] = loop.create_future()

        def settle(win_rate: float | None, error: Exception | None) -> None:
            if future.done():
                return
            if win_rate is None:
                future.set_exception(error or _core.InferenceError("the run returned no result"))
            else:
                future.set_result(win_rate)

        def tell(win_rate: float | None, error: Exception | None) -> None:
            # On another thread. The loop may have been closed in the meantime.
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, win_rate, error)

        place = self._submit(prompt, tell, deadline_us)
        try:
            return await asyncio.wait_for(future, None if deadline_us is None else deadline_us / 1e6)
        except asyncio.TimeoutError as error:
            raise _core.DeadlineExceededError("the deadline passed before the prompt could be run") from error
        finally:
            if place is not None and (future.cancelled() or not future.done()):
                self._withdraw(place)

    def add_battles(self, table: Any, *, embeddings: NDArray[np.float32] | None = None) -> Added:
        """Adds feedback to a router of kind ``sw_ranking``; it counts from the next decision on, in every thread.

        The battles are in a database in the artifact folder (``battles.sqlite``) before this returns, so they survive a crash and
        are there when the artifact is loaded again. Ratings and tiers stay until ``turnout battles compact`` folds them in.

        Args:
            table: Path of a Parquet, CSV or JSON-lines file, a list of dicts, or an Arrow table, with the columns ``prompt,
                model_a, model_b, winner`` (``"model_a"``, ``"model_b"`` or ``"tie"``) or those of arena-55k. A column ``id`` tells
                battles apart; without one, equal battles of one call are told apart by their order, and the same call
                again adds nothing.
            embeddings: One a row, float32 ``[rows, dim]``, for a router that takes embeddings from the caller.

        Returns:
            How many were added, known before, or too short to learn from.

        Raises:
            InvalidInputError: A row is no battle, or names a model that the router does not know: then nothing is added, and the
                message has the rows' numbers. Or the router is of another kind.
            InvalidTypeError: The table is no table.
            ArtifactError: The database cannot be written or is damaged, or the artifact was compacted since it was loaded.
            OverloadedError: Another process is adding battles or compacting, for longer than ten seconds.
            InferenceError: The router was loaded before a fork: load it again in the child.
        """
        # Imported here: routing needs none of it.
        from turnout.battles import add_battles

        return add_battles(self, table, embeddings)

    def options(self) -> dict[str, Any]:
        """How the router runs: every option of :func:`load` with the value that holds, defaults included.

        Returns:
            A dictionary that ``turnout.load(router.path, **router.options())`` takes for an equal router. ``threshold`` is the value
            that ``strong_share`` named, if it did.

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
        """:meth:`add_battles` of columns.

        Args:
            ids: uint64 ``[n]``, numbers that tell battles apart.
            prompts: Texts.
            models_a: Names.
            models_b: Names.
            outcomes: uint8 ``[n]``: 0 where model a won, 1 where model b did, 2 for a tie.
            embeddings: float32 ``[n, dim]``, for a router that takes embeddings from the caller.

        Returns:
            How many were new.

        Raises:
            InvalidInputError: A column has another length, or a row is not a battle of the router's models: nothing is added.
            ArtifactError: As for :meth:`add_battles`.
        """
        from turnout.battles import append

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


def load(
    path: str | Path | None = None,
    *,
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
) -> Router:
    """Loads a router.

    Args:
        path: Artifact folder, or the name of a router that ships with the package: ``"mf"``, the default, ``"sw_ranking"`` or
            ``"bert"``. A folder of that name comes first. Nothing is downloaded.
        strong: Name of the strong model; by default the artifact's. A name that the artifact knows (``router.models``) is that
            model, and its own scores count. A name that it does not know is a label for the strong model of the trained pair. The rule
            is the same in the Controller and the server, and holds for each of the two names. Routers transfer to other pairs of unequal
            models (arXiv 2406.18665, section 5.2), but the calibration was fitted for the trained pair: choose the threshold on prompts
            of your own.
        weak: Name of the weak model, likewise.
        threshold: Win rate in ``[0, 1]`` from which the strong model is chosen; by default the artifact's.
        strong_share: In place of a threshold, the share of prompts in ``[0, 1]`` that goes to the strong model, by the quantiles
            that the artifact stores of its calibration prompts. They hold for the trained pair and labels of it; for another pair a
            share is an error.
        engine: ``"auto"`` runs graphs that the core knows natively and others in ONNX Runtime; ``"native"`` and
            ``"onnxruntime"`` insist.
        device: ``"cpu"``, ``"cuda:N"`` or ``"tensorrt:N"``; several GPUs with commas between (``"cuda:0,cuda:1"``) serve one
            queue. There is no fallback.
        threads: Threads for a batch; 0 means as many as the machine has.
        device_memory_bytes: Memory that ONNX Runtime may take on each GPU; by default as much as it finds. An error on the CPU.
        tensorrt_cache: Folder in which TensorRT keeps the engines that it builds for ``"tensorrt:N"``, by artifact; by default
            ``turnout/tensorrt`` in the user's cache folder. Whoever can write there can run code in this process.
        max_queue: Prompts that may wait before a network; one more is refused with ``OverloadedError``, and so is a batch; one that
            comes before may wait beside them, in parts. This and what follows is for graphs that run in ONNX Runtime; others never
            wait.
        max_batch_rows: Prompts that one run of a network may hold.
        max_batch_tokens: Tokens that one run may hold, padding included, on a GPU also that of rounded shapes.
        max_wait_us: How long a free session waits for more prompts of similar length before it runs; others that are free leave them
            to it. Zero is best on a CPU.
        sessions: Sessions of ONNX Runtime beside each other on the CPU, which share the threads; each holds the weights. More of them
            serve more callers at once, one serves a lone caller sooner. 0 is one, or up to eight of a network below 32 MiB.
        tiers: For routers of kind ``sw_ranking`` only: tiers of the two models, 0 the strongest, in place of their own. Two names with
            tiers route between any two tiers.
        index: For routers of kind ``sw_ranking`` only: where the battles nearest to a prompt are looked for. By default in the artifact's
            own index if it has one; ``"exact"`` looks at every battle; otherwise a FAISS index over the artifact's prompts in
            their order, as a path or as a live ``faiss.Index``, on the CPU or a GPU, that nobody changes meanwhile.

    Returns:
        A router.

    Raises:
        ArtifactError: The folder is missing, damaged or of another version.
        ConfigError: An option that this kind of router or this device does not have, or a value that makes no sense for it.
        InvalidInputError: The threshold or share is not in ``[0, 1]``, both are given, or the artifact has no quantiles for the pair.
        InvalidTypeError: An option of another type; ``threshold=True`` is one.
        DeviceError: The device is unavailable.
        EngineError: The graph needs ONNX Runtime, or the index FAISS, and it is not installed or refused to load.

    Example:
        >>> import turnout
        >>> router = turnout.load(threshold=0.5)
        >>> decision = router.route("What is 2 + 2?")
        >>> decision.model == (router.strong if decision.win_rate >= 0.5 else router.weak)
        True
    """
    return Router(
        artifact_folder(path),
        strong=strong,
        weak=weak,
        threshold=threshold,
        strong_share=strong_share,
        engine=engine,
        device=device,
        threads=threads,
        device_memory_bytes=device_memory_bytes,
        tensorrt_cache=tensorrt_cache,
        max_queue=max_queue,
        max_batch_rows=max_batch_rows,
        max_batch_tokens=max_batch_tokens,
        max_wait_us=max_wait_us,
        sessions=sessions,
        tiers=dict(tiers) if tiers else None,
        index=index,
    )
