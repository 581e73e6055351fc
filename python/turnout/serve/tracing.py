"""Spans through OpenTelemetry, if the configuration turns them on. Calls of models follow its conventions for generative AI (``gen_ai.*``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from turnout.extras import require

if TYPE_CHECKING:
    from turnout.serve.decisions.attempts import Served
    from turnout.serve.decisions.planning import Plan
    from turnout.serve.decisions.snapshot import Model
    from turnout.serve.dialects import Dialect

#: ``gen_ai.provider.name`` by the end of an upstream's host; of others it is the upstream's name in the configuration.
_PROVIDERS = {
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.openai.com": "openai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
}


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

    @contextmanager
    def request(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[None]:
        """The trace of a client's request, as its headers ``traceparent`` and ``tracestate`` name it. Spans inside belong to it.

        Args:
            headers: Of the request, names in lower case.
        """
        if self._tracer is None:
            yield
            return
        from opentelemetry import context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        token = context.attach(TraceContextTextMapPropagator().extract(sent))
        try:
            yield
        finally:
            context.detach(token)

    @contextmanager
    def deciding(self) -> Iterator[DecisionSpan]:
        """The span of a decision, ``turnout.decide``."""
        if self._tracer is None:
            yield DecisionSpan(None)
            return
        with self._tracer.start_as_current_span("turnout.decide") as span:
            yield DecisionSpan(span)

    @contextmanager
    def calling(self, plan: Plan, dialect: Dialect, headers: MutableMapping[str, str]) -> Iterator[CallSpan]:
        """The span of a call, named by its operation and its model.

        Args:
            plan: Who may answer.
            dialect: Of the request.
            headers: That the upstream gets; those of the trace are set to this span.
        """
        if self._tracer is None:
            yield CallSpan(None)
            return
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        model = plan.candidates[0]
        name = f"{dialect.operation} {model.upstream_name}"
        attributes = {"gen_ai.operation.name": dialect.operation, **_model_attributes(model)}
        with self._tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes) as span:
            # Nothing but the trace: what else a client has in its context, such as baggage, is not for the upstream.
            TraceContextTextMapPropagator().inject(headers)
            yield CallSpan(span)


class DecisionSpan:
    """Attributes of a decision.

    Args:
        span: OpenTelemetry's; ``None`` where tracing is off.
    """

    def __init__(self, span: Any) -> None:
        self._span = span

    def decided(self, plan: Plan) -> None:
        """Tells the decision; of a plain name or a rule the rule and the model.

        Args:
            plan: What was decided.
        """
        if self._span is None:
            return
        if plan.rule:
            self._span.set_attribute("turnout.rule", plan.rule)
        if plan.routed is None:
            self._span.set_attribute("turnout.model", plan.candidates[0].name)
            return
        self._span.set_attribute("turnout.router", plan.routed.router.name)
        self._span.set_attributes(plan.routed.attributes())
        self._span.set_attribute("turnout.model", plan.routed.chosen.name)


class CallSpan:
    """Attributes of a call.

    Args:
        span: OpenTelemetry's; ``None`` where tracing is off.
    """

    def __init__(self, span: Any) -> None:
        self._span = span

    def answered(self, served: Served) -> None:
        """Tells who answered, and what the answer says of itself. Of a stream this is known at its end.

        Args:
            served: The answer, after it was relayed.
        """
        if self._span is None:
            return
        answer, found = served.answer, _model_attributes(served.model)
        if served.fallback_reason:
            found["turnout.fallback"] = served.fallback_reason
        if answer.model:
            found["gen_ai.response.model"] = answer.model
        for name, tokens in answer.usage._asdict().items():
            if tokens is not None:
                found[f"gen_ai.usage.{name}"] = tokens
        self._span.set_attributes(found)
        if answer.failure:
            self.failed(answer.failure)

    def failed(self, reason: str) -> None:
        """Marks the call as failed.

        Args:
            reason: ``error.type``: a status, or a reason of :class:`~turnout.serve.upstreams.error.UpstreamError`.
        """
        if self._span is None:
            return
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("error.type", reason)
        self._span.set_status(Status(StatusCode.ERROR))


def _model_attributes(model: Model) -> dict[str, str | int]:
    url = model.upstream.url
    host = url.host or ""
    known = (name for end, name in _PROVIDERS.items() if host == end or host.endswith(f".{end}"))
    return {
        "gen_ai.provider.name": next(known, model.upstream.name),
        "gen_ai.request.model": model.upstream_name,
        "server.address": host,
        "server.port": url.port or 0,
        "turnout.model": model.name,
    }
