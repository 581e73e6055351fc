"""turnout routes prompts to a strong or a weak language model in microseconds."""

from turnout._core import (
    ArtifactError,
    ConfigError,
    DeadlineExceededError,
    Decision,
    DeviceError,
    EngineError,
    Explanation,
    InferenceError,
    InvalidInputError,
    InvalidTypeError,
    OverloadedError,
    RouterError,
    WorkerStoppedError,
    __version__,
)
from turnout.budget import BudgetController
from turnout.embedding_router import with_embeddings
from turnout.router import Router, load

__all__ = [
    "ArtifactError",
    "BudgetController",
    "ConfigError",
    "DeadlineExceededError",
    "Decision",
    "DeviceError",
    "EngineError",
    "Explanation",
    "InferenceError",
    "InvalidInputError",
    "InvalidTypeError",
    "OverloadedError",
    "Router",
    "RouterError",
    "WorkerStoppedError",
    "__version__",
    "load",
    "with_embeddings",
]
