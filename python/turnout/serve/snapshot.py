"""What a request is answered with: routers, models and upstreams of one reading of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from turnout._core import ConfigError
from turnout.routing import Context, NamedRouter
from turnout.routing.registry import imported
from turnout.serve.headers import safe_value
from turnout.serve.loaded import LoadedRouter, load_router
from turnout.serve.secrets import read_key
from turnout.serve.settings import AliasSettings, ModelSettings, Settings
from turnout.serve.upstream import Upstream


@dataclass(frozen=True)
class Model:
    """A model that requests may go to."""

    name: str
    #: What its upstream calls it.
    upstream_name: str
    upstream: Upstream
    #: ``None``: it serves everything.
    capabilities: frozenset[str] | None
    #: The name as the value of a header.
    header: bytes
    #: The name as a label of metrics.
    label: str

    def lacks(self, needs: frozenset[str]) -> frozenset[str]:
        """What of the needs it cannot serve."""
        return frozenset() if self.capabilities is None else needs - self.capabilities


@dataclass(frozen=True)
class Pair:
    """The two models between which a router chooses."""

    strong: Model
    weak: Model


@dataclass(frozen=True)
class Snapshot:
    """One reading of the configuration. Requests keep the one they began with."""

    settings: Settings
    loaded: Mapping[str, LoadedRouter]
    routers: Mapping[str, NamedRouter]
    upstreams: Mapping[str, Upstream]
    models: Mapping[str, Model]
    pair: Pair
    alias_pairs: Mapping[str, Pair]
    context: Context

    @property
    def aliases(self) -> Mapping[str, AliasSettings]:
        """Model names that stand for a router and a threshold."""
        return self.settings.aliases

    def passed_through(self, name: str) -> Model | None:
        """A model that is not configured, for the upstream that takes such names; ``None`` where there is none."""
        if not self.settings.server.passthrough:
            return None
        upstream = self.upstreams[self.settings.server.passthrough]
        return Model(name, name, upstream, None, safe_value(name), "other")


def take(settings: Settings, before: Snapshot | None = None) -> Snapshot:
    """Opens what the settings name. Upstreams and routers that did not change are taken from the snapshot before.

    Args:
        settings: Checked settings.
        before: The snapshot that this one replaces.

    Raises:
        ConfigError: A router, key or context is missing or wrong.
        ArtifactError: An artifact is missing or damaged.
    """
    upstreams = {}
    for name, one in settings.upstreams.items():
        key = read_key(name, one)
        kept = before.upstreams.get(name) if before else None
        unchanged = kept is not None and kept.settings == one and kept.key == key
        upstreams[name] = kept if unchanged and kept is not None else Upstream(name, one, key)
    models = {name: _model(name, one, upstreams) for name, one in settings.models.items()}
    pairs = {
        name: Pair(models[alias.strong or settings.pair.strong], models[alias.weak or settings.pair.weak])
        for name, alias in settings.aliases.items()
    }
    known = before.loaded if before else {}
    loaded = {name: load_router(name, one, known.get(name)) for name, one in settings.routers.items()}
    snapshot = Snapshot(
        settings=settings,
        loaded=loaded,
        routers={name: one.named for name, one in loaded.items()},
        upstreams=upstreams,
        models=models,
        pair=Pair(models[settings.pair.strong], models[settings.pair.weak]),
        alias_pairs=pairs,
        context=_context(settings.server.context),
    )
    for name, alias in settings.aliases.items():
        if alias.strong_share is not None and len(snapshot.routers[alias.router].quantiles) < 2:
            raise ConfigError(
                f"[aliases.{name}] strong_share: router {alias.router} stores no quantiles; name a threshold"
            )
    return snapshot


def _model(name: str, settings: ModelSettings, upstreams: Mapping[str, Upstream]) -> Model:
    return Model(
        name,
        settings.name or name,
        upstreams[settings.upstream],
        None if settings.capabilities is None else frozenset(settings.capabilities),
        safe_value(name),
        name,
    )


def _context(spec: str) -> Context:
    return imported(spec) if ":" in spec else spec  # type: ignore[return-value]
