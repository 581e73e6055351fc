"""What drove a win rate: the router's own explanation, and what each word of the prompt adds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from turnout._core import OverloadedError, RouterError
from turnout.serve.dialects.errors import ApiError
from turnout.serve.playground.request_body import prompt_in, request_object

if TYPE_CHECKING:
    from turnout.serve.state import State

#: Words whose effect is measured, tokens and neighbors that are sent; the rest is counted.
_MAX_WORDS, _MAX_TOKENS, _MAX_NEIGHBORS = 160, 400, 10
_WORD = re.compile(r"\S+\s*")


class Explain:
    """``POST /playground/api/explain``.

    Args:
        state: The server's state.
    """

    def __init__(self, state: State) -> None:
        self.state = state

    async def answer(self, request: Request) -> Response:
        """``{"router", "prompt"}``; the answer is that of :func:`explained`."""
        found = await request_object(request)
        prompt = prompt_in(found)
        name = found.get("router")
        router = self.state.routers.get(name) if isinstance(name, str) else None
        if router is None:
            known = ", ".join(self.state.routers)
            raise ApiError(400, f"unknown router; available routers: {known}", code="invalid_router", param="router")
        if not hasattr(router.router, "explain"):
            raise ApiError(400, f"router {router.name} has no explanations", code="no_explanation", param="router")
        # An explanation takes as many scores as it measures words: it counts as so many prompts.
        prompts = 1 + len(_WORD.findall(prompt)[:_MAX_WORDS])
        try:
            return JSONResponse(await router.router.threads.run(lambda: explained(router.router, prompt), prompts))
        except OverloadedError:
            raise ApiError(
                429, "too many prompts are waiting for a decision; try again", code="overloaded", retry_after_s=1
            ) from None
        except RouterError as error:
            raise ApiError(400, str(error), code="cannot_route", param="prompt") from None


def explained(router: Any, prompt: str) -> dict[str, Any]:
    """An explanation as JSON values.

    Args:
        router: A :class:`turnout.Router`, or what has its ``explain``, ``win_rates`` and ``is_microseconds``.
        prompt: The prompt.

    Returns:
        ``win_rate``, ``raw_win_rate``, ``logit``; ``tokens`` and ``token_count``; ``words`` (text, and ``effect``: the win rate with the
        word minus the win rate without it, null where it was not measured) and ``words_left_out``; ``model_scores``, best first;
        ``stages`` with nanoseconds; ``engine``, ``artifact_hash``; ``neighbors``, the nearest battles, for routers that have them.

    Raises:
        RouterError: The prompt cannot be routed.
    """
    found = router.explain(prompt)
    words = _WORD.findall(prompt)
    neighbors = getattr(found, "neighbors", None) or []
    return {
        "win_rate": found.decision.win_rate,
        "raw_win_rate": found.raw_win_rate,
        "logit": found.logit,
        "tokens": found.tokens[:_MAX_TOKENS],
        "token_count": len(found.tokens),
        "words": _effects(router, found.decision.win_rate, words[:_MAX_WORDS], "".join(words[_MAX_WORDS:])),
        "words_left_out": max(len(words) - _MAX_WORDS, 0),
        "model_scores": sorted(found.model_scores.items(), key=lambda one: -one[1]),
        "stages": found.stages,
        "engine": found.engine,
        "artifact_hash": found.artifact_hash,
        "neighbors": [
            {
                "prompt": str(one.prompt)[:500],
                "similarity": float(one.similarity),
                "model_a": str(one.model_a),
                "model_b": str(one.model_b),
                "outcome": str(one.outcome),
            }
            for one in neighbors[:_MAX_NEIGHBORS]
        ],
    }


def _effects(router: Any, win_rate: float, words: list[str], rest: str) -> list[dict[str, Any]]:
    """Leaves each word out in turn; routers that take longer than microseconds are not asked that often."""
    if not getattr(router, "is_microseconds", False) or not words:
        return [{"text": word, "effect": None} for word in words]
    without = ["".join(words[:index] + words[index + 1 :]) + rest for index in range(len(words))]
    rates = router.win_rates(without).tolist()
    return [{"text": word, "effect": win_rate - rate} for word, rate in zip(words, rates, strict=True)]
