"""Types of the extension; ``turnout.Router`` adds what asyncio, pickle and files need."""

from collections.abc import Callable, Iterable
from os import PathLike
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self, disjoint_base

__all__ = [
    "ArtifactError",
    "ConfigError",
    "DeadlineExceededError",
    "Decision",
    "DeviceError",
    "EngineError",
    "Explanation",
    "InferenceError",
    "InvalidInputError",
    "InvalidTypeError",
    "Neighbor",
    "OverloadedError",
    "Router",
    "RouterError",
    "WorkerStoppedError",
    "__version__",
]

__version__: str

class RouterError(Exception):
    """Base class of everything that turnout raises on purpose."""

class InvalidInputError(RouterError, ValueError):
    """A prompt, an embedding or a threshold that cannot be routed with."""

class InvalidTypeError(RouterError, TypeError):
    """An argument of the wrong type."""

class ConfigError(RouterError, ValueError):
    """An option that does not fit this artifact or machine."""

class ArtifactError(RouterError):
    """A model folder that is missing, damaged, hostile or of another version; names the file and the field."""

class DeviceError(RouterError):
    """The device asked for cannot be had."""

class EngineError(RouterError):
    """An engine library is missing, too old or refused to load."""

class InferenceError(RouterError):
    """The engine failed while running a model."""

class OverloadedError(RouterError):
    """More prompts wait than the queue holds; try again later."""

class DeadlineExceededError(RouterError, TimeoutError):
    """The deadline of the call passed before its prompt could be run."""

class WorkerStoppedError(RouterError):
    """The session stopped while the prompt waited or ran: the router was closed, or a run panicked."""

@final
class Decision:
    """What was decided for one prompt. Frozen."""

    __match_args__: tuple[str, str, str]
    def __new__(cls, model: str, win_rate: float, threshold: float) -> Self:
        """For pickling and for tests of code that takes decisions; routers make their own."""
    @property
    def model(self) -> str:
        """Name of the chosen model."""
    @property
    def win_rate(self) -> float:
        """Chance in ``[0, 1]`` that the strong model's answer is preferred."""
    @property
    def threshold(self) -> float:
        """The threshold that was applied: the strong model is chosen when ``win_rate >= threshold``."""
    @property
    def is_strong(self) -> bool:
        """Whether the strong model was chosen."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Neighbor:
    """A battle over a prompt like the one that was explained. Frozen."""

    @property
    def similarity(self) -> float:
        """Cosine of the two prompts' embeddings."""
    @property
    def prompt(self) -> str | None:
        """The battle's prompt, at most 200 characters, where the artifact keeps texts."""
    @property
    def model_a(self) -> str:
        """Name of the model on one side."""
    @property
    def model_b(self) -> str:
        """Name of the model on the other side."""
    @property
    def outcome(self) -> str:
        """``"model_a"``, ``"model_b"`` or ``"tie"``: who won."""

@final
class Explanation:
    """One decision, taken apart. Frozen."""

    @property
    def decision(self) -> Decision:
        """What was decided."""
    @property
    def tokens(self) -> list[str]:
        """Texts of the tokens that the model saw."""
    @property
    def ids(self) -> list[int]:
        """Ids of the tokens."""
    @property
    def logit(self) -> float:
        """Score of the strong model minus score of the weak one, before calibration."""
    @property
    def raw_win_rate(self) -> float:
        """Win rate before calibration."""
    @property
    def model_scores(self) -> list[tuple[str, float]]:
        """Every model of the artifact with its score."""
    @property
    def neighbors(self) -> list[Neighbor] | None:
        """The battles nearest to the prompt, nearest first, in routers of kind ``sw_ranking``; at most twenty."""
    @property
    def tier_ratings(self) -> list[float] | None:
        """Elo ratings of the tiers for this prompt, centred at 1000, in routers of kind ``sw_ranking``."""
    @property
    def is_exact(self) -> bool | None:
        """Whether every battle was looked at, in routers of kind ``sw_ranking``."""
    @property
    def error(self) -> float | None:
        """99th percentile of the distance from exact win rates, as measured when the index was built; ``None`` if exact or unknown."""
    @property
    def stages(self) -> list[tuple[str, int]]:
        """Steps with the nanoseconds they took, caches warm."""
    @property
    def engine(self) -> str:
        """``"native"`` or ``"onnxruntime"``."""
    @property
    def device(self) -> str:
        """Where the graph ran."""
    @property
    def artifact_hash(self) -> str:
        """SHA-256 of the artifact's manifest, which holds the hashes of its files."""

