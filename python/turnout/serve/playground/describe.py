"""What is loaded, as the page needs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import __version__, threshold_for_share
from turnout.serve.playground.evaluation import evaluation_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turnout.pool.model import Model as PoolModel
    from turnout.serve.decisions.snapshot import Model, Snapshot
    from turnout.serve.routers.loaded import LoadedRouter
    from turnout.serve.routers.pools import LoadedPool
    from turnout.serve.state import State


class Describe:
    """``GET /playground/api/setup``.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    async def answer(self, request: Request) -> Response:
        """``{"version", "pair", "routers": [...], "pools": [...]}``; see :func:`described` and :func:`evaluation_of`."""
        return JSONResponse(await asyncio.to_thread(described, self.state.snapshot))


def described(snapshot: Snapshot) -> dict[str, Any]:
    """The pair with its prices (``None`` where there is only a pool), pools with those of their models, and the threshold, calibration scores and evaluation of each router.

    ``thresholds`` holds a router's thresholds for shares of 0, 1, ... 100 %, which are the steps of the slider.
    """
    return {
        "version": __version__,
        "pair": None
        if snapshot.pair is None
        else {"strong": _model(snapshot.pair.strong, snapshot), "weak": _model(snapshot.pair.weak, snapshot)},
        "routers": [_router(router) for router in snapshot.routers.values()],
        "pools": [_pool(pool) for pool in snapshot.pools.values()],
    }


def _router(loaded: LoadedRouter) -> dict[str, Any]:
    quantiles = loaded.router.quantiles
    return {
        "name": loaded.name,
        "threshold": loaded.threshold,
        "quantiles": quantiles,
        "thresholds": [threshold_for_share(quantiles, share / 100) for share in range(101)] if quantiles else [],
        "is_microseconds": loaded.router.is_microseconds,
        "explains": hasattr(loaded.router, "explain"),
        "artifact_hash": loaded.artifact_hash,
        **evaluation_of(loaded.router),
    }


def _pool(loaded: LoadedPool) -> dict[str, Any]:
    pool = loaded.router.pool
    models = [(name, one) for model in pool.models for name, one in _candidates(model)]
    return {
        "name": loaded.name,
        "is_microseconds": loaded.router.is_microseconds,
        "artifact_hash": loaded.artifact_hash,
        "currency": pool.currency,
        "objective": pool.objective,
        "models": [{"name": name, "input_price": prices[0], "output_price": prices[1]} for name, prices in models],
    }


def _candidates(model: PoolModel) -> Iterator[tuple[str, tuple[float | None, float | None]]]:
    """A model of a pool and its efforts, by name, with the prices of each."""
    own = model.input_price, model.output_price
    yield model.name, own
    for name, effort in model.efforts.items():
        given = effort.input_price, effort.output_price
        yield (
            f"{model.name}:{name}",
            (own[0] if given[0] is None else given[0], own[1] if given[1] is None else given[1]),
        )


def _model(model: Model, snapshot: Snapshot) -> dict[str, Any]:
    fields = snapshot.settings.models[model.name].pool_fields
    return {
        "name": model.name,
        "input_price": fields.get("input_price"),
        "output_price": fields.get("output_price"),
    }
