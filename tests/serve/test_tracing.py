"""Spans of a request."""

from __future__ import annotations

import time


def test_spans_are_opened_where_opentelemetry_is_asked_for(start):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    server = start(telemetry={"otel": True})
    server.post({"model": "router-mf-1", "messages": [{"role": "user", "content": "Hello!"}]})
    until = time.monotonic() + 10
    while len(exporter.get_finished_spans()) < 2:  # The client has its answer a moment before the span ends.
        assert time.monotonic() < until
        time.sleep(0.01)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"turnout.decide", "turnout.answer"}
    assert spans["turnout.decide"].attributes["turnout.model"] == "small"
