"""Reads from a response how long to wait before the next attempt."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")


def retry_after_s(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``Retry-After``; ``None`` without either, or with neither readable.

    Args:
        headers: Of an answer; names in any case where the mapping is aiohttp's.
        now: Seconds since 1970, by default the clock's, for a date.

    Example:
        >>> retry_after_s({"retry-after": "1.5"}), retry_after_s({"retry-after-ms": "250", "retry-after": "1"})
        (1.5, 0.25)
        >>> retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, now=0.0)
        60.0
    """
    milliseconds = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        # A date without a zone is in UTC, as all dates of HTTP.
        until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
        wait = until.timestamp() - (time.time() if now is None else now)
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, wait)
