"""Decisions, and the models that may answer a request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from turnout._core import Decision, OverloadedError, RouterError
from turnout.cascade import pair_steps
from turnout.cascade.judge import Action
from turnout.conversation import judged_text, prompt_of
from turnout.conversation.needs import able_to_serve, lacking, needs_of
from turnout.errors import RoutingError
from turnout.registry import RouteSpec, naming, parse_model_name
from turnout.registry.names import PREFIX
from turnout.serve.decisions.snapshot import LONGEST_NAME, Model, Pair, Snapshot
from turnout.serve.decisions.steps import LoadedStep, loaded_steps
from turnout.serve.dialects import Dialect
from turnout.serve.dialects.errors import ApiError
from turnout.serve.http.json_body import beside_the_loop
from turnout.serve.metrics import Metrics
from turnout.serve.receipts.receipts import prompt_hash
from turnout.serve.routers.charge import Charge
from turnout.serve.routers.judges import LoadedCascade
from turnout.serve.routers.loaded import LoadedRouter
from turnout.serve.routers.pools import LoadedPool
from turnout.serve.sessions.sessions import Session

logger = logging.getLogger("turnout.serve")

#: Names that a snapshot keeps parsed; clients choose them.
_MOST_SPECS = 1000
#: Characters that take as long to judge as a prompt takes beyond its own.
_PROMPT_SIZE = 100
#: The session of the hash of a text that is judged.
SessionOf = Callable[[str], Session | None]


@dataclass(frozen=True)
class Routed:
    """A decision with what it was made from."""

    router: LoadedRouter
    decision: Decision
    prompt: str
    prompt_sha256: str
    pair: Pair
    seconds: float

    @property
    def cascade(self) -> LoadedCascade | None:
        """Judges the weak model's answers; ``None`` where the prompt alone decides."""
        return self.router.cascade

    @cached_property
    def action(self) -> Action:
        """Which model is asked first, and whether its answer is judged: ``cheap``, ``cascade`` or ``strong``."""
        return self.router.action(self.decision)

    @property
    def chosen(self) -> Model:
        """The model that was decided for; that of a cascade is asked first."""
        return self.pair.strong if self.action == "strong" else self.pair.weak

    def steps(self, strong: Model) -> tuple[LoadedStep, ...]:
        """Of the cascade: the weak model, whose answer is judged, and the strong one.

        Args:
            strong: The strong model.
        """
        assert self.cascade is not None
        weak = self.chosen
        _, steps = pair_steps(self.cascade.judge, self.decision.win_rate, weak=weak.name, strong=strong.name)
        return loaded_steps(steps, {weak.name: weak, strong.name: strong}, {weak.name: self.cascade})

    def count(self, metrics: Metrics) -> None:
        """Counts the decision."""
        metrics.win_rate.labels(self.router.name).observe(self.decision.win_rate)

    def receipt(self) -> dict[str, Any]:
        """What a route receipt has of the decision."""
        return {
            "router": self.router.name,
            "artifact_hash": self.router.artifact_hash,
            "strong": self.router.router.strong,
            "weak": self.router.router.weak,
            "prompt_sha256": self.prompt_sha256,
            "win_rate": self.decision.win_rate,
            "threshold": self.decision.threshold,
            "is_strong": self.decision.is_strong,
            **({} if self.cascade is None else {"action": self.action}),
        }

    def headers(self) -> dict[str, str]:
        """Headers of the answer that say what was decided."""
        return {
            "x-turnout-win-rate": repr(self.decision.win_rate),
            "x-turnout-threshold": repr(self.decision.threshold),
            **({} if self.cascade is None else {"x-turnout-action": self.action}),
        }

    def attributes(self) -> dict[str, Any]:
        """Attributes of the span of the decision."""
        return {"turnout.win_rate": self.decision.win_rate, "turnout.threshold": self.decision.threshold}


class AnyRouted(Protocol):
    """A decision, of a pair (:class:`Routed`) or of a pool (:class:`turnout.serve.decisions.pool_decision.PoolRouted`)."""

    @property
    def router(self) -> LoadedRouter | LoadedPool:
        """The router that decided."""

    @property
    def prompt(self) -> str:
        """The text that was judged."""

    @property
    def seconds(self) -> float:
        """How long it took."""

    @property
    def chosen(self) -> Model:
        """The model that was decided for."""

    def count(self, metrics: Metrics) -> None:
        """Counts the decision."""

    def receipt(self) -> dict[str, Any]:
        """What a route receipt has of the decision."""

    def headers(self) -> dict[str, str]:
        """Headers of the answer that say what was decided."""

    def attributes(self) -> dict[str, Any]:
        """Attributes of the span of the decision."""


