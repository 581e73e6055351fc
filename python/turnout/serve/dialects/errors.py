"""What a client gets in place of an answer, in the shape of OpenAI's API."""

from __future__ import annotations

import json
from collections.abc import Mapping

#: Messages may quote what a client sent, each control character of which is six bytes of JSON.
_LONGEST_MESSAGE = 1000
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
