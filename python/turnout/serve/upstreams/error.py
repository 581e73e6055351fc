"""Why an upstream gave no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnout.serve.upstreams.answer import Answer

#: Reasons of failures of requests that reached no model: they were not sent, or something before the model answered.
_UNREAD = frozenset(
    [
        "breaker_open",
        "connect",
        "connect_timeout",
        "effort",
        "not_translated",
        "overloaded",
        "quota",
        "redirect",
        "status",
    ]
)


class UpstreamError(Exception):
    """A call that gave no answer to relay.

    Args:
        reason: For metrics, logs and ``x-turnout-fallback``: ``connect``, ``lost``, ``connect_timeout``, ``first_byte_timeout``,
            ``idle_timeout``, ``total_timeout``, ``breaker_open``, ``overloaded``, ``redirect``, ``encoding``, a reason of
            :class:`~turnout.serve.dialects.judging.BadAnswerError`, or the HTTP status.
        message: For people, without secrets.
        repeatable: Whether the same upstream may safely be called again: it did no work, or said so.
        is_outage: Whether the circuit breaker counts it; not what may be the request's own fault, and no rate limit.
        retry_after_s: When it may be called again, where that is known.
        answer: The upstream's own error, without its key, if it gave one.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        repeatable: bool = False,
        is_outage: bool = True,
        retry_after_s: float | None = None,
        answer: Answer | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.repeatable = repeatable
        self.is_outage = is_outage
        self.retry_after_s = retry_after_s
        self.answer = answer

    @property
    def is_timeout(self) -> bool:
        """Whether the upstream was too slow."""
        return self.reason.endswith("_timeout")

    @property
    def is_unread(self) -> bool:
        """Whether no model can have read the request: it costs nothing, and quotas do not count it."""
        return self.reason in _UNREAD
