"""Settings of outcomes, and of what is watched for changes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from turnout.outcomes.store import MOST
from turnout.serve.settings.base import Count, Table

Signal = Literal["outcomes", "latency", "logprobs", "model"]


class OutcomeSettings(Table):
    """Table ``[outcomes]``: what came of answered requests, from ``POST /v1/outcomes``."""

    #: The database; empty means that no outcomes are kept.
    path: str = ""
    #: Outcomes that it takes.
    most: Count = MOST


class ChangeSettings(Table):
    """Table ``[changes]``: what is watched for changes."""

    #: Signals of each model; none by default.
    watch: Annotated[tuple[Signal, ...], Field(strict=False)] = ()
    #: The mean number of values of a signal of one model until a false alarm, at least.
    mean_values: Annotated[float, Field(ge=10)] = 100_000.0
    #: Whether a reload refuses artifacts, profiles and judges that were learned anew, from a change until it is confirmed.
    pin: bool = False

    @model_validator(mode="after")
    def _check(self) -> ChangeSettings:
        if self.pin and not self.watch:
            raise ValueError("pin waits for changes, and nothing is watched: expected watch")
        return self
