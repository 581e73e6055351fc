"""Errors: what a client gets, in the shape of OpenAI's API, and why an upstream gave no answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turnout.serve.answer import Answer

#: Messages may quote what a client sent, each control character of which is six bytes of JSON.
_LONGEST_MESSAGE = 1000
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
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer other than success.

    Args:
        status: HTTP status.
        message: For people: what was expected, what was found. Cut after 1,000 characters.
        code: For programs, such as ``model_not_found``.
        param: The field of the request that is at fault.
        retry_after_s: Sent as ``Retry-After``.
    """

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "...")
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    def body(self) -> bytes:
        """The JSON text."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()

    def headers(self) -> Mapping[str, str]:
        """Headers beyond the content type."""
        if self.retry_after_s is None:
            return {}
        return {"retry-after": str(max(1, round(self.retry_after_s)))}


class UpstreamError(Exception):
    """A call that gave no answer to relay.

    Args:
        reason: For metrics, logs and ``x-turnout-fallback``: ``connect``, ``lost``, ``connect_timeout``, ``first_byte_timeout``,
            ``idle_timeout``, ``total_timeout``, ``breaker_open``, ``overloaded``, ``redirect``, ``encoding``, a reason of
            :class:`~turnout.serve.judging.BadAnswerError`, or the HTTP status.
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
