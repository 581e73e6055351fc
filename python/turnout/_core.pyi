"""Types of the extension. The docstrings are those of the Rust code: ``help(turnout.Router)`` shows them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self, disjoint_base

from turnout.errors import (
    ArtifactError,
    ConfigError,
    DeadlineExceededError,
    DeviceError,
    EngineError,
    InferenceError,
    InvalidInputError,
    InvalidTypeError,
    OverloadedError,
    RouterError,
    WorkerStoppedError,
)

__all__ = [
    "DEFAULT_OPTIONS",
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
    "choose_strong",
    "decide",
    "threshold_for_share",
]

__version__: str
DEFAULT_OPTIONS: Mapping[str, Any]

@final
class Decision:
    __match_args__: tuple[str, str, str]
    def __new__(cls, model: str, win_rate: float, threshold: float) -> Self: ...
    @property
    def model(self) -> str: ...
    @property
    def win_rate(self) -> float: ...
    @property
    def threshold(self) -> float: ...
    @property
    def is_strong(self) -> bool: ...
    def to_dict(self) -> dict[str, Any]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Neighbor:
    @property
    def similarity(self) -> float: ...
    @property
    def prompt(self) -> str | None: ...
    @property
    def model_a(self) -> str: ...
    @property
    def model_b(self) -> str: ...
    @property
    def outcome(self) -> str: ...

@final
class Explanation:
    @property
    def decision(self) -> Decision: ...
    @property
    def tokens(self) -> list[str]: ...
    @property
    def ids(self) -> list[int]: ...
    @property
    def logit(self) -> float: ...
    @property
    def raw_win_rate(self) -> float: ...
    @property
    def model_scores(self) -> dict[str, float]: ...
    @property
    def neighbors(self) -> list[Neighbor] | None: ...
    @property
    def tier_ratings(self) -> list[float] | None: ...
    @property
    def is_exact(self) -> bool | None: ...
    @property
    def error(self) -> float | None: ...
    @property
    def stages(self) -> list[tuple[str, int]]: ...
    @property
    def engine(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def artifact_hash(self) -> str: ...

@disjoint_base
class Router:
    def __new__(cls, path: str | PathLike[str], **options: Any) -> Self: ...
    def route(
        self,
        prompt: str | Sequence[Any] | None = None,
        *,
        threshold: float | None = None,
        strong_share: float | None = None,
        embedding: NDArray[np.float32] | None = None,
        deadline_us: int | None = None,
    ) -> Decision: ...
    def route_batch(
        self,
        prompts: Iterable[str],
        *,
        threshold: float | None = None,
        strong_share: float | None = None,
        deadline_us: int | None = None,
    ) -> list[Decision]: ...
    def win_rate(
        self, prompt: str | Sequence[Any] | None = None, *, embedding: NDArray[np.float32] | None = None
    ) -> float: ...
    def win_rates(
        self, prompts: Iterable[str] | None = None, *, embeddings: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]: ...
    def embed(self, prompt: str | Iterable[str]) -> NDArray[np.float32]: ...
    def model_scores(self, prompt: str | Sequence[Any]) -> dict[str, float]: ...
    def _new_battles(
        self,
        ids: NDArray[np.uint64],
        prompts: Sequence[str],
        models_a: Sequence[str],
        models_b: Sequence[str],
        outcomes: NDArray[np.uint8],
        *,
        embeddings: NDArray[np.float32] | None = None,
    ) -> NDArray[np.bool_]: ...
    def append_battles(
        self,
        ids: NDArray[np.uint64],
        prompts: Sequence[str],
        models_a: Sequence[str],
        models_b: Sequence[str],
        outcomes: NDArray[np.uint8],
        *,
        embeddings: NDArray[np.float32] | None = None,
    ) -> int: ...
    def battles(self) -> dict[str, Any]: ...
    def explain(self, prompt: str | Sequence[Any], *, threshold: float | None = None) -> Explanation: ...
    def close(self) -> None: ...
    @staticmethod
    def _prompt(prompt: str | Sequence[Any]) -> str: ...
    def _submit(
        self, prompt: str, callback: Callable[[float | None, Exception | None], object], deadline_us: int | None = None
    ) -> int | None: ...
    def _withdraw(self, request: int) -> None: ...
    def _decide(
        self, win_rate: float, *, threshold: float | None = None, strong_share: float | None = None
    ) -> Decision: ...
    def _options_in_use(self) -> dict[str, Any]: ...
    @property
    def strong(self) -> str: ...
    @property
    def weak(self) -> str: ...
    @property
    def threshold(self) -> float: ...
    @property
    def engine(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def not_native_because(self) -> str | None: ...
    @property
    def is_microseconds(self) -> bool: ...
    @property
    def quantiles(self) -> tuple[float, ...]: ...
    @property
    def models(self) -> list[str]: ...
    @property
    def embedding_dim(self) -> int: ...
    @property
    def artifact_hash(self) -> str: ...
    @property
    def manifest_json(self) -> str: ...

def threshold_for_share(quantiles: Sequence[float], strong_share: float) -> float: ...
def decide(win_rate: float, threshold: float, *, strong: str | None = None, weak: str | None = None) -> Decision: ...
def choose_strong(win_rates: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.bool_]: ...
