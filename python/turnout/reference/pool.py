"""Decisions of pools in NumPy, slow and plain: the specification that the core must agree with.

A decision is: who may serve the request, the chance of success of each model, its expected cost, and the objective's order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from turnout.pool.profiles import Z90, Profile, Profiles, read_profiles, sigmoid
from turnout.reference.mf import Floats, ReferenceRouter, encode

if TYPE_CHECKING:
    from turnout.pool import Pool

#: The estimate of input tokens times this has to fit into a context window.
TOKEN_MARGIN = 2.0
#: Output tokens where neither the pool nor a profile says how many.
OUTPUT_TOKENS = 300.0


@dataclass(frozen=True)
class Candidate:
    """A model or one of its reasoning efforts, with every field resolved."""

    name: str
    model: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """One candidate for one prompt."""

    model: str
    success: float
    low: float
    high: float
    cost: float | None
    feasible: bool


@dataclass(frozen=True)
class Request:
    """What a call asks; see :class:`turnout.pool.PoolRequest`."""

    objective: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)
    needs: Sequence[str] = ()
    unavailable: Sequence[str] = ()
    input_tokens: int | None = None
    estimated_tokens: float | None = None
    cached_tokens: Mapping[str, int] = field(default_factory=dict)
    max_output: int | None = None


def candidates_of(pool: Pool) -> list[Candidate]:
    """Every model of a pool, each followed by its efforts; an effort's fields replace the model's."""
    found = []
    for name, own in pool.to_dict()["models"].items():
        base = {key: value for key, value in own.items() if key != "efforts"}
        found.append(Candidate(name, name, base))
        for effort, fields in own.get("efforts", {}).items():
            sources = ("like", "profile", "success")
            inherited = base
            if any(source in fields for source in sources):
                inherited = {key: value for key, value in base.items() if key not in sources}
            found.append(Candidate(f"{name}:{effort}", name, {**inherited, **fields}))
    return found


def prices_of(fields: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Prices of an input, a cached input and an output token; ``None`` where one is missing."""
    if "input_price" not in fields or "output_price" not in fields:
        return None
    cached = fields.get("cached_input_price", fields["input_price"])
    return fields["input_price"] / 1e6, cached / 1e6, fields["output_price"] / 1e6


def is_feasible(
    candidate: Candidate, request: Request, limits: Mapping[str, Any], tokens: float, output: float, cost: float | None
) -> bool:
    """Whether a candidate may serve a request.

    Args:
        candidate: The candidate.
        request: What is asked.
        limits: The call's limits over the pool's.
        tokens: Input tokens, with the margin of an estimate.
        output: Expected output tokens.
        cost: Expected cost.
    """
    fields = candidate.fields
    tags = set(fields.get("tags", ()))
    if {candidate.name, candidate.model} & set(request.unavailable):
        return False
    if "capabilities" in fields and set(request.needs) - set(fields["capabilities"]):
        return False
    if limits.get("allow_tags") is not None and not tags & set(limits["allow_tags"]):
        return False
    if tags & set(limits.get("deny_tags") or ()):
        return False
    if limits.get("regions") is not None and fields.get("region") not in limits["regions"]:
        return False
    prices = prices_of(fields)
    price = math.inf if prices is None else max(fields["input_price"], fields["output_price"])
    if limits.get("max_price") is not None and price > limits["max_price"]:
        return False
    if limits.get("max_latency_ms") is not None:
        latency = latency_of(fields, output)
        if latency is None or latency > limits["max_latency_ms"]:
            return False
    if request.max_output is not None and request.max_output > fields.get("max_output", math.inf):
        return False
    needed = output if request.max_output is None else request.max_output
    if tokens + needed > fields.get("context_window", math.inf):
        return False
    limit = request.objective.get("max_cost")
    return limit is None or (cost is not None and cost <= limit)


def latency_of(fields: Mapping[str, Any], output: float) -> float | None:
    """Milliseconds of an answer: p95 where it is given, else expected from the speed."""
    if "latency_ms" in fields:
        return float(fields["latency_ms"]["p95"])
    if "tokens_per_second" in fields:
        return float(fields.get("first_token_ms", 0.0) + output / fields["tokens_per_second"] * 1000.0)
    return None


def raised_target(target: float, radius: float) -> float:
    """The chance ``p`` above the target with ``kl(target, p) = radius``, in nats.

    Success stays above the target for every shift within the radius: the bound for two outcomes.
    """
    if radius == 0 or target in (0.0, 1.0):
        return target
    low, high = target, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if middle == 1.0:  # The chance that a large radius asks for is 1 in double precision.
            return 1.0
        divergence = target * math.log(target / middle) + (1 - target) * math.log((1 - target) / (1 - middle))
        low, high = (middle, high) if divergence < radius else (low, middle)
    return high


