"""Settings of a pool: what the core does not know of it, and how its errors name the tables of ``turnout.toml``.

The fields of models, objectives and limits are the core's (``docs/pools.md``): it reads and checks them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from turnout._core import PoolError, check_pool
from turnout.pool.model import Effort
from turnout.serve.settings.base import Table

#: Fields of a model, and of its efforts, that the core reads. ``capabilities`` is the upstream's field too.
MODEL_FIELDS = frozenset(one.name for one in fields(Effort)) | {"efforts"}
Positive = Annotated[float, Field(gt=0)]
#: Field of an effort that is the server's: what is added to the body of a request.
BODY = "body"


class BudgetSettings(Table):
    """Table ``[pool.budget]``: arguments of :class:`turnout.PoolBudget`; exactly one of the first three."""

    cost: Positive | None = None
    co2_grams: Positive | None = None
    p95_latency_ms: Positive | None = None
    #: ``minute``, ``hour``, ``day`` or seconds.
    per: Literal["minute", "hour", "day"] | Positive = "hour"
    horizon: Annotated[float, Field(gt=0, le=1)] = 0.01
    #: File of the state; empty: it starts anew with the server.
    path: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of :class:`turnout.PoolBudget`."""
        return {**self.model_dump(), "path": self.path or None}

    @model_validator(mode="after")
    def _check(self) -> BudgetSettings:
        if sum(one is not None for one in (self.cost, self.co2_grams, self.p95_latency_ms)) != 1:
            raise ValueError("expected exactly one of cost, co2_grams and p95_latency_ms")
        return self


class PoolSettings(Table):
    """Table ``[pool]``: defaults of a pool of ``[models]``, as in ``pool.toml``."""

    currency: str = "USD"
    objective: Any = None
    limits: Any = None
    fallback: Any = None
    #: Names of ``[models]``; absent: all.
    models: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None
    #: Names of ``[routers]`` whose plain name, ``router-NAME``, chooses from the pool; absent: all. They must be artifacts.
    routers: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] | None = None

    #: A limit on what all requests use together, in place of an objective.
    budget: BudgetSettings | None = None

    @model_validator(mode="after")
    def _check(self) -> PoolSettings:
        if self.budget is not None and self.objective is not None:
            raise ValueError("both objective and budget are set, expected one")
        return self

    def values(self, models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The pool as plain values for the core.

        Args:
            models: Fields of each model by name.
        """
        # A budget says itself which fields it needs of every model.
        objective = {"tolerance": 0} if self.budget is not None else self.objective
        given = {"objective": objective, "limits": self.limits, "fallback": self.fallback}
        names = models if self.models is None else self.models
        return {
            "currency": self.currency,
            **{name: value for name, value in given.items() if value is not None},
            "models": {name: dict(models[name]) for name in names},
        }


def core_fields(extra: Mapping[str, Any], capabilities: Iterable[str] | None) -> dict[str, Any]:
    """The fields of a model that the core reads.

    Args:
        extra: Of the model's table, without the upstream's keys.
        capabilities: Of the model's table.
    """
    found = {name: value for name, value in extra.items() if name != "efforts"}
    if capabilities is not None:
        found["capabilities"] = list(capabilities)
    efforts = extra.get("efforts")
    if isinstance(efforts, Mapping):
        found["efforts"] = {
            name: {key: value for key, value in one.items() if key != BODY} if isinstance(one, Mapping) else one
            for name, one in efforts.items()
        }
    elif efforts is not None:
        found["efforts"] = efforts
    return found


def check_values(values: Mapping[str, Any]) -> None:
    """Checks a pool.

    Args:
        values: Of :meth:`PoolSettings.values`.

    Raises:
        ValueError: Something is wrong; the message has the table.
    """
    try:
        check_pool(values)
    except PoolError as error:
        raise ValueError(placed(error, values["models"])) from None


def placed(error: PoolError, models: Collection[str]) -> str:
    """The message of an error of the core, with the place as ``turnout.toml`` writes it.

    Args:
        error: The error.
        models: Names of the models.

    Example:
        >>> placed(PoolError("models.gpt-5.5.success: 2, expected a number in 0..=1", field="models.gpt-5.5.success"), ["gpt-5.5"])
        '[models.gpt-5.5] success: 2, expected a number in 0..=1'
    """
    field = error.field or ""
    message = str(error).removeprefix(field).removeprefix(": ")
    for name in sorted(models, key=len, reverse=True):
        place = f"models.{name}"
        if field == place or field.startswith(f"{place}."):
            rest = field[len(place) + 1 :]
            return f"[{place}] {rest}: {message}" if rest else f"[{place}] {message}"
    return f"[pool] {field}: {message}" if field else f"[pool] {message}"
