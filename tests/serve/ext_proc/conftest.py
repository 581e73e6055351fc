"""Services for gateways on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.serve.ext_proc.gateway import Gateway


@pytest.fixture
def gateway(tables: dict[str, Any]) -> Iterator[Callable[..., Gateway]]:
    """Starts services whose models speak every dialect, with tables added."""
    running: list[Gateway] = []

    def begin(**added: dict[str, Any]) -> Gateway:
        for model in tables["models"].values():
            model["dialects"] = ["chat", "messages", "responses"]
        merged = {**tables, **{name: {**tables.get(name, {}), **table} for name, table in added.items()}}
        running.append(Gateway(merged))
        return running[-1]

    yield begin
    for one in running:
        one.close()
