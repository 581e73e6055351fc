"""Which headers pass, and values that are safe to send."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from urllib.parse import parse_qsl, quote

from turnout.retry_after import retry_after_s
from turnout.serve.upstreams.secrets import Secret

#: Of a client's request, sent on to the upstream in every dialect. Its keys are not among them: upstreams have keys of their own.
#: Nor is its ``Accept-Encoding``: answers are read before they are relayed.
_REQUEST = frozenset(b"accept idempotency-key traceparent tracestate user-agent".split())
#: Headers of an upstream's answer that are relayed to the client, and how others begin.
_ANSWER = frozenset("content-type cache-control request-id x-should-retry".split())
_ANSWER_PREFIXES = ("x-ratelimit-", "openai-", "anthropic-")
_RETRY_AFTER = ("retry-after", "retry-after-ms")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def to_upstream(headers: Iterable[tuple[bytes, bytes]], more: Collection[bytes] = ()) -> dict[str, str]:
    """The headers of a client's request that go on; the values of one that occurs more than once are joined.

    Args:
        headers: Of the request, names in lower case.
        more: Names of those that go on in the request's dialect.
    """
    sent = {"content-type": "application/json", "accept-encoding": "identity"}
    for name, value in headers:
        if (name in _REQUEST or name in more) and not _CONTROL.search(text := _text(value)):
            key = name.decode()
            sent[key] = f"{sent[key]}, {text}" if key in sent else text
    return sent


def query(text: bytes, names: Collection[str]) -> list[tuple[str, str]]:
    """The fields of a client's query that go on.

    Args:
        text: The query, percent-encoded.
        names: Of the fields that go on.
    """
    if not text or not names:
        return []
    return [one for one in parse_qsl(text.decode("latin-1"), keep_blank_values=True) if one[0] in names]


def to_client(headers: Mapping[str, str], key: Secret) -> list[tuple[bytes, bytes]]:
    """The headers of an upstream's answer that are relayed.

    Args:
        headers: As aiohttp reads them: UTF-8, other bytes as surrogates.
        key: The upstream's key; a header that has it is left out.
    """
    relayed = []
    for name, value in headers.items():
        lower = name.lower()
        if (lower in _ANSWER or lower.startswith(_ANSWER_PREFIXES)) and not _CONTROL.search(value):
            relayed.append((lower.encode("latin-1"), value.encode("utf-8", "surrogateescape")))
    if retry_after_s(headers) is not None:
        relayed += [
            (name.encode(), value.encode())
            for name in _RETRY_AFTER
            if (value := headers.get(name, "")).isascii() and value
        ]
    if key.is_in(b"\n".join(part for pair in relayed for part in pair)):
        return [pair for pair in relayed if not key.is_in(b"\n".join(pair))]
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


def _text(value: bytes) -> str:
    """Bytes of a header as aiohttp sends them on: UTF-8 unchanged, anything else as Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
