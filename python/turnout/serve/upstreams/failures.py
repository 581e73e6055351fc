"""What goes wrong with a call to an upstream, and what the client may learn of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import orjson
import yarl

from turnout.retry_after import retry_after_s
from turnout.serve.dialects import Dialect
from turnout.serve.dialects.errors import ApiError
from turnout.serve.dialects.judging import LONGEST_ERROR, BadAnswerError, is_context_overflow, message_of, one_line
from turnout.serve.dialects.sse import events, is_event_stream
from turnout.serve.upstreams.answer import Answer
from turnout.serve.upstreams.body import lost
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.headers import to_client
from turnout.serve.upstreams.secrets import Secret

if TYPE_CHECKING:
    from turnout.serve.upstreams.upstream import Request, Upstream

#: Statuses below 500 after which another model is tried: the server's key, its credit, its rate or its name of the model are at fault,
#: not the request; or the upstream's state is, as OpenAI's clients take 409.
_REFUSED = frozenset([401, 402, 403, 404, 407, 408, 409, 410, 429])
#: Of these the client gets no details: they are about the server's key.
_ABOUT_THE_KEY = frozenset([401, 403, 407])
#: Statuses that may depend on the request, or pass by themselves: the circuit breaker does not count them.
_NO_OUTAGE = frozenset([403, 404, 409, 410, 429])
#: Statuses that say that no work was done; 529 is Anthropic's for an overload.
_REPEATABLE = frozenset([429, 503, 529])
#: What aiohttp decodes, where the library is installed. No compression is requested, but some servers compress anyway.
_ENCODINGS = frozenset(["", "identity", "gzip", "deflate", "br", "zstd"])


def check_head(upstream: Upstream, response: aiohttp.ClientResponse) -> None:
    """Checks that an answer is a success or an error, in an encoding that is read.

    Args:
        upstream: Where it comes from.
        response: The response, its head read.

    Raises:
        UpstreamError: It is not.
    """
    name, status = upstream.name, response.status
    if 300 <= status < 400:
        target = _target(response, upstream.key)
        raise UpstreamError("redirect", f"upstream {name} redirects ({status}) to {target}: update base_url")
    if not 200 <= status < 600:
        raise UpstreamError("status", f"upstream {name} answered with status {status}, expected 200 to 599")
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        raise UpstreamError("encoding", f"upstream {name} answered in an encoding that is not supported")


def of_status(upstream: Upstream, request: Request, response: aiohttp.ClientResponse, body: bytes) -> Answer:
    """The upstream's error for the client.

    Args:
        upstream: Where it comes from.
        request: What was sent.
        response: The response.
        body: Its body; empty where it was too long to be read.

    Raises:
        UpstreamError: The error is not the request's own, so that another model is tried.
    """
    status = response.status
    answer = _error_answer(upstream, request, response, status, body)
    if status < 500 and status not in _REFUSED:
        return answer
    about_the_key = status in _ABOUT_THE_KEY
    raise UpstreamError(
        str(status),
        f"upstream {upstream.name} answered {status}" + (": the server's key was refused" if about_the_key else ""),
        repeatable=status in _REPEATABLE,
        is_outage=status not in _NO_OUTAGE,
        retry_after_s=retry_after_s(response.headers),
        answer=None if about_the_key else answer,
    )


def of_exception(
    upstream: Upstream, request: Request, error: BaseException, response: aiohttp.ClientResponse | None
) -> UpstreamError | None:
    """What an exception of a call means; ``None`` for one that means itself.

    Args:
        upstream: The one that was called.
        request: What was sent.
        error: The exception.
        response: The response, if its head was read.
    """
    name, settings = upstream.name, upstream.settings
    match error:
        case BadAnswerError() if response is not None:
            return _of_bad_answer(upstream, request, error, response)
        case aiohttp.ClientHttpProxyError():
            return UpstreamError("connect", f"the proxy of upstream {name} answered {error.status}")
        case aiohttp.ClientConnectorCertificateError():
            kind = type(error.certificate_error).__name__
            return UpstreamError("connect", f"upstream {name} has no valid certificate: {kind}")
        case aiohttp.ClientConnectorError():
            kind = type(error.os_error).__name__
            return UpstreamError("connect", f"upstream {name} cannot be reached: {kind}", repeatable=True)
        case aiohttp.ServerTimeoutError():
            message = f"upstream {name} took longer than {settings.connect_timeout_s:g} s to connect"
            return UpstreamError("connect_timeout", message, repeatable=True)
        case asyncio.TimeoutError() | TimeoutError():
            limit = min(settings.first_byte_timeout_s, settings.total_timeout_s)
            message = f"upstream {name} sent no byte within {limit:g} s"
            return UpstreamError("first_byte_timeout", message)
        case aiohttp.ClientError() | OSError():
            return lost(name, error)
    return None


def _of_bad_answer(
    upstream: Upstream, request: Request, error: BadAnswerError, response: aiohttp.ClientResponse
) -> UpstreamError:
    answer = None
    is_long = len(error.error) > LONGEST_ERROR
    if error.error and error.status not in _ABOUT_THE_KEY:
        answer = _error_answer(upstream, request, response, error.status or 502, b"" if is_long else error.error)
    if is_long:
        said = f"200 with an error of more than {LONGEST_ERROR:,} bytes"
    else:
        said = _without_key(upstream.key, str(error)) or "200 with an error that has the server's key"
    return UpstreamError(
        error.reason,
        f"upstream {upstream.name} answered {said}",
        repeatable=error.status in _REPEATABLE,
        is_outage=error.status is None or error.status >= 500,
        retry_after_s=retry_after_s(response.headers),
        answer=answer,
    )


def _error_answer(
    upstream: Upstream, request: Request, response: aiohttp.ClientResponse, status: int, body: bytes
) -> Answer:
    """An upstream's own words if they are JSON that can be relayed without the key, else ours."""
    if is_event_stream(body):
        body = next(iter(events(body + b"\n\n")), b"")
    overflow = is_context_overflow(status, body)
    headers = [one for one in to_client(response.headers, upstream.key) if one[0] != b"content-type"]
    cleaned = upstream.key.removed_from(body)
    if cleaned is None or not _is_object(cleaned, request.dialect):
        said = _without_key(upstream.key, message_of(body))
        message = f"upstream {upstream.name} answered {status}" + (f": {said}" if said else "")
        cleaned = request.dialect.error_body(ApiError(status, message, code=f"upstream_{status}"), request.request_id)
        named = {name for name, _ in headers}
        headers += [one for one in request.dialect.error_headers(request.request_id) if one[0] not in named]
    deadline = asyncio.get_running_loop().time() + upstream.settings.total_timeout_s
    return Answer(status, [(b"content-type", b"application/json"), *headers], cleaned, deadline, None, overflow)


def _is_object(body: bytes, dialect: Dialect) -> bool:
    """Whether a body is an error that clients can read. orjson writes only what is nested less than 255 deep."""
    try:
        found = orjson.loads(body)
        orjson.dumps(found)
    except (orjson.JSONDecodeError, TypeError):
        return False
    return isinstance(found, dict) and bool(found) and dialect.is_error(found)


def _target(response: aiohttp.ClientResponse, key: Secret) -> str:
    """Where a redirect leads, without user, query and key."""
    try:
        target = response.url.join(yarl.URL(response.headers.get("location", "")))
        text = str(target.with_query(None).with_fragment(None).with_user(None))
    except ValueError:
        return "an invalid location"
    return _without_key(key, text) or "***"


def _without_key(key: Secret, text: str) -> str:
    """One line of an upstream's text, shortened after the key is removed; empty where it cannot be removed."""
    cleaned = key.removed_from(text.encode("utf-8", "replace"))
    return "" if cleaned is None else one_line(cleaned.decode("utf-8", "replace"))
