"""Settings of outcomes, and of what is watched for changes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

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
