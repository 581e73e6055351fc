"""Settings of the server as typed models: one class per table of ``turnout.toml``, each default written once.

Unknown keys, wrong types and values out of range are errors. Rules within one table are validators of its class; rules that
need several tables are in :class:`Settings`.
"""

from __future__ import annotations

import ipaddress
import re
from functools import cached_property
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, model_validator

from turnout.conversation.context import CONTEXTS
from turnout.conversation.harness import Harness
from turnout.conversation.needs import CAPABILITIES
from turnout.errors import RoutingError
from turnout.registry.names import PREFIX, parse_model_name
from turnout.serve.dialects import DIALECTS
from turnout.serve.settings.aliases import AliasSettings, Cut
from turnout.serve.settings.base import Count, Seconds, Table
from turnout.serve.settings.ext_proc import ExtProcSettings
from turnout.serve.settings.outcomes import ChangeSettings, OutcomeSettings
from turnout.serve.settings.pools import MODEL_FIELDS, PoolSettings, check_values, core_fields
from turnout.serve.settings.shadow import ShadowSettings
from turnout.serve.settings.switching import SwitchingSettings
from turnout.serve.settings.upstreams import UpstreamSettings
from turnout.token_prices import TokenPrices

Port = Annotated[int, Field(ge=0, le=65535)]
# TOML has arrays; an immutable value holds a tuple.
Texts = Annotated[tuple[str, ...], Field(strict=False)]
Capability = Literal["audio", "files", "images", "json", "tools"]
assert set(Capability.__args__) == {*CAPABILITIES, "json"}  # type: ignore[attr-defined]
DialectName = Literal["chat", "messages", "responses"]
assert set(DialectName.__args__) == set(DIALECTS)  # type: ignore[attr-defined]


#: What Anthropic charges for tokens that are written to its cache for five minutes, and for an hour, in input prices.
_WRITE_FACTOR, _WRITE_1H_FACTOR = 1.25, 2.0
Price = Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
#: The name of a host as browsers send it; names of other alphabets are sent in their ASCII form (``xn--``).
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.IGNORECASE)


class ServerSettings(Table):
    """Table ``[server]``.

    Addresses, limits of connections, CORS, the playground and ``shutdown_s`` keep their values until a restart, and so do
    ``[sessions]``, ``[log]``, ``[outcomes]``, ``[changes]`` and ``[telemetry]``. All other settings change on reload.
    """

    host: str = "127.0.0.1"
    #: RouteLLM's port, so that existing base URLs keep working.
    port: Port = 6060
    admin_host: str = "127.0.0.1"
    #: Metrics and reload; 0 means no admin listener.
    admin_port: Port = 6061
    #: Connections at a time; beyond them, those that wait longest for a request are closed.
    max_connections: Count = 4096
    #: Seconds until the head of a request must be complete.
    header_timeout_s: Seconds = 15.0
    max_body_bytes: Count = 20 * 1024 * 1024
    #: Of all requests in flight together, and of prompts that wait to be logged.
    max_bodies_bytes: Count = 128 * 1024 * 1024
    max_concurrency: Count = 1000
    shutdown_s: Seconds = 30.0
    #: Web pages of other origins that may call the API.
    cors_origins: Texts = ()
    #: Names in ``Host`` headers besides ``localhost`` and addresses of this machine; ``*`` for all.
    allowed_hosts: Texts = ()
    #: Whether each request is logged (logger ``turnout.access``).
    access_log: bool = False
    #: File with a line ``name:sha256`` for each client key; empty means that clients need no key.
    client_keys_file: str = ""
    playground: bool = True
    #: ``last_user``, ``conversation`` or ``module:function``.
    context: str = "last_user"
    #: Upstream that gets requests for model names that are not in ``[models]``; empty refuses them.
    passthrough: str = ""
    #: Whether the other model of the pair is tried when the chosen one fails.
    fallback: bool = True
    #: Whether it is also tried when the conversation does not fit into the chosen one's context.
    fallback_on_context_overflow: bool = True

    @model_validator(mode="after")
    def _check(self) -> ServerSettings:
        if ":" not in self.context and self.context not in CONTEXTS:
            raise ValueError(f"context is {self.context!r}, expected {', '.join(CONTEXTS)} or module:function")
        if self.max_bodies_bytes < self.max_body_bytes:
            raise ValueError(f"max_bodies_bytes is {self.max_bodies_bytes}, expected at least max_body_bytes")
        for host in self.allowed_hosts:
            if host != "*" and not _is_host(host):
                raise ValueError(
                    f"allowed_hosts has {host!r}, expected a host name or IP address without scheme, port or wildcard, or '*' alone"
                )
        if self.client_keys_file and "*" in self.cors_origins:
            raise ValueError('cors_origins is "*" beside client_keys_file, expected the origins that may send keys')
        return self


