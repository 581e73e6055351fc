"""The models that a cascade asks, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnout.cascade import Step
from turnout.serve.routers.judges import LoadedCascade

if TYPE_CHECKING:
    from turnout.serve.decisions.snapshot import Model


@dataclass(frozen=True)
class LoadedStep:
    """A model that is asked for an answer."""

    model: Model
    #: Judges its answer; ``None`` for the last step, whose answer is served as it is.
    cascade: LoadedCascade | None = None
    #: Of the prompt, for this model.
    risk: float = 0.0
    #: P(error) up to which its answer is kept.
    limit: float = 1.0


def loaded_steps(
    steps: Iterable[Step], models: Mapping[str, Model], judges: Mapping[str, LoadedCascade]
) -> tuple[LoadedStep, ...]:
    """Steps with their models in place of names.

    Args:
        steps: Of :func:`turnout.cascade.pair_steps` or :func:`turnout.cascade.pool_steps`.
        models: By name.
        judges: By name of the model whose answers they judge.
    """
    return tuple(
        LoadedStep(models[one.model], None if one.judge is None else judges[one.model], one.risk, one.limit)
        for one in steps
    )
