"""What a request is answered with: routers, models and upstreams of one reading of the configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from turnout._core import ConfigError
from turnout.cascade import Scorer
from turnout.conversation import Context, Harness
from turnout.registry import RouteSpec
from turnout.registry.by_name import imported
from turnout.serve.dialects import CHAT, DIALECTS, MESSAGES, Dialect
from turnout.serve.routers.folder_stats import Stats
from turnout.serve.routers.loaded import LoadedRouter, load_router
from turnout.serve.routers.model_names import ModelNames
from turnout.serve.routers.pools import LoadedPool, load_pools
from turnout.serve.routers.scorers import Scorers
from turnout.serve.settings.aliases import AliasSettings
from turnout.serve.settings.tables import ModelSettings, Settings
from turnout.serve.upstreams.answer import Answer
from turnout.serve.upstreams.headers import safe_value
from turnout.serve.upstreams.litellm_call import load as load_litellm
from turnout.serve.upstreams.quotas import Quota
from turnout.serve.upstreams.secrets import SHORTEST_SECRET, read_key
from turnout.serve.upstreams.translation import Translation
from turnout.serve.upstreams.upstream import Call, Upstream

logger = logging.getLogger("turnout.serve")


#: Characters of a name of a client's that is passed through or kept.
LONGEST_NAME = 256


@dataclass(frozen=True)
class Model:
    """A model that requests may go to."""

    name: str
    #: What its upstream calls it.
    upstream_name: str
    upstream: Upstream
    #: ``None``: it serves everything.
    capabilities: frozenset[str] | None
    #: Names of the dialects that its upstream speaks.
    dialects: frozenset[str]
    #: The name as the value of a header.
    header: bytes
    #: The name as a label of metrics.
    label: str
    #: Reasoning effort, where the model is an effort of another one.
    effort: str = ""
    #: What the effort adds to the body, where the configuration says so.
    body: Mapping[str, Any] | None = None
    #: Of the model, and of its effort.
    quotas: tuple[Quota, ...] = ()
    #: How requests of other dialects are served; ``None``: they are not.
    translation: Translation | None = None

    def serves(self, dialect: Dialect) -> bool:
        """Whether requests of a dialect may be sent to it.

        Args:
            dialect: Of the request.
        """
        return dialect.name in self.dialects or self.translation_of(dialect) is not None

    def translation_of(self, dialect: Dialect) -> Translation | None:
        """What translates requests of a dialect; ``None`` where the upstream speaks it, or nothing does.

        Args:
            dialect: Of the request.
        """
        translation = None if dialect.name in self.dialects else self.translation
        return translation if translation is not None and translation.serves(dialect) else None

    async def send(self, call: Call, upstream: Upstream) -> Answer:
        """Sends a request, translated where the upstream does not speak its dialect.

        Args:
            call: The request, in the client's dialect.
            upstream: The model's, or a connection of its own to that one.

        Raises:
            UpstreamError: There is no answer.
        """
        translation = self.translation_of(call.request.dialect)
        return await (upstream.send(call) if translation is None else translation.send(upstream, call))

    @property
    def speaks(self) -> str:
        """The dialects that its upstream speaks, and what translates others."""
        spoken = ", ".join(sorted(self.dialects))
        return (
            spoken
            if self.translation is None
            else f"{spoken} (others through LiteLLM's translation to {self.translation.via.name})"
        )


@dataclass(frozen=True)
class Pair:
    """The two models between which a router chooses."""

    strong: Model
    weak: Model


#: Routers by name and the names of their pair.
Loaded = dict[tuple[str, str, str], LoadedRouter]


@dataclass(frozen=True)
class Snapshot:
    """One reading of the configuration. Requests keep the one they began with."""

    settings: Settings
    loaded: Loaded
    routers: Mapping[str, LoadedRouter]
    pools: Mapping[str, LoadedPool]
    #: Whether what was learned is compared after a reload.
    pins: bool
    #: Of judges, by folder.
    scorers: Mapping[str, tuple[Scorer, Stats]]
    upstreams: Mapping[str, Upstream]
    models: Mapping[str, Model]
    #: ``None`` where there is only a pool.
    pair: Pair | None
    alias_pairs: Mapping[str, Pair]
    names: ModelNames
    context: Context
    harness: Harness
    #: What names with a number mean, as far as they were asked for.
    specs: dict[str, tuple[RouteSpec, Pair | LoadedPool]] = field(default_factory=dict)

    def begin(self) -> None:
        """Takes over from the snapshot before: budgets go on with what that one has counted until now."""
        for pool in self.pools.values():
            pool.begin()

    def router_for(self, name: str, pair: Pair) -> LoadedRouter:
        """The router that decides between a pair's models."""
        return self.loaded.get(_key(name, pair)) or self.routers[name]

    @property
    def aliases(self) -> Mapping[str, AliasSettings]:
        """Model names that stand for a router and a threshold, or for another name; patterns among them."""
        return self.settings.aliases

    def passed_through(self, name: str) -> Model | None:
        """A model that is not configured, for the upstream that takes such names; ``None`` where there is none."""
        if not self.settings.server.passthrough or len(name) > LONGEST_NAME:
            return None
        upstream = self.upstreams[self.settings.server.passthrough]
        return Model(name, name, upstream, None, frozenset(DIALECTS), safe_value(name), "other")


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
        if key.is_placeholder and not unchanged:
            logger.warning(
                "upstream %s: its key has fewer than %d characters and is not removed from answers",
                name,
                SHORTEST_SECRET,
            )
    models = _models(settings, upstreams, before.models if before else {})
    if any(one.translation is not None for one in models.values()):
        load_litellm()
    pair = None if settings.pair is None else Pair(models[settings.pair.strong], models[settings.pair.weak])
    pairs = {
        name: Pair(
            models[alias.strong] if alias.strong or pair is None else pair.strong,
            models[alias.weak] if alias.weak or pair is None else pair.weak,
        )
        for name, alias in settings.aliases.items()
        if alias.router
    }
    scorers = Scorers(before.scorers if before else {})
    # As ``[changes]``, it stays as it was until a restart.
    pins = settings.changes.pin if before is None else before.pins
    loaded = _load_routers(settings, pair, pairs, before.loaded if before else {}, scorers, pins)
    snapshot = Snapshot(
        settings=settings,
        loaded=loaded,
        routers={name: loaded[_key(name, pair)] for name in settings.routers} if pair else {},
        pools=load_pools(settings, before.pools if before else {}, scorers, pins=pins),
        pins=pins,
        scorers=scorers.opened,
        upstreams=upstreams,
        models=models,
        pair=pair,
        alias_pairs=pairs,
        names=ModelNames(settings.aliases, models),
        context=_context(settings.server.context),
        harness=settings.agents.harness,
    )
    for name, models_of in pairs.items():
        alias = settings.aliases[name]
        if alias.strong_share is not None and not snapshot.router_for(alias.router, models_of).router.quantiles:
            raise ConfigError(
                f"[aliases.{name}] strong_share: router {alias.router} has no quantiles for this pair; use a threshold"
            )
    return snapshot


