"""turnout routes prompts to a strong or a weak language model in microseconds."""

from turnout._core import (
    ArtifactError,
    ConfigError,
    Decision,
    DeviceError,
    EngineError,
    Explanation,
    InferenceError,
    InvalidInputError,
    InvalidTypeError,
    RouterError,
    __version__,
)
from turnout.budget import BudgetController
from turnout.controller import Controller
from turnout.embedding_router import with_embeddings
from turnout.router import Router, load
from turnout.routing import RoutingError, register_router

__all__ = [
    "ArtifactError",
    "BudgetController",
    "ConfigError",
    "Controller",
    "Decision",
    "DeviceError",
    "EngineError",
    "Explanation",
    "InferenceError",
    "InvalidInputError",
    "InvalidTypeError",
    "Router",
    "RouterError",
    "RoutingError",
    "__version__",
    "load",
    "register_router",
    "with_embeddings",
]