@disjoint_base
class Router:
    """Routes prompts between two models; see ``turnout.load``."""

    def __new__(
        cls,
        path: str | PathLike[str],
        *,
        strong: str | None = None,
        weak: str | None = None,
        threshold: float | None = None,
        strong_share: float | None = None,
        engine: str = "auto",
        device: str = "cpu",
        threads: int = 0,
        device_memory_bytes: int | None = None,
        cuda_graphs: bool = False,
        tensorrt_cache: str | PathLike[str] | None = None,
        max_queue: int = 1024,
        max_batch_rows: int = 64,
        max_batch_tokens: int = 16_384,
        max_wait_us: int = 0,
        sessions: int = 0,
        tiers: dict[str, int] = ...,
        index: str | PathLike[str] | tuple[int, object, bool] | None = None,
        faiss_library: str | PathLike[str] | None = None,
        onnxruntime_library: str | PathLike[str] | None = None,
    ) -> Self: ...
    def route(
        self,
        prompt: str | None = None,
        *,
        threshold: float | None = None,
        strong_share: float | None = None,
        embedding: NDArray[np.float32] | None = None,
        deadline_us: int | None = None,
    ) -> Decision:
        """Decides one prompt, or one embedding (C-contiguous float32 ``[dim]``, not copied).

        ``strong_share`` stands in place of ``threshold``: the threshold at which that share of the artifact's calibration
        prompts goes to the strong model. Your prompts differ from those; ``turnout calibrate --save`` stores yours.
        ``deadline_us`` gives up a prompt that a busy network cannot begin to run within so many microseconds.

        Raises:
            OverloadedError: More prompts wait before the network than ``max_queue``.
            DeadlineExceededError: The deadline passed.
            WorkerStoppedError: The router was closed.
            InvalidInputError: A threshold or share outside ``[0, 1]``, or both; a share without stored quantiles; a prompt without
                a UTF-8 form (lone surrogates); an embedding of the wrong length or with numbers that are not finite.
            InvalidTypeError: A prompt that is no ``str``, an embedding that is no float32 array, both or neither.
        """
    def route_batch(
        self,
        prompts: Iterable[str],
        *,
        threshold: float | None = None,
        strong_share: float | None = None,
        deadline_us: int | None = None,
    ) -> list[Decision]:
        """Decides many prompts in one crossing, on all threads, in their order; the deadline is for all of them together.

        Raises:
            InvalidInputError: As :meth:`route`, naming the prompt's place.
            InvalidTypeError: As :meth:`route`, naming the prompt's place.
        """
    def win_rate(self, prompt: str | None = None, *, embedding: NDArray[np.float32] | None = None) -> float:
        """Chance in ``[0, 1]`` that the strong model's answer is preferred. Raises as :meth:`route`."""
    def win_rates(
        self, prompts: Iterable[str] | None = None, *, embeddings: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Win rates float32 ``[n]`` of prompts, or of embeddings (C-contiguous float32 ``[n, dim]``, not copied)."""
    def embed(self, prompt: str) -> NDArray[np.float32]:
        """The artifact's embedding of a prompt, float32 ``[dim]``, as ``route(embedding=...)`` takes it."""
    def model_scores(self, prompt: str) -> list[tuple[str, float]]:
        """Every model of the artifact with its matrix factorisation score (arXiv 2406.18665, section 4.2), or with the strength of
        its tier; empty where the
        router scores its pair as a whole."""
    def append_battles(
        self,
        ids: NDArray[np.uint64],
        prompts: Iterable[str],
        models_a: Iterable[str],
        models_b: Iterable[str],
        outcomes: NDArray[np.uint8],
        *,
        embeddings: NDArray[np.float32] | None = None,
    ) -> int:
        """Logs battles beside the artifact and makes them count; ``turnout.Router.add_battles`` takes tables.

        Args:
            ids: uint64 ``[n]``; ids that are known are ignored.
            prompts: One a battle.
            models_a: Names of the models on one side.
            models_b: Names of the models on the other side.
            outcomes: uint8 ``[n]``: 0 where model a won, 1 where model b did, 2 for a tie.
            embeddings: float32 ``[n, dim]`` in place of the router's own; a router without an encoder needs them.

        Returns:
            How many were new.

        Raises:
            InvalidInputError: A row is wrong (nothing is added then), or the router is of another kind.
            ArtifactError: The log cannot be written, or the artifact was compacted since it was loaded.
        """
    def battles(self) -> dict[str, Any]:
        """Every battle of a router of kind ``sw_ranking``, added ones included: the tensors of ``battles.safetensors`` with
        ``vectors`` as float32 ``[prompts, dim]``, and ``prompts``, a list of texts or ``None``.

        Raises:
            InvalidInputError: The router is of another kind.
        """
    def explain(self, prompt: str, *, threshold: float | None = None) -> Explanation:
        """Decides one prompt and tells everything on the way: tokens, scores, stages with nanoseconds."""
    def close(self) -> None:
        """Ends the queue before a network: whoever waits, and whoever comes later, gets ``WorkerStoppedError``."""
    def _submit(
        self, prompt: str, callback: Callable[[float | None, Exception | None], object], deadline_us: int | None = None
    ) -> int | None: ...
    def _withdraw(self, place: int) -> None: ...
    def _decide(
        self, win_rate: float, *, threshold: float | None = None, strong_share: float | None = None
    ) -> Decision: ...
    @property
    def strong(self) -> str:
        """Name of the strong model."""
    @property
    def weak(self) -> str:
        """Name of the weak model."""
    @property
    def threshold(self) -> float:
        """Threshold used where a call names none."""
    @property
    def engine(self) -> str:
        """``"native"`` or ``"onnxruntime"``."""
    @property
    def device(self) -> str:
        """``"cpu"``, ``"cuda:N"`` or ``"tensorrt:N"``, or several GPUs with commas between."""
    @property
    def not_native_because(self) -> str | None:
        """Why the core does not run the graph natively, if it does not."""
    @property
    def is_microseconds(self) -> bool:
        """Whether a decision takes microseconds and never waits."""
    @property
    def models(self) -> list[str]:
        """Models that the artifact knows."""
    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
    @property
    def artifact_hash(self) -> str:
        """SHA-256 of the artifact's manifest."""
    @property
    def manifest_json(self) -> str:
        """The manifest as it stands in the file."""
