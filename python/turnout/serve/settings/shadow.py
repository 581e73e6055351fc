"""Settings of shadow evaluation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from turnout.outcomes.comparison import RUBRIC
from turnout.serve.settings.base import Count, Table


class ShadowSettings(Table):
    """Table ``[shadow]``: a share of requests is also sent to another model after the answer, and a judge compares both answers."""

    #: Share of routed requests; 0 for none.
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    #: Names of ``[models]``, or ``model:effort``; one that did not answer is drawn, each with the same chance.
    models: Annotated[tuple[str, ...], Field(strict=False)] = ()
    #: Name of the model that compares.
    judge: str = ""
    #: What it weighs.
    rubric: Annotated[str, Field(min_length=1, max_length=4_000)] = RUBRIC
    #: What shadow calls and the judge may cost on a day (UTC), in the currency of the prices.
    budget_per_day: Annotated[float, Field(gt=0)] = 1.0
    #: Comparisons at a time, and how many may wait.
    concurrency: Count = 2
    most_waiting: Count = 64
    #: Bytes of one request and its answer, and of all that are kept.
    max_exchange_bytes: Count = 1024 * 1024
    max_bytes: Count = 16 * 1024 * 1024

    @model_validator(mode="after")
    def _check(self) -> ShadowSettings:
        if self.share and not (self.models and self.judge):
            raise ValueError(f"share is {self.share:g}, which needs models and judge")
        if len(set(self.models)) != len(self.models):
            raise ValueError("models has a name twice")
        if self.max_exchange_bytes > self.max_bytes:
            raise ValueError(f"max_exchange_bytes is {self.max_exchange_bytes}, expected at most max_bytes")
        return self
