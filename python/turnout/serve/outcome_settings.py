"""Settings of outcomes."""

from __future__ import annotations

from turnout.outcomes.store import MOST
from turnout.serve.table import Count, Table


class OutcomeSettings(Table):
    """Table ``[outcomes]``: what came of answered requests, from ``POST /v1/outcomes``."""

    #: The database; empty means that no outcomes are kept.
    path: str = ""
    #: Outcomes that it takes.
    most: Count = MOST
