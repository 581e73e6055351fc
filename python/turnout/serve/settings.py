"""How the server runs: frozen values, read by :mod:`turnout.serve.config_file`, each default written here once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ServerSettings:
    """Table ``[server]``.

    Addresses, CORS, the playground and ``shutdown_s`` stay as they are until a restart, and so do ``[affinity]``, ``[log]`` and
    ``[telemetry]``; all else changes on reload.
    """

    host: str = "127.0.0.1"
    #: RouteLLM's port, so that a base URL stays as it is.
    port: int = 6060
    admin_host: str = "127.0.0.1"
    #: Metrics and reload; 0 means no admin listener.
    admin_port: int = 6061
    max_body_bytes: int = 20 * 1024 * 1024
    max_concurrency: int = 1000
    shutdown_s: float = 30.0
    cors_origins: tuple[str, ...] = ()
    #: File with a line ``name:sha256`` for each client key; empty means that no key is asked for.
    client_keys_file: str = ""
    playground: bool = True
    #: ``last_user``, ``conversation`` or ``module:function``.
    context: str = "last_user"
    #: Upstream that gets requests for plain model names that are in no ``[models]``; empty refuses them.
    passthrough: str = ""
    #: Whether the other model of the pair is asked when the chosen one cannot be had.
    fallback: bool = True


@dataclass(frozen=True)
class UpstreamSettings:
    """Table ``[upstreams.NAME]``: an OpenAI-compatible endpoint."""

    base_url: str
    #: Environment variable with the key; at most one of ``key_env`` and ``key_file``.
    key_env: str = ""
    #: File that holds nothing but the key.
    key_file: str = ""
    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 120.0
    total_timeout_s: float = 600.0
    retries: int = 1
    backoff_s: float = 0.1
    max_concurrency: int = 1000
    breaker_failures: int = 5
    breaker_open_s: float = 10.0


@dataclass(frozen=True)
class ModelSettings:
    """Table ``[models.NAME]``: a model that may be chosen."""

    upstream: str
    #: What the upstream calls it; by default as here.
    name: str = ""
    #: Some of ``images``, ``audio``, ``files``, ``tools``; absent means all.
    capabilities: tuple[str, ...] | None = None
    #: Price of a million tokens, for the playground's estimate.
    input_cost_per_mtok: float | None = None
    output_cost_per_mtok: float | None = None


@dataclass(frozen=True)
class PairSettings:
    """Table ``[pair]``: names of ``[models]``."""

    strong: str
    weak: str


@dataclass(frozen=True)
class AliasSettings:
    """Table ``[aliases.NAME]``: a model name that clients may use in place of ``router-...``."""

    router: str
    threshold: float | None = None
    strong_share: float | None = None
    #: By default those of ``[pair]``.
    strong: str = ""
    weak: str = ""


@dataclass(frozen=True)
class AffinitySettings:
    """Table ``[affinity]``: keeps a conversation on its first model, whose provider has its prompt cached."""

    #: ``off``, ``header`` or ``conversation`` (a hash of everything up to the first message of the user).
    by: str = "off"
    header: str = "x-session-id"
    sessions: int = 10_000
    ttl_s: float = 3600.0


@dataclass(frozen=True)
class LogSettings:
    """Table ``[log]``: a route receipt for every decision."""

    #: File (jsonl) or folder (parquet); empty means no log.
    path: str = ""
    format: str = "jsonl"
    #: Whether receipts hold the prompt itself beside its hash.
    prompts: bool = False
    max_bytes: int = 100 * 1024 * 1024
    keep: int = 5


@dataclass(frozen=True)
class TelemetrySettings:
    """Table ``[telemetry]``."""

    #: Spans through OpenTelemetry's global tracer provider (extra ``[otel]``).
    otel: bool = False


@dataclass(frozen=True)
class Settings:
    """The whole file."""

    pair: PairSettings
    upstreams: Mapping[str, UpstreamSettings]
    models: Mapping[str, ModelSettings]
    #: Options of each router, as :func:`turnout.routing.open_router` takes them, and ``strong_share`` in place of ``threshold``.
    routers: Mapping[str, Mapping[str, Any]]
    server: ServerSettings = field(default_factory=ServerSettings)
    aliases: Mapping[str, AliasSettings] = field(default_factory=dict)
    affinity: AffinitySettings = field(default_factory=AffinitySettings)
    log: LogSettings = field(default_factory=LogSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
