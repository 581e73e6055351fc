"""Pools of the configuration: a router each that chooses between all its models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout._core import ConfigError, InvalidInputError, PoolError
from turnout.cascade import Judge
from turnout.pool.budget import PoolBudget
from turnout.pool.model import Pool
from turnout.pool.router import PoolRouter
from turnout.routing import open_pool
from turnout.serve.routers.folder_stats import Stats, stats_of
from turnout.serve.routers.judges import LoadedCascade, load_judges
from turnout.serve.routers.scorers import Scorers
from turnout.serve.settings.pools import placed

if TYPE_CHECKING:
    from turnout.serve.settings.pools import BudgetSettings
    from turnout.serve.settings.tables import Settings


@dataclass(frozen=True)
class LoadedPool:
    """The pool as one router of the configuration decides it."""

    #: Of ``[routers]``.
    name: str
    router: PoolRouter
    #: SHA-256 of what the pool says and of its files of profiles.
    pool_hash: str
    options: dict[str, Any]
    stats: Stats
    #: In place of objectives.
    budget: PoolBudget | None = None
    #: By model; empty for a router whose decision is final.
    judges: Mapping[str, LoadedCascade] = field(default_factory=dict)

    @cached_property
    def plain_judges(self) -> dict[str, Judge]:
        """The judges alone, by model."""
        return {name: one.judge for name, one in self.judges.items()}

    @property
    def artifact_hash(self) -> str:
        """SHA-256 of the artifact's manifest."""
        return self.router.artifact_hash


def load_pools(settings: Settings, before: Mapping[str, LoadedPool], scorers: Scorers) -> dict[str, LoadedPool]:
    """Opens the pool for each of its routers, or takes those that are open where neither pool nor artifact changed.

    Args:
        settings: Of the server.
        before: Those before a reload.
        scorers: Those that judges read.

    Raises:
        ConfigError: A router is not an artifact, or the pool does not fit it.
        ArtifactError: An artifact is missing or damaged.
    """
    names = settings.pool_routers
    if not names:
        return {}
    pool = Pool.from_dict(settings.pool_values)
    pool_hash = _hash(pool)
    return {name: _load(name, pool, pool_hash, settings, before.get(name), scorers) for name in names}


def _load(
    name: str, pool: Pool, pool_hash: str, settings: Settings, before: LoadedPool | None, scorers: Scorers
) -> LoadedPool:
    options = settings.routers[name].options
    same = before is not None and (before.pool_hash, before.options) == (pool_hash, options)
    limits = None if settings.pool is None else settings.pool.budget
    if before is not None and same and before.stats == stats_of(before.router.path):
        judges = load_judges(name, settings.routers[name], before.router.models, scorers)
        return replace(before, budget=_budget(limits, before.router, before.budget), judges=judges)
    # Read before it is loaded: what changes meanwhile is then found by the next reload.
    stats = stats_of(Path(options["path"])) if isinstance(options.get("path"), str) else {}
    try:
        router = open_pool(name, options, pool)
    except PoolError as error:
        raise ConfigError(f"router {name}: {placed(error, settings.models)}") from error
    except ConfigError as error:
        raise ConfigError(f"{error}; expected [pool] routers to name those that can") from error
    stats = stats or stats_of(router.path)
    judges = load_judges(name, settings.routers[name], router.models, scorers)
    budget = _budget(limits, router, before.budget if before else None)
    return LoadedPool(name, router, pool_hash, options, stats, budget, judges)


def _budget(limits: BudgetSettings | None, router: PoolRouter, before: PoolBudget | None) -> PoolBudget | None:
    """The budget of a pool. It continues from its file, or from the state before a reload where both limit the same resource."""
    if limits is None:
        return None
    if before is not None:
        before.try_save()
    try:
        budget = PoolBudget(router, **limits.arguments)
        if before is not None and not limits.path and budget.is_like(before):
            budget.restore(before.state())
    except InvalidInputError as error:
        raise ConfigError(f"[pool.budget] {error}") from error
    return budget


def _hash(pool: Pool) -> str:
    """SHA-256 of a pool; files that cannot be read are left to the core, which says what is wrong."""
    digest = hashlib.sha256(json.dumps(pool.to_dict(), sort_keys=True).encode())
    for model in pool.models:
        for one in (model, *model.efforts.values()):
            path = pool.folder / one.profile if one.profile else None
            if path is not None and path.is_file():
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
