"""From a request to the models that may answer it, in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from turnout._core import Decision, OverloadedError, RouterError
from turnout.conversation import judged_text, prompt_of
from turnout.errors import RoutingError
from turnout.routing import Wanted, able_to_serve, naming, needs_of, parse_model_name
from turnout.routing.names import PREFIX
from turnout.routing.needs import lacking
from turnout.serve.dialects import CHAT, Dialect
from turnout.serve.errors import ApiError
from turnout.serve.json_body import beside_the_loop
from turnout.serve.loaded import LoadedRouter
from turnout.serve.receipts import prompt_hash
from turnout.serve.snapshot import Model, Pair, Snapshot

logger = logging.getLogger("turnout.serve")


@dataclass(frozen=True)
class Routed:
    """A decision with what it was made from."""

    router: LoadedRouter
    decision: Decision
    prompt: str
    prompt_sha256: str
    #: What the request needs beyond text.
    needs: frozenset[str]
    pair: Pair
    dialect: Dialect
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
    #: What the chosen model cannot serve, so that the other one was taken: capabilities, or the dialect.
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


async def plan(request: Mapping[str, Any], size: int, snapshot: Snapshot, dialect: Dialect) -> Plan:
    """Decides a request.

    Args:
        request: The body.
        size: The body's bytes.
        snapshot: What is configured.
        dialect: What the body is written in.

    Raises:
        ApiError: 400 for what cannot be routed, 404 for a model that is not here.
    """
    wanted = wanted_of(request.get("model"), snapshot)
    if wanted is None:
        needs = await beside_the_loop(size, lambda: needs_of(request, dialect.conversation))
        return Plan((plain(str(request["model"]), needs, snapshot, dialect),))
    return candidates(await decide(request, size, *wanted, snapshot, dialect), snapshot)


async def decide(
    request: Mapping[str, Any], size: int, wanted: Wanted, pair: Pair, snapshot: Snapshot, dialect: Dialect = CHAT
) -> Routed:
    """One decision of one conversation, timed.

    Args:
        request: A body with a conversation.
        size: The body's bytes.
        wanted: Which router, and where it cuts.
        pair: The models.
        snapshot: What is configured.
        dialect: What the body is written in.

    Raises:
        ApiError: 400 for messages that hold no prompt, 429 where the router is overloaded, 500 where the router failed.
    """
    router = snapshot.router_for(wanted.router, pair)
    began = time.perf_counter()
    key = dialect.conversation
    with _api_errors(key):
        needs, prompt = await beside_the_loop(
            size, lambda: (needs_of(request, key), prompt_of(dialect.messages(request), snapshot.context))
        )
        with naming(router.name):
            decision = await router.router.aroute(prompt, **router.cut(wanted))
    seconds = time.perf_counter() - began
    digest = await beside_the_loop(len(prompt), lambda: prompt_hash(prompt))
    return Routed(router, decision, prompt, digest, needs, pair, dialect, seconds)


async def decide_many(
    prompts: Sequence[str], wanted: Wanted, pair: Pair, snapshot: Snapshot
) -> tuple[list[Decision], float]:
    """Decisions for many prompts in one crossing, and the seconds of one. A single prompt waits in the router's own queue.

    Raises:
        ApiError: 400 for a prompt that cannot be routed, 429 where the router is overloaded, 500 where the router failed.
    """
    router = snapshot.router_for(wanted.router, pair)
    began = time.perf_counter()
    with _api_errors("prompt"), naming(router.name):
        if len(prompts) == 1:
            decisions = [await router.router.aroute(judged_text(prompts[0]), **router.cut(wanted))]
        else:
            texts = [judged_text(prompt) for prompt in prompts]
            decisions = await router.router.aroute_batch(texts, **router.cut(wanted))
    return decisions, (time.perf_counter() - began) / max(len(prompts), 1)


@contextmanager
def _api_errors(param: str) -> Iterator[None]:
    """Errors of a router as errors of the API; ``param`` is the part of the request that a client can change."""
    try:
        yield
    except RoutingError as error:
        message = str(error)
        if message.startswith("messages"):
            message = param + message.removeprefix("messages")
        raise ApiError(400, message, code="cannot_route", param=param) from None
    except OverloadedError as error:
        raise ApiError(429, str(error), code="overloaded", retry_after_s=1) from None
    except RouterError as error:
        logger.error("%s", error, exc_info=error.__cause__)
        raise ApiError(500, str(error), code="router_failed") from None


def candidates(routed: Routed, snapshot: Snapshot, first: Model | None = None) -> Plan:
    """The plan of a decision.

    Args:
        routed: The decision.
        snapshot: Says whether the other model may stand in.
        first: Taken in place of the decision's model, if it can serve.

    Raises:
        ApiError: 400 where neither model can serve the request.
    """
    chosen = first or routed.chosen
    other = routed.pair.weak if chosen is routed.pair.strong else routed.pair.strong
    able = _serving((chosen, other), routed.needs, routed.dialect)
    if able[0] is not chosen:
        return Plan((other,), routed, lacking(chosen, routed.needs) | _foreign(chosen, routed.dialect))
    with_other = snapshot.settings.server.fallback and able[-1] is not chosen
    return Plan((chosen, other) if with_other else (chosen,), routed)


def plain(name: str, needs: frozenset[str], snapshot: Snapshot, dialect: Dialect) -> Model:
    """The model of a plain name.

    Args:
        name: The name.
        needs: Of the request.
        snapshot: What is configured.
        dialect: Of the request.

    Raises:
        ApiError: 404 where there is none, 400 where it cannot serve the request.
    """
    model = snapshot.models.get(name) or snapshot.passed_through(name)
    if model is None:
        raise ApiError(
            404, f"unknown model {name[:200]!r}; GET /v1/models lists the models", code="model_not_found", param="model"
        )
    return _serving((model,), needs, dialect)[0]


def _serving(models: Sequence[Model], needs: frozenset[str], dialect: Dialect) -> list[Model]:
    speaking = [model for model in models if not _foreign(model, dialect)]
    if not speaking:
        found = "; ".join(f"{model.name} speaks {', '.join(sorted(model.dialects))}" for model in models)
        raise ApiError(
            400,
            f"no model for the {dialect.name} dialect: {found}; see dialects in [models.NAME]",
            code="unsupported_dialect",
            param="model",
        )
    try:
        return able_to_serve(speaking, needs)
    except RoutingError as error:
        raise ApiError(400, str(error), code="unsupported_capability") from None


def _foreign(model: Model, dialect: Dialect) -> frozenset[str]:
    return frozenset() if dialect.name in model.dialects else frozenset([dialect.name])
