"""Which headers pass, and values that are safe to send."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

#: Of a client's request, sent on to the upstream. Its ``Authorization`` is not among them: upstreams have keys of their own.
_REQUEST = frozenset(b"accept accept-encoding idempotency-key openai-beta traceparent tracestate user-agent".split())
#: Of an upstream's answer, relayed to the client, beside those that begin with ``x-ratelimit-`` or ``openai-``.
_ANSWER = frozenset("content-type content-encoding cache-control retry-after".split())
_ANSWER_PREFIXES = ("x-ratelimit-", "openai-")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def to_upstream(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers of a client's request that go on."""
    sent = {"content-type": "application/json"}
    for name, value in headers:
        if name in _REQUEST and not _CONTROL.search(text := value.decode("latin-1")):
            sent[name.decode()] = text
    return sent


def to_client(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """The headers of an upstream's answer that are relayed."""
    relayed = []
    for name, value in headers:
        lower = name.lower()
        if (lower in _ANSWER or lower.startswith(_ANSWER_PREFIXES)) and not _CONTROL.search(value):
            relayed.append((lower.encode("latin-1"), value.encode("latin-1", "replace")))
    return relayed


def safe_value(text: str) -> bytes:
    """A name as the value of a header: printable ASCII as it is, all else percent-encoded.

    Example:
        >>> safe_value("anyscale/mixtral"), safe_value("a\\r\\nb: 中")
        (b'anyscale/mixtral', b'a%0D%0Ab:%20%E4%B8%AD')
    """
    return quote(text, safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~").encode()


def request_id(value: bytes | None) -> str | None:
    """A client's own id of a request, if it is one that may be echoed and logged."""
    return value.decode() if value is not None and _REQUEST_ID.fullmatch(value) else None
