"""turnout routes prompts to a strong or a weak language model, or to one of a pool, in microseconds."""

from typing import TYPE_CHECKING, Any

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
    NoFeasibleModelError,
    OverloadedError,
    PoolDecision,
    PoolError,
    RouterError,
    WorkerStoppedError,
    __version__,
    choose_strong,
    decide,
    threshold_for_share,
)
from turnout.budget import BudgetController
from turnout.router import Router, load

if TYPE_CHECKING:
    from turnout.controller import Controller
    from turnout.controller.cascade import Cascade
    from turnout.embeddings.router import with_embeddings
    from turnout.errors import OutcomeConflictError, OutcomesError, RoutingError
    from turnout.pool import Model, Pool, PoolBudget, PoolRouter
    from turnout.registry import register_router

__all__ = [
    "ArtifactError",
    "BudgetController",
    "Cascade",
    "ConfigError",
    "Controller",
    "DeadlineExceededError",
    "Decision",
    "DeviceError",
    "EngineError",
    "Explanation",
    "InferenceError",
    "InvalidInputError",
    "InvalidTypeError",
    "Model",
    "NoFeasibleModelError",
    "OutcomeConflictError",
    "OutcomesError",
    "OverloadedError",
    "Pool",
    "PoolBudget",
    "PoolDecision",
    "PoolError",
    "PoolRouter",
    "Router",
    "RouterError",
    "RoutingError",
    "WorkerStoppedError",
    "__version__",
    "choose_strong",
    "decide",
    "load",
    "register_router",
    "threshold_for_share",
    "with_embeddings",
]

_ON_FIRST_USE = {
    "Cascade": "turnout.controller.cascade",
    "Controller": "turnout.controller",
    "Model": "turnout.pool",
    "OutcomeConflictError": "turnout.errors",
    "OutcomesError": "turnout.errors",
    "Pool": "turnout.pool",
    "PoolBudget": "turnout.pool",
    "PoolRouter": "turnout.pool",
    "RoutingError": "turnout.errors",
    "register_router": "turnout.registry",
    "with_embeddings": "turnout.embeddings.router",
}


def __getattr__(name: str) -> Any:
    """Imports names on first use that routing does not need: they would triple the time that ``import turnout`` takes."""
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = globals()[name] = getattr(importlib.import_module(_ON_FIRST_USE[name]), name)
    return found


def __dir__() -> list[str]:
    """Every public name, also those that are not imported yet."""
    return sorted({*globals(), *__all__})
