"""Settings of the service for gateways, ``turnout ext-proc``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, model_validator

from turnout.serve.settings.base import Count, Seconds, Table

#: Names that gateways let a processor set, in the lower case of HTTP/2.
_HEADER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_TAKEN = frozenset(
    "authorization connection content-encoding content-length host te transfer-encoding x-api-key".split()
)


class ExtProcSettings(Table):
    """Table ``[ext_proc]``. All keys keep their values until a restart."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 6062
    #: The header of the gateway's request that names the model.
    model_header: str = "x-turnout-model"
    #: Whether ``model`` in the body becomes what the model's upstream calls it.
    rewrite_body: bool = True
    #: Milliseconds after which a request goes on without a decision.
    deadline_ms: Annotated[float, Field(gt=0)] = 100.0
    #: Exchanges at a time, one a request of the gateway; further ones are refused (``RESOURCE_EXHAUSTED``).
    max_exchanges: Count = 10_000
    #: Seconds until the body of a request must be complete where it is held; then it goes on without a decision.
    body_timeout_s: Seconds = 30.0

    @model_validator(mode="after")
    def _check(self) -> ExtProcSettings:
        if not _HEADER_NAME.fullmatch(self.model_header) or self.model_header in _TAKEN:
            raise ValueError(f"model_header is {self.model_header!r}, expected the name of a header, in lower case")
        return self
