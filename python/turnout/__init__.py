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
from turnout.router import Router, load

__all__ = [
    "ArtifactError",
    "ConfigError",
    "Decision",
    "DeviceError",
    "EngineError",
    "Explanation",
    "InferenceError",
    "InvalidInputError",
    "InvalidTypeError",
    "Router",
    "RouterError",
    "__version__",
    "load",
]
