"""Spans through OpenTelemetry, where the configuration asks for them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from turnout.extras import require


class Tracer:
    """Opens spans of the global tracer provider; without OpenTelemetry asked for, nothing.

    Args:
        is_on: ``[telemetry] otel``.

    Raises:
        ConfigError: It is asked for and not installed.
    """

    def __init__(self, is_on: bool) -> None:
        self._tracer: Any = None
        if is_on:
            require("serve", "opentelemetry", purpose="[telemetry] otel")
            from opentelemetry import trace

            self._tracer = trace.get_tracer("turnout.serve")

    def span(self, name: str) -> AbstractContextManager[Any]:
        """A span, or nothing: ``None`` on entering then."""
        return self._tracer.start_as_current_span(name) if self._tracer else nullcontext()
