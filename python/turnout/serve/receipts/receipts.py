"""Route receipts: what was decided for a request, so that it can be replayed bit for bit against the artifact."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any

from turnout._core import InvalidInputError
from turnout.pool.budget import PoolBudget

if TYPE_CHECKING:
    from turnout.scored_router import AnyRouter
    from turnout.serve.routers.pools import LoadedPool


def prompt_hash(prompt: str) -> str:
    """SHA-256 of a prompt's UTF-8 form, 64 hexadecimal digits."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()


def float_bits(number: float) -> str:
    """The 64 bits of a number as 16 hexadecimal digits, the sign first.

    Example:
        >>> float_bits(0.5)
        '3fe0000000000000'
    """
    return struct.pack(">d", number).hex()


def replay(receipt: dict[str, Any], prompt: str, router: AnyRouter) -> list[str]:
    """Decides a receipt's prompt anew.

    Args:
        receipt: A line of the decision log.
        prompt: The prompt that was routed on.
        router: The router with the receipt's artifact.

    Returns:
        What differs, a sentence each; nothing where prompt, artifact, every bit of the win rate, and the choice agree.

    Raises:
        InvalidInputError: No receipt: a field is missing or of the wrong type.
    """
    try:
        threshold, recorded = float(receipt["threshold"]), float(receipt["win_rate"])
        is_strong, recorded_hash, artifact = (
            bool(receipt["is_strong"]),
            receipt["prompt_sha256"],
            receipt["artifact_hash"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"not a route receipt: {error!r}; expected a line of the decision log") from error
    if recorded_hash != prompt_hash(prompt):
        return [f"the prompt's SHA-256 is {prompt_hash(prompt)}, the receipt has {recorded_hash}"]
    own = getattr(router, "artifact_hash", None)
    if artifact != own:
        return [f"the artifact's hash is {own}, the receipt has {artifact}"]
    found = router.route(prompt, threshold=threshold)
    differences = []
    if float_bits(found.win_rate) != float_bits(recorded):
        differences.append(f"the win rate is {found.win_rate!r}, the receipt has {recorded!r}")
    if found.is_strong != is_strong:
        differences.append(f"the choice is {found.model}, the receipt has {'strong' if is_strong else 'weak'}")
    return differences


def replay_in_pool(receipt: dict[str, Any], prompt: str, pool: LoadedPool) -> list[str]:
    """Decides a receipt's prompt anew between the models of a pool.

    Args:
        receipt: A line of the decision log.
        prompt: The prompt that was routed on.
        pool: The pool with the receipt's artifact.

    Returns:
        What differs, a sentence each; nothing where prompt, artifact, pool, every bit of success and expected cost, the excluded models,
        and the choice agree.

    Raises:
        InvalidInputError: No receipt: a field is missing or of the wrong type.
    """
    try:
        request, recorded = receipt["request"], (receipt["success"], receipt["expected_cost"])
        # A log in parquet holds text in place of the object.
        request = json.loads(request) if isinstance(request, str) else dict(request)
        hashes = [(name, receipt[f"{name}_hash"], getattr(pool, f"{name}_hash")) for name in ("artifact", "pool")]
        recorded_hash, model = receipt["prompt_sha256"], receipt["model"]
        bits = [None if number is None else float_bits(float(number)) for number in recorded]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"not a route receipt: {error!r}; expected a line of the decision log") from error
    if recorded_hash != prompt_hash(prompt):
        return [f"the prompt's SHA-256 is {prompt_hash(prompt)}, the receipt has {recorded_hash}"]
    for name, reported, own in hashes:
        if reported != own:
            return [f"the {name}'s hash is {own}, the receipt has {reported}"]
    at = request.pop("budget", None)
    if at is None:
        found, _ = pool.router.explain(prompt, **request)
    else:
        found = PoolBudget.replay(pool.router, prompt, at, **request)
    if found is None:
        return ["no model of the pool may serve the request"]
    differences = []
    for name, before, own in zip(("success", "expected cost"), bits, (found.success, found.expected_cost), strict=True):
        if before != (None if own is None else float_bits(own)):
            differences.append(f"the {name} is {own!r}, the receipt has another one")
    if found.model != model:
        differences.append(f"the choice is {found.model}, the receipt has {model}")
    return differences
