"""Which models ``turnout.Cascade`` asks for a prompt: two by a win rate, or those of a pool by its ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from turnout._core import ConfigError
from turnout.cascade import Judge, Step, pair_steps, pool_steps
from turnout.cascade.judge import Action
from turnout.errors import RoutingError
from turnout.pool.router import PoolRouter
from turnout.scored_router import AnyRouter

if TYPE_CHECKING:
    from turnout._core import Ranked


class PairChooser:
    """Chooses the steps of two models."""

    def __init__(self, router: AnyRouter, judge: Judge, strong: str, weak: str) -> None:
        self._router, self._judge = router, judge
        self.models = [strong, weak]

    def steps(self, prompt: str, needs: frozenset[str]) -> tuple[Action, list[Step]]:
        """What the prompt decides, and the steps.

        Args:
            prompt: The prompt.
            needs: Of the request beyond text.
        """
        return self._chosen(self._router.route(prompt).win_rate)

    async def asteps(self, prompt: str, needs: frozenset[str]) -> tuple[Action, list[Step]]:
        """:meth:`steps` for asyncio."""
        return self._chosen((await self._router.aroute(prompt)).win_rate)

    def _chosen(self, risk: float) -> tuple[Action, list[Step]]:
        return pair_steps(self._judge, risk, weak=self.models[1], strong=self.models[0])


class PoolChooser:
    """Chooses the steps of a pool."""

    def __init__(self, router: PoolRouter, judges: Mapping[str, Judge]) -> None:
        self._router, self._judges = router, judges
        self.models = list(router.models)

    def steps(self, prompt: str, needs: frozenset[str]) -> tuple[Action, list[Step]]:
        """What the prompt decides, and the steps.

        Args:
            prompt: The prompt.
            needs: Of the request beyond text.
        """
        return self._chosen(self._router.rank(prompt, needs=sorted(needs)))

    async def asteps(self, prompt: str, needs: frozenset[str]) -> tuple[Action, list[Step]]:
        """:meth:`steps` for asyncio."""
        return self._chosen(await self._router.arun(prompt, lambda: self._router.rank(prompt, needs=sorted(needs))))

    def _chosen(self, ranked: Sequence[Ranked]) -> tuple[Action, list[Step]]:
        action, steps = pool_steps(ranked, self._judges)
        if not steps:
            reasons = "; ".join(f"{one.model}: {one.reason}" for one in ranked)
            raise RoutingError(f"no model of the pool may serve the request: {reasons}")
        return action, steps


def chooser_of(
    router: AnyRouter | PoolRouter, judge: Judge | Mapping[str, Judge], strong: str | None, weak: str | None
) -> PairChooser | PoolChooser:
    """What chooses the steps of a cascade.

    Args:
        router: Of a pair or of a pool.
        judge: One, or those of a pool by model.
        strong: Name of the strong model of a pair.
        weak: Name of the cheaper one.

    Raises:
        ConfigError: Names and judges do not fit the router.
    """
    if isinstance(router, PoolRouter):
        if not isinstance(judge, Mapping) or not judge or strong is not None or weak is not None:
            raise ConfigError("a cascade in a pool needs judges by name of a model, and neither strong nor weak")
        for name in judge:
            if name not in router.models:
                raise ConfigError(f"judge of {name!r}, which is not in the pool: {', '.join(router.models)}")
        return PoolChooser(router, judge)
    if isinstance(judge, Mapping) or strong is None or weak is None:
        raise ConfigError("a cascade of two models needs one judge, strong and weak")
    if strong == weak:
        raise ConfigError(f"the strong and the weak model are both {strong!r}")
    return PairChooser(router, judge, strong, weak)