@dataclass(frozen=True)
class Plan:
    """The model that answers, and its fallbacks in their order."""

    candidates: tuple[Model, ...]
    #: ``None`` for a plain model name, and where a rule chose.
    routed: AnyRouted | None = None
    #: What the chosen model cannot serve, so that the other one was taken: capabilities, or the dialect.
    pinned_for: frozenset[str] = frozenset()
    #: What chose the model in place of a router: ``turn``, ``conversation``, ``stall``, ``response`` or ``helper``.
    rule: str = ""
    #: Remembers who answers.
    session: Session | None = None
    #: Of a cascade, in turn; the last one is not judged. Empty where no answer is judged.
    steps: tuple[LoadedStep, ...] = ()
    #: What a pool's budget has counted; ``None`` without a budget.
    charge: Charge | None = None


@dataclass(frozen=True)
class Reading:
    """What was read of a request."""

    #: What it needs beyond text.
    needs: frozenset[str]
    #: The text that is judged, and its hash.
    prompt: str
    prompt_sha256: str
    session: Session | None


def spec_of(model: object, snapshot: Snapshot) -> tuple[RouteSpec, Pair | LoadedPool] | None:
    """What a request's model name asks for, and between what to choose; ``None`` for the plain name of a model.

    A name with a threshold or a share means the pair, one with an objective the pool, and ``router-NAME`` the pool where there is one.

    Raises:
        ApiError: 400 for no string, an ill-formed ``router-...``, or one that means a pair or a pool that is not there.
    """
    if not isinstance(model, str) or not model:
        raise ApiError(400, "model is missing or not a string", code="invalid_type", param="model")
    model = snapshot.names.resolve(model)
    alias = snapshot.aliases.get(model)
    if alias is not None:
        spec = RouteSpec(alias.router, alias.threshold, alias.strong_share)
        return spec, snapshot.alias_pairs[model]
    if model in snapshot.models or not model.startswith(PREFIX):
        return None
    if (known := snapshot.specs.get(model)) is not None:
        return known
    try:
        spec = parse_model_name(model, snapshot.settings.routers)
        found = spec, between(spec, snapshot)
    except RoutingError as error:
        raise ApiError(400, str(error), code="invalid_model", param="model") from None
    if len(snapshot.specs) < _MOST_SPECS and len(model) <= LONGEST_NAME:
        snapshot.specs[model] = found
    return found


def between(spec: RouteSpec, snapshot: Snapshot) -> Pair | LoadedPool:
    """What a router chooses between.

    Args:
        spec: The router, and its number.
        snapshot: What is configured.

    Raises:
        RoutingError: There is no pair, or no pool of this router.
    """
    pool = snapshot.pools.get(spec.router)
    if pool is not None and (spec.objective is not None or spec.is_bare):
        return pool
    if spec.objective is not None:
        raise RoutingError(f"{spec.objective[0]} is an objective of a pool, and router {spec.router} has none")
    if snapshot.pair is None:
        raise RoutingError(
            f"a threshold or share is for a pair, and none is configured: expected router-{spec.router} or an objective"
        )
    return snapshot.pair


async def read(
    request: Mapping[str, Any], size: int, snapshot: Snapshot, dialect: Dialect, session: SessionOf
) -> Reading:
    """Reads a conversation.

    Args:
        request: A body with a conversation.
        size: The body's bytes.
        snapshot: What is configured.
        dialect: What the body is written in.
        session: Gives the session of the hash of the text that is judged.

    Returns:
        What was read.

    Raises:
        ApiError: 400 for messages that hold no prompt.
    """
    key = dialect.conversation

    def reading() -> Reading:
        needs = needs_of(request, key)
        prompt = prompt_of(dialect.messages(request), snapshot.context, snapshot.harness)
        digest = prompt_hash(prompt)
        return Reading(needs, prompt, digest, session(digest))

    with api_errors(key):
        return await beside_the_loop(size, reading)


async def needs(request: Mapping[str, Any], size: int, dialect: Dialect) -> frozenset[str]:
    """What a request needs beyond text.

    Args:
        request: Its body.
        size: The body's bytes.
        dialect: What the body is written in.
    """
    return await beside_the_loop(size, lambda: needs_of(request, dialect.conversation))


async def decide(
    prompt: str, prompt_sha256: str, spec: RouteSpec, pair: Pair, snapshot: Snapshot, param: str = "messages"
) -> Routed:
    """One decision, timed.

    Args:
        prompt: The text that is judged.
        prompt_sha256: Its hash.
        spec: Which router, and its threshold or share.
        pair: The models.
        snapshot: What is configured.
        param: The field of the request that has the text, for errors.

    Returns:
        The decision.

    Raises:
        ApiError: 400 for a text that cannot be routed, 429 where the router is overloaded, 500 where the router failed.
    """
    router = snapshot.router_for(spec.router, pair)
    began = time.perf_counter()
    with api_errors(param), naming(router.name):
        decision = await router.router.aroute(prompt, **router.options_for(spec))
    seconds = time.perf_counter() - began
    return Routed(router, decision, prompt, prompt_sha256, pair, seconds)


