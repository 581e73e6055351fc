"""What all tables of ``turnout.toml`` share: the base class and the kinds of numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]


class Table(BaseModel):
    """A table: immutable, no unknown keys, no conversion between types (an integer is a valid float)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())
