"""What the whole server shares."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from turnout._core import ByteBudget, ConfigError
from turnout.outcomes import Outcomes
from turnout.serve.cascade.verdict import Verdict
from turnout.serve.changes import Changes
from turnout.serve.decisions.learned import relearned
from turnout.serve.decisions.made import MadeAnswers
from turnout.serve.decisions.planning import Plan
from turnout.serve.decisions.snapshot import Model, Snapshot, take
from turnout.serve.http.client_keys import ClientKeys
from turnout.serve.metrics import Metrics
from turnout.serve.receipts.decision_log import DecisionLog
from turnout.serve.receipts.key import read_receipt_key
from turnout.serve.receipts.recent import Decided, RecentDecisions
from turnout.serve.routers.loaded import LoadedRouter
from turnout.serve.sessions.sessions import Sessions
from turnout.serve.sessions.store import SessionStores
from turnout.serve.settings.tables import Settings
from turnout.serve.shadow.evaluation import Shadows
from turnout.serve.tracing import Tracer
from turnout.serve.upstreams.upstream import Upstream
from turnout.serve.upstreams.usage import UNKNOWN, Usage

logger = logging.getLogger("turnout.serve")

#: Keys of ``[server]`` that a reload does not change.
SERVER_KEYS_UNTIL_RESTART = (
    "host", "port", "admin_host", "admin_port", "max_connections", "header_timeout_s", "max_bodies_bytes",
    "cors_origins", "allowed_hosts", "access_log", "playground", "shutdown_s",
)  # fmt: skip
#: Tables that a reload does not change.
TABLES_UNTIL_RESTART = ("sessions", "log", "outcomes", "changes", "telemetry", "ext_proc")


class State:
    """The server's state.

    Extensions such as the playground may read:

    - :attr:`routers`: :class:`~turnout.serve.routers.loaded.LoadedRouter` by name, with ``threshold``, ``artifact_hash``, and ``router``, the
      :class:`turnout.Router` or :class:`~turnout.scored_router.ScoredRouter` itself;
    - :attr:`snapshot`: ``pair.strong.name``, ``pair.weak.name``, ``models``, ``aliases``, ``settings`` (with prices of models);
      it changes on reload, so read it anew for each request;
    - :attr:`recent`: the last decisions (``recent.since(revision, most)``, ``await recent.next_revision(revision)``,
      ``recent.strong_share(router)``, ``recent.count``);
    - :attr:`metrics`: :class:`~turnout.serve.metrics.Metrics`;
    - :attr:`is_ready`: False while starting and while shutting down.

    A chat is started by ``POST /v1/chat/completions`` as every client does; the headers ``x-turnout-*`` of the answer tell the router,
    win rate, threshold and model. Where client keys are configured, ``/v1/*`` and ``/playground/api/*`` ask for one
    (``Authorization: Bearer``), and :attr:`needs_key` is True.

    Args:
        settings: Checked settings.
        read_again: Gives the settings anew, for :meth:`reload`; by default the same ones.
        group: Folder that the workers of a server share; ``None`` for the only process.
    """

    def __init__(
        self, settings: Settings, read_again: Callable[[], Settings] | None = None, group: Path | None = None
    ) -> None:
        self.snapshot: Snapshot = take(settings)
        #: Called with the settings of each reload, after they were opened.
        self.on_reload: list[Callable[[Settings], None]] = []
        #: Lets the other workers of the server reload.
        self.reload_others: Callable[[], None] = lambda: None
        self.metrics = Metrics(group)
        self.recent = RecentDecisions()
        self.keys = ClientKeys.from_file(settings.server.client_keys_file)
        self._stores = SessionStores(
            settings.sessions, lambda reason: self.metrics.session_store_errors.labels(reason).inc()
        )
        self.sessions = Sessions(settings.sessions, self._stores.of("session"), self._keeps_caches)
        #: Who made stored answers and conversations, by their ids.
        self.made = MadeAnswers(self._stores.of("made"))
        self.tracer = Tracer(settings.telemetry.otel)
        self.bodies = ByteBudget(settings.server.max_bodies_bytes)
        dropped = self.metrics.log_dropped.inc
        self.log = DecisionLog(settings.log, dropped, self.bodies, group) if settings.log.path else None
        #: Signs receipts; ``None`` for none.
        self.receipt_key = read_receipt_key(
            "[log] hmac key", env=settings.log.hmac_key_env, file=settings.log.hmac_key_file
        )
        kept = settings.outcomes
        self.outcomes = Outcomes(kept.path, most=kept.most) if kept.path else None
        self.shadow = Shadows(self.outcomes, self.metrics)
        self.changes = Changes(settings.changes, self.metrics, self.snapshot.models)
        self.is_ready = False
        self.in_flight = 0
        self._read_again = read_again or (lambda: settings)
        self._reloading = asyncio.Lock()
        self._reloads_requested = self._reloads_begun = 0
        self._reload_error = ""
        self._retired: set[Upstream] = set()

    @property
    def routers(self) -> Mapping[str, LoadedRouter]:
        """The loaded routers by name."""
        return self.snapshot.routers

    @property
    def needs_key(self) -> bool:
        """Whether clients must send a key."""
        return bool(self.keys)

    def _keeps_caches(self) -> bool:
        return bool(self.snapshot.settings.switching.error_cost or self.snapshot.pools)

    def decided(self, plan: Plan, request_id: str) -> Decided | None:
        """Counts a decision and begins its receipt; ``None`` for the plain name of a model."""
        routed = plan.routed
        if routed is None:
            return None
        name = routed.router.name
        self.metrics.decisions.labels(name, routed.chosen.label).inc()
        self.metrics.decision_seconds.labels(name).observe(routed.seconds)
        routed.count(self.metrics)
        return self.recent.add(
            {
                "time": time.time(),
                "request_id": request_id,
                **routed.receipt(),
                "model": routed.chosen.name,
                "decision_us": round(routed.seconds * 1e6, 1),
                "served": None,
                "fallback": "",
                "translation": "",
                "latency_ms": None,
                "input_tokens": None,
                "output_tokens": None,
                "cached_tokens": None,
                "written_tokens": None,
                "written_1h_tokens": None,
                "cost": None,
            }
        )

    async def served(self, plan: Plan, model: Model, ids: Iterable[str], client: str) -> None:
        """Remembers which model answers: its session and what refers to the answer stay with it.

        Args:
            plan: Of the request.
            model: The model.
            ids: Of the answer, and of what it continues; empty ones are left out.
            client: Name of the client; empty where clients need no key.
        """
        if plan.rule:
            self.metrics.undecided.labels(plan.rule).inc()
        if plan.pinned_for:
            self.metrics.pinned.labels(",".join(sorted(plan.pinned_for))).inc()
        writes = self.sessions.remember(plan.session, model.name), self.made.remember(ids, model, client)
        if self._stores.is_shared:
            # At once: each waits for the store.
            await asyncio.gather(*writes)
            return
        for write in writes:
            await write

    async def relayed(self, plan: Plan, model: Model, usage: Usage) -> None:
        """Remembers what a complete answer says of the provider's cache.

        Args:
            plan: Of the request.
            model: The model that answered.
            usage: Tokens of the answer.
        """
        if model.name in self.snapshot.models:
            await self.sessions.keep(plan.session, model.name, usage)

    def answered(
        self,
        decided: Decided | None,
        plan: Plan,
        settings: Settings,
        served: Model | None,
        fallback: str,
        seconds: float,
        usage: Usage,
        verdict: Verdict | None = None,
    ) -> None:
        """Corrects a budget by what an answer cost, completes the receipt of :meth:`decided` and logs it.

        Args:
            decided: The decision; ``None`` for the plain name of a model.
            plan: Of the request.
            settings: Of the decision, with its prices.
            served: The model that answered; ``None`` where none did.
            fallback: Why it was not the chosen one; empty where it was.
            seconds: From the decision to the end of the answer.
            usage: Tokens of the answer.
            verdict: What came of judging answers; ``None`` where none could be.
        """
        if decided is None and plan.charge is None:
            return
        name = None if served is None else served.name
        cost = usage.cost(settings.prices_of(name or ""))
        # Where no model answered, what broke before is all that was paid for.
        paid = {} if verdict is None else verdict.receipt(usage, 0.0 if served is None else cost)
        found = {"cost": cost, **paid}
        if plan.charge is not None and found["cost"] is not None:
            plan.charge.settle(found["cost"])
        if decided is None or plan.routed is None:
            return
        decided.receipt.update(served=name, fallback=fallback, latency_ms=round(seconds * 1e3, 3))
        decided.receipt.update(usage._asdict(), **found)
        self.recent.changed(decided)
        if served is not None:
            self.changes.answered(decided.receipt["request_id"], served)
        if self.log is not None:
            has_prompt = self.snapshot.settings.log.prompts
            receipt = {**decided.receipt, **({"prompt": plan.routed.prompt} if has_prompt else {})}
            self.log.add(receipt if self.receipt_key is None else self.receipt_key.signed(receipt))

    async def decided_for_another(
        self, plan: Plan, settings: Settings, request_id: str, continues: Iterable[str], client: str
    ) -> None:
        """Counts and logs a decision that a gateway follows: the first model answers, which is not seen here.

        Args:
            plan: Of the request.
            settings: Of the decision.
            request_id: Of the request.
            continues: Ids that the request refers to.
            client: Name of the client; empty where clients need no key.
        """
        # First, because the caller may have a deadline.
        self.decided_only(plan, settings, request_id, "")
        await self.served(plan, plan.candidates[0], continues, client)

    def decided_only(self, plan: Plan, settings: Settings, request_id: str, reason: str) -> None:
        """Counts and logs a decision after which no model is called here.

        Args:
            plan: Of the request.
            settings: Of the decision.
            request_id: Of the request.
            reason: Why it is not followed elsewhere either; empty where it is.
        """
        decided = self.decided(plan, request_id)
        if decided is not None and not reason:
            # Who answers is not known here; outcomes are taken to be about the chosen model.
            decided.receipt["by"] = "gateway"
            self.changes.answered(request_id, plan.candidates[0])
        seconds = plan.routed.seconds if plan.routed else 0.0
        self.answered(decided, plan, settings, None, reason, seconds, UNKNOWN)

    def publish(self) -> None:
        """Sets the metrics that are not counted as things happen."""
        metrics = self.metrics
        metrics.in_flight.set(self.in_flight)
        metrics.changes_pinned.set(bool(self.changes.pinned_by))
        for name in self.routers:
            share = self.recent.strong_share(name)
            if share is not None:
                metrics.strong_share.labels(name).set(share)
        for name, pool in self.snapshot.pools.items():
            if pool.budget is not None:
                metrics.budget_used.labels(name).set(pool.budget.used)
                metrics.budget_allowed.labels(name).set(pool.budget.allowed)
                metrics.budget_price.labels(name).set(pool.budget.price)
        for model in self.snapshot.models.values():
            is_open = model.upstream.breaker(model.upstream_name).is_open
            metrics.breaker_open.labels(model.upstream.name, model.label).set(is_open)

    async def reload(self) -> None:
        """Reads configuration, keys and artifacts again; requests in flight end with what they began with.

        One reload runs at a time. Calls that come meanwhile share the next one, which reads what is newest then.

        Raises:
            RouterError: Something is wrong with the new ones; the current ones stay.
            OSError: A file cannot be read; likewise.
        """
        self._reloads_requested += 1
        mine = self._reloads_requested
        async with self._reloading:
            if self._reloads_begun >= mine:
                if self._reload_error:
                    raise ConfigError(self._reload_error)
                return
            self._reloads_begun = self._reloads_requested
            self._reload_error = "the reload did not finish"
            try:
                await self._reload()
            except Exception as error:
                self._reload_error = str(error)
                self.metrics.reloads.labels("failed").inc()
                raise
            self._reload_error = ""
            self.metrics.reloads.labels("done").inc()

    async def _reload(self) -> None:
        before = self.snapshot
        settings = await asyncio.to_thread(self._read_again)
        after = await asyncio.to_thread(take, settings, before)
        keys = await asyncio.to_thread(ClientKeys.from_file, settings.server.client_keys_file)
        self._check_pin(before, after)
        self._warn_of_what_needs_a_restart(before.settings, settings)
        after.begin()
        self.changes.reloaded(after.models)
        self.snapshot, self.keys = after, keys
        for tell in self.on_reload:
            tell(settings)
        self._retired = {upstream for upstream in self._retired if upstream.in_flight}
        for name, upstream in before.upstreams.items():
            if after.upstreams.get(name) is not upstream:
                self._retired.add(upstream)
                await upstream.retire()

    def _check_pin(self, before: Snapshot, after: Snapshot) -> None:
        """Refuses what was learned anew while changes of models wait for confirmation."""
        changes = self.changes.pinned_by
        if not changes or not (different := relearned(before, after)):
            return
        raise ConfigError(
            f"[changes] pin: {'; '.join(f'model {one.model}: {one.text}' for one in changes)}. Until POST /admin/changes/confirm"
            f" what was learned stays as it is, but the files have another state of {', '.join(different)}"
        )

    async def close(self) -> None:
        """Closes connections, the log and the outcomes."""
        self.is_ready = False
        await self.shadow.close()
        for upstream in (*self.snapshot.upstreams.values(), *self._retired):
            await upstream.close()
        await self._stores.close()
        for pool in self.snapshot.pools.values():
            if pool.budget is not None:
                await asyncio.to_thread(pool.budget.try_save)
        if self.log is not None:
            await asyncio.to_thread(self.log.close)
        if self.outcomes is not None:
            self.outcomes.close()

    @staticmethod
    def _warn_of_what_needs_a_restart(before: Settings, after: Settings) -> None:
        changed = [
            f"[server] {key}"
            for key in SERVER_KEYS_UNTIL_RESTART
            if getattr(before.server, key) != getattr(after.server, key)
        ]
        changed += [f"[{key}]" for key in TABLES_UNTIL_RESTART if getattr(before, key) != getattr(after, key)]
        if changed:
            logger.warning("reloaded; changes of %s need a restart", ", ".join(changed))
