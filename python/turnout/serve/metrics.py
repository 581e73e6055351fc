"""What Prometheus scrapes. Labels come from the configuration, never from a request, so their number is bounded."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_MICROSECONDS = (1e-6, 2e-6, 5e-6, 10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 50e-3, 0.25)
_UPSTREAM = (50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 5e-3, 25e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """The metrics of one server, in a separate registry.

    Args:
        group: Folder in which the workers of a server keep them, ``PROMETHEUS_MULTIPROC_DIR``; ``None`` for the only process.
    """

    def __init__(self, group: Path | None = None) -> None:
        self._group = group
        registry = self.registry = CollectorRegistry()
        self.requests = Counter("turnout_requests", "Requests answered.", ["endpoint", "status"], registry=registry)
        self.decisions = Counter(
            "turnout_decisions", "Decisions by chosen model.", ["router", "model"], registry=registry
        )
        self.decision_seconds = Histogram(
            "turnout_decision_seconds", "Time to decide.", ["router"], buckets=_MICROSECONDS, registry=registry
        )
        self.win_rate = Histogram(
            "turnout_win_rate",
            "Win rates of routed prompts.",
            ["router"],
            buckets=[step / 20 for step in range(1, 21)],
            registry=registry,
        )
        self.success = Histogram(
            "turnout_success",
            "Chances of success of the models that pools chose.",
            ["router"],
            buckets=[step / 20 for step in range(1, 21)],
            registry=registry,
        )
        self.expected_cost = Counter(
            "turnout_expected_cost",
            "Expected cost of decisions of pools, in the pool's currency.",
            ["router", "model"],
            registry=registry,
        )
        self.excluded = Counter(
            "turnout_excluded",
            "Decisions of pools for which a model was excluded, by reason.",
            ["model", "reason"],
            registry=registry,
        )
        self.budget_used = Gauge(
            "turnout_budget_used",
            "Use of a pool's budget since its state began.",
            ["router"],
            registry=registry,
            multiprocess_mode="liveall",
        )
        self.budget_allowed = Gauge(
            "turnout_budget_allowed",
            "Allowance of a pool's budget, likewise.",
            ["router"],
            registry=registry,
            multiprocess_mode="liveall",
        )
        self.budget_price = Gauge(
            "turnout_budget_price",
            "Chance of success that one unit of a budget must bring.",
            ["router"],
            registry=registry,
            multiprocess_mode="liveall",
        )
        self.strong_share = Gauge(
            "turnout_strong_share",
            "Share of strong decisions among recent decisions, of each worker.",
            ["router"],
            registry=registry,
            multiprocess_mode="liveall",
        )
        self.upstream_seconds = Histogram(
            "turnout_upstream_first_byte_seconds",
            "Time from a request to an upstream to its first byte.",
            ["model"],
            buckets=_UPSTREAM,
            registry=registry,
        )
        self.errors = Counter("turnout_errors", "Errors by code.", ["code"], registry=registry)
        self.connections_closed = Counter(
            "turnout_connections_closed", "Connections closed by a limit.", ["reason"], registry=registry
        )
        self.retries = Counter(
            "turnout_retries", "Retries with the same model.", ["model", "reason"], registry=registry
        )
        self.fallbacks = Counter(
            "turnout_fallbacks",
            "Requests that the other model answered.",
            ["chosen", "served", "reason"],
            registry=registry,
        )
        self.cascaded = Counter(
            "turnout_cascade_answers",
            "Answers of cascades by model: kept, discarded, or next, which was asked after an answer was discarded.",
            ["model", "outcome"],
            registry=registry,
        )
        self.pinned = Counter(
            "turnout_pinned", "Requests not sent to a model that does not support them.", ["needs"], registry=registry
        )
        self.undecided = Counter(
            "turnout_undecided",
            "Requests whose model a rule chose: turn, conversation, stall, response or helper in place of a router, cache against its decision.",
            ["rule"],
            registry=registry,
        )
        self.session_store_errors = Counter(
            "turnout_session_store_errors",
            "Calls of the shared session store that failed, or were left out while it is paused.",
            ["reason"],
            registry=registry,
        )
        self.in_flight = Gauge(
            "turnout_in_flight", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self.breaker_open = Gauge(
            "turnout_breaker_open",
            "1 while the circuit breaker of a model is open.",
            ["upstream", "model"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.reloads = Counter("turnout_reloads", "Reloads of the configuration.", ["outcome"], registry=registry)
        self.outcomes = Counter("turnout_outcomes", "Outcomes received: added or known.", ["result"], registry=registry)
        self.shadow = Counter(
            "turnout_shadow",
            "Requests drawn for shadow evaluation by result: win, tie or loss of the other model, or why there is no verdict.",
            ["result"],
            registry=registry,
        )
        self.shadow_cost = Counter(
            "turnout_shadow_cost",
            "Cost of shadow evaluation by model and call (answer or judge), in the currency of the prices.",
            ["model", "call"],
            registry=registry,
        )
        self.changes = Counter(
            "turnout_changes", "Changes noticed by model and signal.", ["model", "signal"], registry=registry
        )
        self.changes_pinned = Gauge(
            "turnout_changes_pinned",
            "1 while a reload takes nothing that was learned anew, because a change was not confirmed.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.log_dropped = Counter("turnout_log_dropped", "Receipts that were dropped.", registry=registry)

    def text(self) -> bytes:
        """The exposition format, of all workers: counts are summed, a breaker is open where it is open in one of them."""
        if self._group is None:
            return generate_latest(self.registry)
        from turnout.serve.metric_files import MetricFiles

        return MetricFiles(self._group).text()
