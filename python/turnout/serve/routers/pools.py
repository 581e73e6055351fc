"""Pools of the configuration: a router each that chooses between all its models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnout._core import ConfigError, InvalidInputError, PoolError
from turnout.cascade import Judge
from turnout.pool.budget import PoolBudget
from turnout.pool.model import Pool
from turnout.pool.router import PoolRouter
from turnout.registry import open_pool
from turnout.serve.routers.charge import Account
from turnout.serve.routers.folder_stats import Stats, contents_of, index_files, stats_of
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
    #: Of the budget in place of objectives, which :meth:`begin` changes.
    account: Account | None = None
    #: What a reload makes of the budget.
    next_budget: tuple[PoolBudget, str] | None = None
    #: SHA-256 of the file of each model's profile; empty for a model without one.
    profiles: Mapping[str, str] = field(default_factory=dict)
    #: By model; empty for a router whose decision is final.
    judges: Mapping[str, LoadedCascade] = field(default_factory=dict)
    #: SHA-256 of what the router reads beside the files of its manifest: the index of its options. Only with ``pin``.
    beside: tuple[str, ...] = ()

    @property
    def budget(self) -> PoolBudget | None:
        """The budget that runs; ``None`` where an objective decides."""
        return None if self.account is None else self.account.budget

    def begin(self) -> None:
        """Goes on with the budget that was opened, and with what the one before has counted until now."""
        if self.account is not None and self.next_budget is not None:
            self.account.go_on_with(*self.next_budget)

    @cached_property
    def plain_judges(self) -> dict[str, Judge]:
        """The judges alone, by model."""
        return {name: one.judge for name, one in self.judges.items()}

    @property
    def artifact_hash(self) -> str:
        """SHA-256 of the artifact's manifest."""
        return self.router.artifact_hash


def load_pools(
    settings: Settings, before: Mapping[str, LoadedPool], scorers: Scorers, *, pins: bool = False
) -> dict[str, LoadedPool]:
    """Opens the pool for each of its routers, or takes those that are open where neither pool nor artifact changed.

    Args:
        settings: Of the server.
        before: Those before a reload.
        scorers: Those that judges read.
        pins: Whether what they read is compared after a reload, so that an index is hashed.

    Raises:
        ConfigError: A router is not an artifact, or the pool does not fit it.
        ArtifactError: An artifact is missing or damaged.
    """
    names = settings.pool_routers
    if not names:
        return {}
    pool = Pool.from_dict(settings.pool_values)
    profiles = _profiles(pool)
    return {name: _load(name, pool, profiles, settings, before.get(name), scorers, pins) for name in names}


def _load(
    name: str,
    pool: Pool,
    profiles: Mapping[str, str],
    settings: Settings,
    before: LoadedPool | None,
    scorers: Scorers,
    pins: bool,
) -> LoadedPool:
    pool_hash = _hash(pool, profiles.values())
    options = settings.routers[name].options
    same = (
        before is not None and (before.pool_hash, before.options) == (pool_hash, options) and not index_files(options)
    )
    limits = None if settings.pool is None else settings.pool.budget
    if before is not None and same and before.stats == stats_of(before.router.path):
        judges = load_judges(name, settings.routers[name], before.router.models, scorers)
        account, following = _budget(limits, before.router, before.account)
        return replace(before, account=account, next_budget=following, judges=judges)
    # Read before it is loaded: what changes meanwhile is then found by the next reload.
    beside = contents_of(index_files(options)) if pins else ()
    stats = stats_of(Path(options["path"])) if isinstance(options.get("path"), str) else {}
    try:
        router = open_pool(name, options, pool)
    except PoolError as error:
        raise ConfigError(f"router {name}: {placed(error, settings.models)}") from error
    except ConfigError as error:
        raise ConfigError(f"{error}; expected [pool] routers to name those that can") from error
    stats = stats or stats_of(router.path)
    judges = load_judges(name, settings.routers[name], router.models, scorers)
    account, following = _budget(limits, router, before.account if before else None)
    return LoadedPool(name, router, pool_hash, options, stats, account, following, profiles, judges, beside)


def _budget(
    limits: BudgetSettings | None, router: PoolRouter, before: Account | None
) -> tuple[Account | None, tuple[PoolBudget, str] | None]:
    """Where a pool counts, and the budget with which that goes on at the end of the reload.

    A budget of another resource, or of another file that has a state, is another account.
    """
    if limits is None:
        return None, None
    if before is not None:
        before.budget.try_save()
    is_other_file = before is None or (limits.path != before.path and Path(limits.path or ".").is_file())
    try:
        budget = PoolBudget(router, **limits.arguments)
    except InvalidInputError as error:
        raise ConfigError(f"[pool.budget] {error}") from error
    if before is None or is_other_file or not budget.is_like(before.budget):
        return Account(budget, limits.path), None
    return before, (budget, limits.path)


def _profiles(pool: Pool) -> dict[str, str]:
    """SHA-256 of each model's file of profiles; empty where there is none, or it cannot be read: the core says what is wrong."""
    found = {}
    for model in pool.models:
        efforts = {f"{model.name}:{effort}": one for effort, one in model.efforts.items()}
        for name, one in {model.name: model, **efforts}.items():
            path = pool.folder / one.profile if one.profile else None
            has_file = path is not None and path.is_file()
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and has_file else ""
    return found


def _hash(pool: Pool, profiles: Iterable[str]) -> str:
    """SHA-256 of a pool and of its files of profiles."""
    digest = hashlib.sha256(json.dumps(pool.to_dict(), sort_keys=True).encode())
    for one in profiles:
        digest.update(bytes.fromhex(one))
    return digest.hexdigest()
