"""Spans through OpenTelemetry, if the configuration turns them on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from turnout.extras import require


class Tracer:
    """Opens spans of the global tracer provider, or none.

    Args:
        is_on: ``[telemetry] otel``.

    Raises:
        ConfigError: It is configured and not installed.
    """

    def __init__(self, is_on: bool) -> None:
        self._tracer: Any = None
        if is_on:
            require("serve", "opentelemetry", purpose="[telemetry] otel")
            from opentelemetry import trace

            self._tracer = trace.get_tracer("turnout.serve")

    def span(self, name: str) -> AbstractContextManager[Any]:
        """A span as a context manager; one that gives ``None`` if tracing is off."""
        return self._tracer.start_as_current_span(name) if self._tracer else nullcontext()
