"""What a call may ask of the models of a pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict


class PoolRequest(TypedDict, total=False):
    """Keyword arguments of :meth:`turnout.PoolRouter.route`, ``route_batch`` and ``rank``; ``None`` stands for the pool's own.

    At most one of ``target``, ``max_cost``, ``error_cost`` and ``tolerance``.

    Example:
        >>> request: PoolRequest = {"target": 0.85, "needs": ["images"]}
        >>> sorted(request)
        ['needs', 'target']
    """

    #: The cheapest model whose chance of success reaches this, in ``[0, 1]``; the most likely one where none does.
    target: float | None
    #: With ``target``: success counts that remains in the worst case of a shift by this Kullback-Leibler divergence, in nats.
    kl_radius: float | None
    #: The most likely model whose expected cost of the request does not exceed this.
    max_cost: float | None
    #: The least expected cost plus this times the chance of failure.
    error_cost: float | None
    #: The cheapest model whose chance is at most this much below that of the most likely one.
    tolerance: float | None
    #: What the model has to serve beyond text: ``"images"``, ``"audio"``, ``"files"``, ``"tools"``, ``"json"``.
    needs: Iterable[str] | None
    #: Largest price, input or output, per million tokens.
    max_price: float | None
    #: Largest p95 latency in milliseconds.
    max_latency_ms: float | None
    #: The model has one of these tags.
    allow_tags: Iterable[str] | None
    #: The model has none of these tags.
    deny_tags: Iterable[str] | None
    #: The model runs in one of these regions.
    regions: Iterable[str] | None
    #: Models, or candidates ``model:effort``, that cannot be called at present.
    unavailable: Iterable[str] | None
    #: Tokens of the whole request; taken as exact for every model. By default estimated from the prompt.
    input_tokens: int | None
    #: Tokens of the whole request as :meth:`turnout.PoolRouter.count_tokens` gives them: an estimate, for which each model's
    #: ``token_ratio`` and the margin apply. At most one of this and ``input_tokens``.
    estimated_tokens: float | None
    #: Input tokens that a model has cached, by its name.
    cached_tokens: Mapping[str, int] | None
    #: Output tokens that the request allows.
    max_output: int | None
