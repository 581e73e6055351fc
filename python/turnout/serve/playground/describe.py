"""What is loaded, as the page needs it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import __version__, threshold_for_share
from turnout.serve.playground.evaluation import evaluation_of

if TYPE_CHECKING:
    from turnout.serve.loaded import LoadedRouter
    from turnout.serve.snapshot import Model, Snapshot
    from turnout.serve.state import State


class Describe:
    """``GET /playground/api/setup``.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    async def answer(self, request: Request) -> Response:
        """``{"version", "pair", "routers": [...]}``; see :func:`described` and :func:`evaluation_of`."""
        return JSONResponse(await asyncio.to_thread(described, self.state.snapshot))


def described(snapshot: Snapshot) -> dict[str, Any]:
    """The pair with its prices, and the threshold, calibration scores and evaluation of each router.

    ``thresholds`` holds a router's thresholds for shares of 0, 1, ... 100 %, which are the steps of the slider.
    """
    return {
        "version": __version__,
        "pair": None
        if snapshot.pair is None
        else {"strong": _model(snapshot.pair.strong, snapshot), "weak": _model(snapshot.pair.weak, snapshot)},
        "routers": [_router(router) for router in snapshot.routers.values()],
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


def _model(model: Model, snapshot: Snapshot) -> dict[str, Any]:
    fields = snapshot.settings.models[model.name].pool_fields
    return {
        "name": model.name,
        "input_price": fields.get("input_price"),
        "output_price": fields.get("output_price"),
    }
