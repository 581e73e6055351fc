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
        # A loaded machine is no late decision, where a test does not ask for a deadline.
        added = {**added, "ext_proc": {"deadline_ms": 60_000.0, **added.get("ext_proc", {})}}
        merged = {**tables, **{name: {**tables.get(name, {}), **table} for name, table in added.items()}}
        running.append(Gateway(merged))
        return running[-1]

    yield begin
    for one in running:
        one.close()