async def judged_texts(prompts: Sequence[str]) -> list[str]:
    """The text that is judged of each prompt; those of a large batch are found beside the event loop.

    Args:
        prompts: The texts.
    """
    size = sum(map(len, prompts)) + _PROMPT_SIZE * len(prompts)
    return await beside_the_loop(size, lambda: [judged_text(prompt) for prompt in prompts])


async def decide_many(
    prompts: Sequence[str], spec: RouteSpec, pair: Pair, snapshot: Snapshot
) -> tuple[list[Decision], float]:
    """Decisions for many prompts in one crossing, and the seconds of one. A single prompt waits in the router's own queue.

    Raises:
        ApiError: 400 for a prompt that cannot be routed, 429 where the router is overloaded, 500 where the router failed.
    """
    router = snapshot.router_for(spec.router, pair)
    with api_errors("prompt"), naming(router.name):
        texts = await judged_texts(prompts)
        began = time.perf_counter()
        if len(prompts) == 1:
            decisions = [await router.router.aroute(texts[0], **router.options_for(spec))]
        else:
            decisions = await router.router.aroute_batch(texts, **router.options_for(spec))
    return decisions, (time.perf_counter() - began) / max(len(prompts), 1)


@contextmanager
def api_errors(param: str) -> Iterator[None]:
    """Errors of a router as errors of the API; ``param`` is the part of the request that a client can change."""
    try:
        yield
    except RoutingError as error:
        message = str(error)
        if message.startswith("messages"):
            message = param + message.removeprefix("messages")
        raise ApiError(400, message, code="cannot_route", param=param) from None
    except OverloadedError:
        message = "too many prompts are waiting for a decision; try again"
        raise ApiError(429, message, code="overloaded", retry_after_s=1) from None
    except RouterError as error:
        logger.error("%s", error, exc_info=error.__cause__)
        raise ApiError(500, str(error), code="router_failed") from None


def candidates(
    pair: Pair,
    chosen: Model,
    needs: frozenset[str],
    dialect: Dialect,
    snapshot: Snapshot,
    *,
    routed: Routed | None = None,
    rule: str = "",
    session: Session | None = None,
) -> Plan:
    """The chosen model of a pair, and the other one where it may stand in.

    Args:
        pair: The models.
        chosen: One of them.
        needs: Of the request.
        dialect: Of the request.
        snapshot: Says whether the other model may stand in.
        routed: The decision, if a router made one.
        rule: What chose in its place.
        session: Remembers who answers.

    Returns:
        The plan.

    Raises:
        ApiError: 400 where neither model can serve the request.
    """
    other = pair.weak if chosen is pair.strong else pair.strong
    able = serving((chosen, other), needs, dialect)
    if able[0] is not chosen:
        return Plan((other,), routed, lacking(chosen, needs) | _foreign(chosen, dialect), rule, session)
    if not (snapshot.settings.server.fallback and able[-1] is not chosen):
        return Plan((chosen,), routed, rule=rule, session=session)
    # A rule may have chosen the other model, and what is no answer, such as a count of tokens, cannot be judged.
    is_judged = routed is not None and routed.action == "cascade" and chosen is routed.chosen and dialect.is_logged
    steps = routed.steps(other) if routed is not None and is_judged else ()
    return Plan((chosen, other), routed, rule=rule, session=session, steps=steps)


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
    name = snapshot.names.resolve(name)
    model = snapshot.models.get(name) or snapshot.passed_through(name)
    if model is None:
        raise ApiError(
            404, f"unknown model {name[:200]!r}; GET /v1/models lists the models", code="model_not_found", param="model"
        )
    return serving((model,), needs, dialect)[0]


def serving(models: Sequence[Model], needs: frozenset[str], dialect: Dialect) -> list[Model]:
    """The models that speak a dialect and serve what a request needs, in their order.

    Args:
        models: Candidates.
        needs: Of the request.
        dialect: Of the request.

    Raises:
        ApiError: 400 where there is none.
    """
    speaking = [model for model in models if not _foreign(model, dialect)]
    if not speaking:
        found = "; ".join(f"{model.name} speaks {model.speaks}" for model in models)
        raise ApiError(
            400,
            f"no model for the {dialect.name} dialect: {found}; see dialects and translate in [models.NAME]",
            code="unsupported_dialect",
            param="model",
        )
    try:
        return able_to_serve(speaking, needs)
    except RoutingError as error:
        raise ApiError(400, str(error), code="unsupported_capability") from None


def _foreign(model: Model, dialect: Dialect) -> frozenset[str]:
    return frozenset() if model.serves(dialect) else frozenset([dialect.name])
