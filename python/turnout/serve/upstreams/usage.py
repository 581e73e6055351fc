"""What an answer says of its model and its tokens, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from turnout.serve.dialects.sse import events
from turnout.token_prices import TokenPrices

#: The last events of a stream are read up to this size: longer ones would hold the event loop.
_LONGEST_TAIL = 1 << 20
#: Where the dialects put the object ``usage``: beside the answer, or in an event's answer.
_INSIDE = ("message", "response")
#: Where OpenAI's dialects say which part of the input was cached.
_DETAILS = ("prompt_tokens_details", "input_tokens_details")


class Usage(NamedTuple):
    """Tokens of a request and its answer; ``None`` where the upstream does not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    #: Of the input, those that were read from the provider's cache.
    cached_tokens: int | None = None
    #: Of the input, those that were written to it, where the upstream says so.
    written_tokens: int | None = None
    #: Of the written ones, those that are kept for an hour.
    written_1h_tokens: int | None = None

    @property
    def kept_tokens(self) -> int:
        """Tokens that the provider has cached after this answer, as far as it says.

        OpenAI says which tokens were read from the cache and caches the whole input; Anthropic also says which were written.
        """
        if self.cached_tokens is not None and self.written_tokens is None:
            return self.input_tokens or 0
        return (self.cached_tokens or 0) + (self.written_tokens or 0)

    def cost(self, prices: TokenPrices | None) -> float | None:
        """What they cost, in the currency of the prices; ``None`` where tokens or prices are unknown.

        Args:
            prices: Of the model.
        """
        if prices is None or self.input_tokens is None or self.output_tokens is None:
            return None
        cached = min(self.cached_tokens or 0, self.input_tokens)
        written = min(self.written_tokens or 0, self.input_tokens - cached)
        written_1h = min(self.written_1h_tokens or 0, written)
        return prices.cost(self.input_tokens, self.output_tokens, cached, written, written_1h)


#: Nothing is known.
UNKNOWN = Usage()


def usage_of(found: Mapping[str, Any]) -> Usage:
    """The usage in an answer or an event, of any dialect.

    Args:
        found: The JSON object.

    Example:
        >>> usage_of({"usage": {"prompt_tokens": 12, "completion_tokens": 3}})
        Usage(input_tokens=12, output_tokens=3, cached_tokens=None, written_tokens=None, written_1h_tokens=None)
        >>> usage_of({"message": {"usage": {"input_tokens": 12, "cache_read_input_tokens": 88}}})
        Usage(input_tokens=100, output_tokens=None, cached_tokens=88, written_tokens=0, written_1h_tokens=None)
    """
    inner = next((found[name] for name in _INSIDE if isinstance(found.get(name), dict)), found)
    usage = inner.get("usage") or found.get("usage")
    if not isinstance(usage, dict):
        return Usage()
    inputs = _count(usage, "prompt_tokens", "input_tokens")
    read, written = (_count(usage, f"cache_{name}_input_tokens") for name in ("read", "creation"))
    if read is not None and written is None:
        # An upstream that counts reads as Anthropic does would also report writes.
        written = 0
    if inputs is not None and "prompt_tokens" not in usage:
        # Anthropic counts cached tokens apart from the others.
        inputs += (read or 0) + (written or 0)
    cached = _count(_table(usage, *_DETAILS), "cached_tokens") if read is None else read
    written_1h = _count(_table(usage, "cache_creation"), "ephemeral_1h_input_tokens")
    return Usage(inputs, _count(usage, "completion_tokens", "output_tokens"), cached, written, written_1h)


def model_of(found: Mapping[str, Any]) -> str:
    """The name that a model gives itself in an answer or an event, of any dialect; empty for none.

    Args:
        found: The JSON object.

    Example:
        >>> model_of({"message": {"model": "claude-opus-4-5-20251101"}})
        'claude-opus-4-5-20251101'
    """
    inner = next((found[name] for name in _INSIDE if isinstance(found.get(name), dict)), found)
    name = inner.get("model")
    return name if isinstance(name, str) else ""


def usage_of_stream(begin: Usage, tail: bytes) -> Usage:
    """The usage of a stream: Anthropic says the input at the beginning; the last one that is said counts.

    Args:
        begin: Of the first events.
        tail: The last events.
    """
    found = begin
    if b'"usage"' not in tail or len(tail) > _LONGEST_TAIL:
        return found
    for data in events(tail):
        if b'"usage"' not in data:
            continue
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict):
            reported = usage_of(event)
            # ``message_delta`` may repeat input tokens without the cached ones.
            begun = found if found.input_tokens is not None else reported
            output = reported.output_tokens if reported.output_tokens is not None else found.output_tokens
            found = begun._replace(output_tokens=output)
    return found


def _table(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((usage[name] for name in names if isinstance(usage.get(name), dict)), {})


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    found = next((usage[name] for name in names if name in usage), None)
    return found if type(found) is int and 0 <= found < 1 << 53 else None