def _key(router: str, pair: Pair) -> tuple[str, str, str]:
    return router, pair.strong.name, pair.weak.name


def _load_routers(
    settings: Settings, pair: Pair | None, pairs: Mapping[str, Pair], before: Loaded, scorers: Scorers, pins: bool
) -> Loaded:
    """Every router for the pair, and for the pair of an alias where that is another one to the router.

    Names that an artifact does not know are labels, for which one router serves all pairs.
    """

    def load(name: str, models: Pair) -> LoadedRouter:
        key = _key(name, models)
        return load_router(name, settings.routers[name], key[1:], before.get(key), scorers, pins=pins)

    found = {_key(name, pair): load(name, pair) for name in settings.routers} if pair else {}
    for name, models in pairs.items():
        router = settings.aliases[name].router
        key = _key(router, models)
        if key in found:
            continue
        known = set(getattr(found[_key(router, pair)].router, "models", ())) if pair else set()
        if pair is None or known & {*key[1:], pair.strong.name, pair.weak.name}:
            found[key] = load(router, models)
    return found


def _models(settings: Settings, upstreams: Mapping[str, Upstream], before: Mapping[str, Model]) -> dict[str, Model]:
    """The models by name, and their reasoning efforts as ``model:effort``. Quotas that did not change go on counting."""
    found: dict[str, Model] = {}
    for name, one in settings.models.items():
        found[name] = model = _model(name, one, upstreams)
        found[name] = model = replace(model, quotas=_quotas(name, one.pool_fields, before))
        for effort, fields in one.efforts.items():
            full = f"{name}:{effort}"
            found[full] = replace(
                model,
                name=full,
                header=safe_value(full),
                label=full,
                effort=effort,
                body=fields.get("body"),
                quotas=(*model.quotas, *_quotas(full, fields, before)),
            )
    return found


def _quotas(name: str, fields: Mapping[str, Any], before: Mapping[str, Model]) -> tuple[Quota, ...]:
    limit = fields.get("quota")
    if limit is None:
        return ()
    kept = before[name].quotas[-1:] if name in before else ()
    return kept if kept and (kept[0].name, kept[0].limit) == (name, limit) else (Quota(name, limit),)


def _model(name: str, settings: ModelSettings, upstreams: Mapping[str, Upstream]) -> Model:
    return Model(
        name,
        settings.name or name,
        upstreams[settings.upstream],
        None if settings.capabilities is None else frozenset(settings.capabilities),
        frozenset(settings.dialects),
        safe_value(name),
        name,
        translation=Translation(CHAT if CHAT.name in settings.dialects else MESSAGES) if settings.translate else None,
    )


def _context(spec: str) -> Context:
    return imported(spec) if ":" in spec else spec  # type: ignore[return-value]