def order(
    objective: Mapping[str, float], success: Sequence[float], cost: Sequence[float | None], feasible: Sequence[bool]
) -> list[int]:
    """Candidates in the order of an objective; those that are not feasible come last, in their own order.

    Ties go to the cheaper candidate, then to the earlier one.
    """
    costs = [math.inf if one is None else one for one in cost]
    best = max((one for one, may in zip(success, feasible, strict=True) if may), default=0.0)

    def key(at: int) -> tuple[float, ...]:
        if not feasible[at]:
            return 2, at, 0, 0
        if "error_cost" in objective:
            return 0, costs[at] + objective["error_cost"] * (1.0 - success[at]), costs[at], at
        if "max_cost" in objective:
            return 0, -success[at], costs[at], at
        if "target" in objective:
            bar = raised_target(objective["target"], objective.get("kl_radius", 0.0))
        else:
            bar = best - objective["tolerance"]
        if success[at] >= bar:
            return 0, costs[at], costs[at], at
        return 1, -success[at], costs[at], at

    return sorted(range(len(success)), key=key)


class ReferencePoolRouter:
    """A pool over an artifact, executed in NumPy.

    Args:
        path: Artifact folder.
        pool: The pool.
    """

    def __init__(self, path: str | Path, pool: Pool) -> None:
        self.router = ReferenceRouter(path)
        self.pool = pool
        self.candidates = candidates_of(pool)
        file = self.router.manifest.get("profiles")
        own = None if file is None else read_profiles(Path(path) / file)
        self.heads = [self._head(one, own) for one in self.candidates]

    def _head(self, candidate: Candidate, own: Profiles | None) -> tuple[Profiles, Profile] | None:
        fields = candidate.fields
        if "success" in fields:
            return None
        if "profile" in fields:
            read = read_profiles(self.pool.folder / fields["profile"])
            known = [name for name in (candidate.name, candidate.model) if name in read.names]
            return read, read.find(known[0]) if known else read.models[0]
        if own is None:
            raise ValueError("the artifact has no profiles")
        return own, own.find(fields.get("like", candidate.model))

    def tokens(self, prompt: str) -> float:
        """Tokens of a prompt of at most 8 KiB without words of more than 100 characters: those read where nothing can be cut, else all."""
        assert self.router.tokenizer is not None
        if len(prompt.encode()) <= self.router.manifest["tokenizer"]["max_tokens"]:
            return float(len(self.router.ids(prompt)) - len(self.router.ids("")))
        return float(len(self.router.tokenizer.encode(prompt, add_special_tokens=False).ids))

    def estimates(self, prompt: str, request: Request) -> list[Estimate]:
        """Every candidate for one prompt, in the pool's order."""
        embedding = encode(self.router.ids(prompt), self.router.weights, self.router.activation)
        limits = {**self.pool.limits, **request.limits}
        found = []
        for candidate, head in zip(self.candidates, self.heads, strict=True):
            fields = candidate.fields
            success, low, high = self._success(candidate, head, embedding)
            profiled = None if head is None else head[1].facts.get("output_tokens")
            output = fields.get("output_tokens") or profiled or OUTPUT_TOKENS
            output = min(output, fields.get("max_output", math.inf), request.max_output or math.inf)
            if request.input_tokens is None:
                estimated = request.estimated_tokens
                estimated = self.tokens(prompt) if estimated is None else estimated
                tokens, margin = estimated * fields.get("token_ratio", 1.0), TOKEN_MARGIN
            else:
                tokens, margin = float(request.input_tokens), 1.0
            own_cached = request.cached_tokens.get(candidate.name, request.cached_tokens.get(candidate.model, 0))
            cached = min(own_cached, tokens)
            prices = prices_of(fields)
            cost = None
            if prices is not None:
                cost = (tokens - cached) * prices[0] + cached * prices[1] + output * prices[2]
            may = is_feasible(candidate, request, limits, tokens * margin, output, cost)
            found.append(Estimate(candidate.name, success, low, high, cost, may))
        return found

    def _success(
        self, candidate: Candidate, head: tuple[Profiles, Profile] | None, embedding: Floats
    ) -> tuple[float, float, float]:
        if head is None:
            return (candidate.fields["success"],) * 3
        profiles, profile = head
        features = profiles.features(embedding[None, :])[0]
        logit = float(features @ profile.mean)
        half = Z90 * math.sqrt(max(float(features @ profile.covariance @ features), 0.0))
        success, low, high = sigmoid(np.array([logit, logit - half, logit + half])).tolist()
        return success, low, high