class ModelSettings(Table):
    """Table ``[models.NAME]``: a model that may be chosen. Other keys are the fields of a model of a pool, which the core checks."""

    model_config = ConfigDict(extra="allow")

    upstream: str
    #: The model's name at the upstream; empty means the same name.
    name: str = ""
    #: ``None`` means all. ``json`` counts in pools only.
    capabilities: Annotated[tuple[Capability, ...], Field(strict=False)] | None = None
    #: What the upstream speaks: a request goes to models that speak its own dialect.
    dialects: Annotated[tuple[DialectName, ...], Field(strict=False, min_length=1)] = ("chat",)
    #: What translates requests of other dialects (extra ``[litellm]``); empty: they do not go to this model.
    translate: Literal["", "litellm"] = ""
    #: Of a million input tokens that the provider writes to its cache; by default 1.25 times ``input_price`` where the upstream speaks
    #: ``messages``, whose answers count them, and ``input_price`` elsewhere.
    cache_write_price: Price = None
    #: Of those that it keeps there for an hour; by default twice ``input_price`` where the upstream speaks ``messages``, and
    #: ``cache_write_price`` elsewhere.
    cache_write_1h_price: Price = None

    @cached_property
    def pool_fields(self) -> dict[str, Any]:
        """The fields of the model that the core reads: prices, limits, chances, efforts."""
        return core_fields(self.model_extra or {}, self.capabilities)

    @property
    def efforts(self) -> dict[str, dict[str, Any]]:
        """Reasoning efforts by name, with what is added to the body."""
        found = (self.model_extra or {}).get("efforts")
        return dict(found) if isinstance(found, dict) else {}

    @model_validator(mode="after")
    def _check(self) -> ModelSettings:
        if self.translate and not {"chat", "messages"} & set(self.dialects):
            raise ValueError(
                f"translate is {self.translate!r}, which translates to chat or messages, and dialects has neither"
            )
        if "input_price" not in (self.model_extra or {}):
            for name in ("cache_write_price", "cache_write_1h_price"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for a model with prices, expected input_price")
        for key in self.model_extra or {}:
            if key not in MODEL_FIELDS:
                expected = ", ".join([*type(self).model_fields, *sorted(MODEL_FIELDS - type(self).model_fields.keys())])
                raise ValueError(f"has an unknown key {key!r}, expected {expected}")
        for name, effort in self.efforts.items():
            body = effort.get("body") if isinstance(effort, dict) else None
            if body is not None and (not isinstance(body, dict) or not body or "model" in body):
                raise ValueError(f"efforts.{name} body is {body!r}, expected a table of fields without model")
        return self


class PairSettings(Table):
    """Table ``[pair]``: names of ``[models]``."""

    strong: str
    weak: str


class RouterSettings(Cut):
    """Table ``[routers.NAME]``; other keys are options of :func:`turnout.registry.open_router`, which checks them."""

    model_config = ConfigDict(extra="allow")

    #: ``cascade``: the weak model's answer is judged, and kept or discarded.
    mode: Literal["decide", "cascade"] = "decide"
    #: File of the judge, for ``cascade``; as for the next three.
    judge: str = ""
    #: Files of judges by name of a model, for a cascade in a pool.
    judges: dict[str, str] = Field(default_factory=dict)
    #: Artifact of ``turnout train scorer``, for judges that read the signal ``scorer``.
    scorer: str = ""
    #: Ask the weak model for log-probabilities.
    ask_logprobs: bool = True
    #: A stream is held until it has this many tokens, or for this long.
    hold_tokens: Count = 32
    hold_ms: Seconds = 1_000.0

    @property
    def options(self) -> dict[str, Any]:
        """Keys that are not fields of this class."""
        return dict(self.model_extra or {})


class SessionSettings(Table):
    """Table ``[sessions]``: what stays with the model that began it."""

    #: ``turn``: the steps of an agent between two messages of its user; ``conversation``: all of it.
    stay: Literal["off", "turn", "conversation"] = "turn"
    #: Headers in which clients name their session, the first one that is sent counts.
    # Of one agent before those of all agents of a session.
    headers: Texts = (
        "x-session-id", "session_id", "thread-id", "session-id", "x-claude-code-agent-id", "x-claude-code-session-id",
    )  # fmt: skip
    #: Sessions, and responses that clients may refer to, that are remembered.
    most: Count = 10_000
    #: Seconds after the last use.
    ttl_s: Seconds = 86_400.0
    #: URL of a Redis that several servers share, ``redis://``, ``rediss://`` (TLS) or ``unix://``; empty for the memory of the process.
    store: str = ""
    #: Environment variable with the password of the store.
    store_password_env: str = ""
    #: The longest that a request waits for the store each time that it asks.
    store_timeout_s: Seconds = 0.02

    @model_validator(mode="after")
    def _check(self) -> SessionSettings:
        if not self.store:
            return self
        parts = urlsplit(self.store)
        # The value is not shown: it may hold a password.
        if parts.password or parts.query or parts.fragment:
            raise ValueError(
                "store has a password or a query, expected a URL such as redis://host:6379/0 with the password in store_password_env"
            )
        if parts.scheme not in ("redis", "rediss", "unix") or not (
            parts.path if parts.scheme == "unix" else parts.hostname
        ):
            raise ValueError(
                "store is not a URL such as redis://host:6379/0, rediss://host:6379/0 or unix:///run/redis.sock"
            )
        return self


class AgentSettings(Table):
    """Table ``[agents]``: what is special about requests of agents."""

    #: Elements whose text is not judged, besides the built-in ones.
    harness_tags: Texts = ()
    #: Elements whose text is the user's, besides the built-in ones.
    task_tags: Texts = ()
    #: Beginnings of messages that are not judged, besides the built-in ones.
    harness_prefixes: Texts = ()
    #: Requests without tools whose answer may have at most so many tokens go to the weak model; 0 for none.
    helper_max_tokens: Annotated[int, Field(ge=0)] = 0
    #: A turn goes to the strong model when its last so many results of tools are the same error; 0 for never.
    escalate_after_errors: Annotated[int, Field(ge=0)] = 0
    #: Likewise when its last so many calls of tools changed nothing.
    escalate_after_steps: Annotated[int, Field(ge=0)] = 0

    @property
    def harness(self) -> Harness:
        """Knows the text that agents add."""
        return Harness(self.harness_tags, self.task_tags, self.harness_prefixes)

    @model_validator(mode="after")
    def _check(self) -> AgentSettings:
        for key in ("harness_tags", "task_tags", "harness_prefixes"):
            if any(not text.strip() for text in getattr(self, key)):
                raise ValueError(f"{key} has an empty text")
        return self


class LogSettings(Table):
    """Table ``[log]``: a route receipt for every decision."""

    #: File (jsonl) or folder (parquet); empty means no log.
    path: str = ""
    format: Literal["jsonl", "parquet"] = "jsonl"
    #: Whether receipts hold the prompt as well as its hash.
    prompts: bool = False
    #: Environment variable, or file, with the key that signs receipts; empty for none.
    hmac_key_env: str = ""
    hmac_key_file: str = ""
    max_bytes: Count = 100 * 1024 * 1024
    keep: Count = 5

    @model_validator(mode="after")
    def _check(self) -> LogSettings:
        if self.hmac_key_env and self.hmac_key_file:
            raise ValueError("has hmac_key_env and hmac_key_file, expected one")
        return self


class TelemetrySettings(Table):
    """Table ``[telemetry]``."""

    #: Spans through OpenTelemetry's global tracer provider (extra ``[otel]``).
    otel: bool = False


class Settings(Table):
    """The whole file."""

    pair: PairSettings | None = None
    pool: PoolSettings | None = None
    server: ServerSettings = ServerSettings()
    upstreams: dict[str, UpstreamSettings] = Field(default_factory=dict)
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    routers: dict[str, RouterSettings] = Field({"mf": RouterSettings()}, min_length=1)
    aliases: dict[str, AliasSettings] = Field(default_factory=dict)
    sessions: SessionSettings = SessionSettings()
    agents: AgentSettings = AgentSettings()
    switching: SwitchingSettings = SwitchingSettings()
    log: LogSettings = LogSettings()
    outcomes: OutcomeSettings = OutcomeSettings()
    shadow: ShadowSettings = ShadowSettings()
    changes: ChangeSettings = ChangeSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    ext_proc: ExtProcSettings = ExtProcSettings()

    @model_validator(mode="after")
    def _check(self) -> Settings:
        for name, model in self.models.items():
            _one_of(f"[models.{name}] upstream", model.upstream, self.upstreams)
        if self.pair is not None:
            self._check_pair("[pair]", self.pair.strong, self.pair.weak)
        elif self.pool is None:
            raise ValueError("table [pair] or [pool] is missing")
        self._check_pool()
        self._check_shadow()
        if self.changes.pin and not self.server.admin_port:
            raise ValueError("[changes] pin is lifted by POST /admin/changes/confirm: expected [server] admin_port")
        for name, router in self.routers.items():
            if router.mode == "cascade":
                self._check_cascade(name)
        for name, alias in self.aliases.items():
            where = f"[aliases.{name}]"
            if name in self.models:
                raise ValueError(f"{where} is also the name of a model, expected another name")
            if alias.model:
                self._check_alias(where, alias.model)
                continue
            _one_of(f"{where} router", alias.router, self.routers)
            pair = self.pair or PairSettings(strong=alias.strong, weak=alias.weak)
            if not (alias.strong or pair.strong) or not (alias.weak or pair.weak):
                message = f"{where} chooses between two models: [pair] is missing, expected strong and weak"
                raise ValueError(f'{message}; the name of a pool is written "{name}" = "router-{alias.router}"')
            self._check_pair(where, alias.strong or pair.strong, alias.weak or pair.weak)
        if self.server.passthrough:
            _one_of("[server] passthrough", self.server.passthrough, self.upstreams)
        return self

    @property
    def pool_values(self) -> dict[str, Any]:
        """The pool as plain values for the core; without ``[pool]``, one of all models."""
        pool = self.pool or PoolSettings(objective={"tolerance": 0})
        return pool.values({name: model.pool_fields for name, model in self.models.items()})

    @property
    def pool_routers(self) -> tuple[str, ...]:
        """Names of the routers that choose from the pool."""
        if self.pool is None:
            return ()
        return tuple(self.routers) if self.pool.routers is None else self.pool.routers

    def cache_saving_of(self, name: str) -> float:
        """What a million input tokens of a model cost less if they are cached; 0 where the prices are not known.

        Args:
            name: Of a model, or ``model:effort``.
        """
        fields = self._fields_of(name)
        full, cached = fields.get("input_price"), fields.get("cached_input_price")
        return 0.0 if full is None or cached is None else float(full - cached)

    def prices_of(self, name: str) -> TokenPrices | None:
        """Prices of a million tokens; ``None`` where that of input or output is not configured.

        Args:
            name: Of a model, or ``model:effort``.
        """
        fields = self._fields_of(name)
        full, output, cached = (fields.get(f"{kind}_price") for kind in ("input", "output", "cached_input"))
        if full is None or output is None:
            return None
        model = self.models[self._base_of(name)]
        written, written_1h = model.cache_write_price, model.cache_write_1h_price
        if "messages" in model.dialects:
            written = _WRITE_FACTOR * float(full) if written is None else written
            written_1h = _WRITE_1H_FACTOR * float(full) if written_1h is None else written_1h
        return TokenPrices(float(full), float(output), None if cached is None else float(cached), written, written_1h)

    def _fields_of(self, name: str) -> dict[str, Any]:
        base = self._base_of(name)
        fields = self.models[base].pool_fields if base in self.models else {}
        return {**fields, **fields.get("efforts", {}).get(name[len(base) + 1 :], {})}

    def _base_of(self, name: str) -> str:
        """The model of an effort."""
        return name if name in self.models else name.rpartition(":")[0]

    def _check_pool(self) -> None:
        if self.pool is not None:
            for name in self.pool.models or ():
                _one_of("[pool] models", name, self.models)
            for name in self.pool.routers or ():
                _one_of("[pool] routers", name, self.routers)
            if self.pool.budget is not None and len(self.pool_routers) != 1:
                raise ValueError(
                    f"[pool.budget] is for one router, expected [pool] routers with one of {', '.join(self.pool_routers)}"
                )
        if self.models:
            check_values(self.pool_values)

    def _check_shadow(self) -> None:
        shadow = self.shadow
        if not shadow.share:
            return
        if not self.outcomes.path:
            raise ValueError("[shadow] share keeps verdicts among outcomes: expected [outcomes] path")
        efforts = {f"{name}:{effort}": None for name, model in self.models.items() for effort in model.efforts}
        for key, name in (*(("models", one) for one in shadow.models), ("judge", shadow.judge)):
            _one_of(f"[shadow] {key}", name, {**self.models, **efforts})
            if self.prices_of(name) is None:
                raise ValueError(
                    f"[shadow] {key} has {name!r}, whose calls count in budget_per_day: expected input_price and output_price"
                )

    def _check_cascade(self, name: str) -> None:
        where = f'[routers.{name}] mode is "cascade"'
        judges = self.routers[name].judges
        if name not in self.pool_routers:
            if self.pair is None:
                raise ValueError(f"{where}, which asks the models of [pair], and there is none")
            if judges:
                raise ValueError(
                    f"{where} and judges are for a pool, but {name} is not in [pool] routers: expected judge"
                )
        elif not judges:
            raise ValueError(f"{where} in a pool, expected judges: a file of turnout calibrate --cascade by model")
        elif self.pool is not None and self.pool.budget is not None and self.pool.budget.cost is None:
            raise ValueError(
                f"{where}, whose discarded answers a [pool.budget] counts by their cost alone: expected cost"
            )
        if not self.server.fallback:
            raise ValueError(f"{where}, which asks one model after another: [server] fallback must be true")

    def _check_alias(self, where: str, name: str) -> None:
        other = self.aliases.get(name)
        if other is not None and other.model:
            raise ValueError(f"{where} model is {name!r}, which is an alias of a name itself")
        if name.startswith(PREFIX):
            try:
                parse_model_name(name, self.routers)
            except RoutingError as error:
                raise ValueError(f"{where} model: {error}") from None
        elif not self.server.passthrough:
            _one_of(f"{where} model", name, {**self.models, **self.aliases})

    def _check_pair(self, where: str, strong: str, weak: str) -> None:
        _one_of(f"{where} strong", strong, self.models)
        _one_of(f"{where} weak", weak, self.models)
        if strong == weak:
            raise ValueError(f"{where} strong and weak are both {strong!r}, expected two models")


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True


def _one_of(key: str, value: str, known: dict[str, Any]) -> None:
    if value not in known:
        raise ValueError(f"{key} is {value!r}, expected one of {', '.join(known) or '(none is configured)'}")
