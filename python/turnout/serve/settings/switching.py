"""Settings of changes of a conversation's model between turns."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from turnout.serve.settings.base import Seconds, Table


class SwitchingSettings(Table):
    """Table ``[switching]``: whether the model of a conversation changes at a new turn. Costs are in the currency of the models' prices."""

    #: What a wrong answer costs; 0: each turn goes to the model that is decided for.
    error_cost: Annotated[float, Field(ge=0)] = 0.0
    #: What a change costs besides the cache: the new model reads the conversation as another one wrote it.
    hand_over_cost: Annotated[float, Field(ge=0)] = 0.0
    #: How long providers keep a prompt after its last use.
    cache_s: Seconds = 300.0
