"""What came of judging the answers of a cascade: headers, receipt, and what discarded answers cost."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnout.serve.upstreams.usage import UNKNOWN, Usage
from turnout.token_prices import TokenPrices

#: Parts of the input with prices of their own.
_CACHE = ("cached_tokens", "written_tokens", "written_1h_tokens")


@dataclass(kw_only=True)
class Asked(ABC):
    """One answer that was asked for and read."""

    #: Name of its model.
    model: str
    #: Of the model.
    prices: TokenPrices | None
    #: Tokens that were read of the answer.
    read: int
    #: Of a discarded answer, as far as its upstream said.
    usage: Usage = UNKNOWN
    #: Whether it was read to its end, so that the upstream's count is that of the whole answer.
    is_complete: bool = False
    is_kept: bool = False

    @abstractmethod
    def receipt(self) -> dict[str, Any]:
        """What its receipt says beside its tokens."""

    def tokens(self, served: Usage) -> dict[str, Any]:
        """Tokens and cost. A stream that was cut does not say its tokens: then they are estimated.

        Args:
            served: Tokens of the answer that was served; its input counts where that of this one is unknown.
        """
        reported = self.usage
        inputs = served.input_tokens if reported.input_tokens is None else reported.input_tokens
        # Anthropic's streams begin with a count of 1.
        outputs = reported.output_tokens if self.is_complete else max(self.read, reported.output_tokens or 0)
        outputs = self.read if outputs is None else outputs
        return {
            "model": self.model,
            "input_tokens": inputs,
            "output_tokens": outputs,
            **{name: tokens for name in _CACHE if (tokens := getattr(reported, name)) is not None},
            "cost": reported._replace(input_tokens=inputs, output_tokens=outputs).cost(self.prices),
            "estimated": not self.is_complete or None in (reported.input_tokens, reported.output_tokens),
        }


@dataclass(kw_only=True)
class Judged(Asked):
    """One that was judged."""

    p_error: float
    limit: float
    signals: Mapping[str, float]

    def receipt(self) -> dict[str, Any]:
        """From which P(error) can be computed again."""
        return {"p_error": self.p_error, "p_error_limit": self.limit, "signals": dict(self.signals)}


@dataclass(kw_only=True)
class Broken(Asked):
    """One that was not judged, because its stream broke, its judge failed or the client left: what was read of it is paid for."""

    failure: str

    def receipt(self) -> dict[str, Any]:
        """Why."""
        return {"failure": self.failure}


@dataclass
class Verdict:
    """What came of the answers of one request before the one that was served, and of that one if it was judged."""

    #: In the order in which they were asked for.
    asked: list[Asked] = field(default_factory=list)

    @property
    def last(self) -> Judged | None:
        """The one that was judged last."""
        return next((one for one in reversed(self.asked) if isinstance(one, Judged)), None)

    @property
    def has_discarded(self) -> bool:
        """Whether answers were paid for that are not served."""
        return not all(one.is_kept for one in self.asked)

    def discarded(self, served: Usage) -> list[dict[str, Any]]:
        """Tokens and costs of the discarded answers.

        Args:
            served: Tokens of the answer that was served.
        """
        return [one.tokens(served) for one in self.asked if not one.is_kept]

    def receipt(self, served: Usage, cost: float | None) -> dict[str, Any]:
        """Fields of the receipt; ``cost`` is that of all calls. None where nothing was judged and nothing broke.

        Args:
            served: Tokens of the answer that was served.
            cost: Of that answer alone.
        """
        last = self.last
        found = {} if last is None else {**last.receipt(), "kept": last.is_kept}
        discarded = [{**one.tokens(served), **one.receipt()} for one in self.asked if not one.is_kept]
        if not discarded:
            return found
        costs = [cost, *(one["cost"] for one in discarded)]
        total = None if None in costs else math.fsum(one for one in costs if one is not None)
        return {**found, "discarded": discarded, "cost": total}

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of the answer; none where nothing was judged."""
        if (last := self.last) is None:
            return []
        outcome = b"kept" if last.is_kept else b"discarded"
        return [(b"x-turnout-cascade", outcome), (b"x-turnout-p-error", repr(last.p_error).encode())]
