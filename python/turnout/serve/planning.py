"""From a request to the models that may answer it, in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from turnout._core import Decision, OverloadedError, RouterError
from turnout.conversation import judged_text, prompt_of
from turnout.errors import RoutingError
from turnout.routing import NamedRouter, Wanted, needs_of, parse_model_name
from turnout.routing.names import PREFIX
from turnout.serve.errors import ApiError
from turnout.serve.json_body import INLINE_BYTES
from turnout.serve.receipts import prompt_hash
from turnout.serve.snapshot import Model, Pair, Snapshot
from turnout.threads import INLINE_CHARACTERS

logger = logging.getLogger("turnout.serve")

T = TypeVar("T")


@dataclass(frozen=True)
class Routed:
    """A decision with what it was made from."""

    router: NamedRouter
    decision: Decision
    prompt: str
    prompt_sha256: str
    #: What the request needs beyond text.
    needs: frozenset[str]
    pair: Pair
    seconds: float

    @property
    def is_strong(self) -> bool:
        """Whether the strong model was decided for."""
        return self.decision.is_strong

    @property
    def chosen(self) -> Model:
        """The model that was decided for."""
        return self.pair.strong if self.decision.is_strong else self.pair.weak


@dataclass(frozen=True)
class Plan:
    """Who answers: the first model, and after it whoever may stand in."""

    candidates: tuple[Model, ...]
    #: ``None`` for a plain model name.
    routed: Routed | None = None
    #: What the chosen model cannot serve, so that the other one was taken.
    pinned_for: frozenset[str] = frozenset()


def wanted_of(model: object, snapshot: Snapshot) -> tuple[Wanted, Pair] | None:
    """What a request's model name asks for; ``None`` for the plain name of a model.

    Raises:
        ApiError: 400 for no string or an ill-formed ``router-...``.
    """
    if not isinstance(model, str) or not model:
        raise ApiError(400, "model is missing or not a string", code="invalid_type", param="model")
    alias = snapshot.aliases.get(model)
    if alias is not None:
        wanted = Wanted(alias.router, alias.threshold, alias.strong_share)
        return wanted, snapshot.alias_pairs[model]
    if model in snapshot.models or not model.startswith(PREFIX):
        return None
    try:
        return parse_model_name(model, snapshot.routers), snapshot.pair
    except RoutingError as error:
        raise ApiError(400, str(error), code="invalid_model", param="model") from None


async def plan(request: Mapping[str, Any], size: int, snapshot: Snapshot) -> Plan:
    """Decides a chat completion.

    Args:
        request: The body.
        size: The body's bytes.
        snapshot: What is configured.

    Raises:
        ApiError: 400 for what cannot be routed, 404 for a model that is not here.
    """
    wanted = wanted_of(request.get("model"), snapshot)
    if wanted is None:
        needs = await _beside_the_loop(size, lambda: needs_of(request))
        return Plan((plain(str(request["model"]), needs, snapshot),))
    return candidates(await decide(request, size, *wanted, snapshot), snapshot)


async def decide(request: Mapping[str, Any], size: int, wanted: Wanted, pair: Pair, snapshot: Snapshot) -> Routed:
    """One decision of one conversation, timed.

    Args:
        request: A body with messages.
        size: The body's bytes.
        wanted: Which router, and where it cuts.
        pair: The models.
        snapshot: What is configured.

    Raises:
        ApiError: 400 for messages that hold no prompt, 429 where the router is overloaded, 500 where the router failed.
    """
    router = snapshot.router_for(wanted.router, pair)
    began = time.perf_counter()
    with _api_errors("messages"):
        needs, prompt = await _beside_the_loop(
            size, lambda: (needs_of(request), prompt_of(request.get("messages"), snapshot.context))
        )
        decision = await router.adecide(prompt, wanted)
    seconds = time.perf_counter() - began
    digest = prompt_hash(prompt) if len(prompt) <= INLINE_CHARACTERS else await asyncio.to_thread(prompt_hash, prompt)
    return Routed(router, decision, prompt, digest, needs, pair, seconds)


async def decide_many(
    prompts: Sequence[str], wanted: Wanted, pair: Pair, snapshot: Snapshot
) -> tuple[list[Decision], float]:
    """Decisions for many prompts in one crossing, and the seconds of one. A single prompt waits in the router's own queue.

    Raises:
        ApiError: 400 for a prompt that cannot be routed, 429 where the router is overloaded, 500 where the router failed.
    """
    router = snapshot.router_for(wanted.router, pair)
    began = time.perf_counter()
    with _api_errors("prompt"):
        if len(prompts) == 1:
            decisions = [await router.adecide(judged_text(prompts[0]), wanted)]
        else:
            decisions = await router.adecide_many([judged_text(prompt) for prompt in prompts], wanted)
    return decisions, (time.perf_counter() - began) / max(len(prompts), 1)


@contextmanager
def _api_errors(param: str) -> Iterator[None]:
    """Errors of a router as errors of the API; ``param`` is the part of the request that a client can change."""
    try:
        yield
    except RoutingError as error:
        raise ApiError(400, str(error), code="cannot_route", param=param) from None
    except OverloadedError as error:
        raise ApiError(429, str(error), code="overloaded", retry_after_s=1) from None
    except RouterError as error:
        logger.error("%s", error, exc_info=error.__cause__)
        raise ApiError(500, str(error), code="router_failed") from None


async def _beside_the_loop(size: int, work: Callable[[], T]) -> T:
    """Walks the messages of a request: of a large body on a worker thread, because it may take seconds."""
    return work() if size <= INLINE_BYTES else await asyncio.to_thread(work)


def candidates(routed: Routed, snapshot: Snapshot, first: Model | None = None) -> Plan:
    """The plan of a decision.

    Args:
        routed: The decision.
        snapshot: Says whether the other model may stand in.
        first: Taken in place of the decision's model, if it can serve.

    Raises:
        ApiError: 400 where neither model can serve the request.
    """
    chosen, needs = first or routed.chosen, routed.needs
    other = routed.pair.weak if chosen is routed.pair.strong else routed.pair.strong
    lacking = chosen.lacks(needs)
    if not lacking:
        with_other = snapshot.settings.server.fallback and other is not chosen and not other.lacks(needs)
        return Plan((chosen, other) if with_other else (chosen,), routed)
    if other.lacks(needs):
        raise ApiError(
            400,
            f"the request needs {', '.join(sorted(needs))}, which neither {chosen.name} nor {other.name} supports",
            code="unsupported_capability",
        )
    return Plan((other,), routed, lacking)


def plain(name: str, needs: frozenset[str], snapshot: Snapshot) -> Model:
    """The model of a plain name.

    Raises:
        ApiError: 404 where there is none, 400 where it cannot serve the request.
    """
    model = snapshot.models.get(name) or snapshot.passed_through(name)
    if model is None:
        raise ApiError(
            404, f"unknown model {name[:200]!r}; GET /v1/models lists the models", code="model_not_found", param="model"
        )
    if lacking := model.lacks(needs):
        raise ApiError(
            400, f"model {model.name} does not support {', '.join(sorted(lacking))}", code="unsupported_capability"
        )
    return model
