"""Win rates of several routers for the prompt that is being typed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import RouterError
from turnout.serve.dialects.errors import ApiError
from turnout.serve.playground.request_body import prompt_in, request_object

if TYPE_CHECKING:
    from turnout.serve.routers.loaded import LoadedRouter
    from turnout.serve.state import State


class Scores:
    """``POST /playground/api/scores``.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    async def answer(self, request: Request) -> Response:
        """``{"prompt", "routers": [names]}`` is answered with ``{"scores": {name: {"win_rate", "decision_us"} or {"error"}}}``.

        One router that fails fails alone. These are no requests of clients: they are not counted as decisions.
        """
        found = await request_object(request)
        prompt = prompt_in(found)
        routers = self.state.routers
        names = found.get("routers", list(routers))
        if not isinstance(names, list) or not all(isinstance(name, str) and name in routers for name in names):
            raise ApiError(
                400, f"routers is not a list of {', '.join(routers)}", code="invalid_router", param="routers"
            )
        unique = list(dict.fromkeys(names))
        scores = await asyncio.gather(*(_score(routers[name], prompt) for name in unique))
        return JSONResponse({"scores": dict(zip(unique, scores, strict=True))})


async def _score(loaded: LoadedRouter, prompt: str) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        decision = await loaded.router.aroute(prompt, threshold=loaded.threshold)
    except RouterError as error:
        return {"error": str(error)}
    return {"win_rate": decision.win_rate, "decision_us": round((time.perf_counter() - began) * 1e6, 1)}
