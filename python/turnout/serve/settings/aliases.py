"""Settings of model names that stand for routers or other names."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from turnout.serve.settings.base import Table

Unit = Annotated[float, Field(ge=0, le=1)]


class Cut(Table):
    """A threshold, or the share of strong calls in its place."""

    threshold: Unit | None = None
    strong_share: Unit | None = None

    @model_validator(mode="after")
    def _check(self) -> Cut:
        if self.threshold is not None and self.strong_share is not None:
            raise ValueError("both threshold and strong_share are set, expected one")
        return self


class AliasSettings(Cut):
    """Table ``[aliases.NAME]``: a model name that clients may use in place of ``router-...``, or a pattern of such names.

    A text in place of the table is another name that it stands for: ``"claude-*" = "router-mf"``.
    """

    router: str = ""
    #: Empty means the model of ``[pair]``.
    strong: str = ""
    weak: str = ""
    #: A name such as ``router-mf-0.5``, of a model, or of an alias with a router, in place of ``router``.
    model: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, found: Any) -> Any:
        return {"model": found} if isinstance(found, str) else found

    @model_validator(mode="after")
    def _check_target(self) -> AliasSettings:
        if bool(self.router) == bool(self.model):
            raise ValueError("expected either router or model")
        if self.model and (self.strong or self.weak or self.threshold is not None or self.strong_share is not None):
            raise ValueError("model stands for another name, expected no other key")
        return self
