"""Models with ``translate = "litellm"``: requests of a dialect that their upstream does not speak, translated by LiteLLM.

The upstream is called as for every request, in a dialect that it speaks: limits, time-outs, breakers, retries, checks of its answer and the
removal of its key are the same. Only what is between is translated.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from turnout.serve.dialects import CHAT, DIALECTS, Dialect
from turnout.serve.dialects.errors import ApiError
from turnout.serve.dialects.judging import BadAnswerError, message_of, one_line
from turnout.serve.dialects.sse import DONE, events
from turnout.serve.http.json_body import beside_the_loop
from turnout.serve.upstreams.answer import Answer, EventRelay
from turnout.serve.upstreams.body import Body
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.litellm_call import LiteLLMCall, Sent, translated_fields
from turnout.serve.upstreams.upstream import Call, Request, Upstream
from turnout.serve.upstreams.usage import Usage

#: Tools that clients run; others are run by a provider of the request's dialect.
_CLIENT_TOOLS = frozenset([None, "custom", "function"])
#: Fields for what only the upstream of a dialect has stored or goes on with.
_STORED = ("background", "conversation", "previous_response_id", "prompt")
#: Where the dialects put addresses of images and files.
_ADDRESSES = ("image_url", "file_url", "source")


@dataclass(frozen=True)
class Translation:
    """How a model is called for requests of other dialects.

    Args:
        via: What its upstream speaks.
    """

    via: Dialect

    def serves(self, dialect: Dialect) -> bool:
        """Whether requests are translated: those that models answer, not counts of tokens.

        Args:
            dialect: Of the request.
        """
        return dialect.is_logged and dialect.name in DIALECTS

    async def send(self, upstream: Upstream, call: Call) -> Answer:
        """As :meth:`turnout.serve.upstreams.upstream.Upstream.send`, with a translation there and back.

        Args:
            upstream: The model's.
            call: The request in the client's dialect.

        Returns:
            The answer in the client's dialect.

        Raises:
            UpstreamError: There is none, or LiteLLM cannot translate the request or its answer.
        """
        request, settings = call.request, upstream.settings
        try:
            fields = await beside_the_loop(len(call.body), lambda: _fields(call.body, request.dialect))
        except ValueError as error:
            raise _untranslatable(call, str(error)) from None
        translating = LiteLLMCall(request.dialect, self.via, fields)
        try:
            try:
                sent = await translating.request(min(settings.first_byte_timeout_s, settings.total_timeout_s))
            except Exception as error:
                raise _untranslatable(call, _message_of_error(error)) from error
            answer = await upstream.send(self._native(call, sent))
            if answer.status >= 400:
                translating.close()
                return _in_dialect(answer, request)
            return await _translated(answer, call, translating, upstream)
        except UpstreamError as error:
            translating.close()
            if error.answer is not None:
                error.answer = _in_dialect(error.answer, request)
            raise
        except BaseException:
            translating.close()
            raise

    def _native(self, call: Call, sent: Sent) -> Call:
        request, own = call.request, self.via.request_headers
        is_stream = bool(orjson.loads(sent.body).get("stream"))
        if not sent.path.endswith(self.via.path) or is_stream != request.is_stream:
            raise _untranslatable(call, f"LiteLLM would send another kind of request to {sent.path}")
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.encode() not in request.dialect.request_headers
        }
        headers |= {name: value for name, value in sent.headers.items() if name.encode() in own}
        native = Request(
            self.via, sent.body, headers, is_stream, request.request_id, reads_logprobs=request.reads_logprobs
        )
        return Call(native, sent.body, call.model, call.label)


class TranslatedRelay(EventRelay):
    """The events of a translated stream. Its tokens and their log-probabilities are those that the upstream says."""

    body: TranslatedBody

    @property
    def usage(self) -> Usage:
        """Tokens, as far as the upstream's events so far say."""
        return self.body.answer.usage

    @property
    def mean_logprob(self) -> float | None:
        """As the upstream's events say."""
        return self.body.answer.mean_logprob


class TranslatedBody(Body):
    """The body of a translated stream, as LiteLLM makes it of the upstream's.

    Args:
        answer: Of the upstream.
        translating: The call.
        upstream: Where the answer comes from.
    """

    def __init__(self, answer: Answer, translating: LiteLLMCall, upstream: Upstream) -> None:
        self.upstream = upstream
        self.deadline = answer.deadline
        self.answer = answer
        self._translating = translating
        self._source = _Source(answer, upstream.name)
        self._parts: AsyncIterator[Any] | None = None
        self._is_at_end = False
        self._loop = asyncio.get_running_loop()
        self.waited_s = 0.0
        #: A read that outlasted its caller.
        self._reading: asyncio.Future[bytes] | None = None

    @property
    def is_at_end(self) -> bool:
        """Whether everything was read."""
        return self._is_at_end

    async def read(self, until: float = math.inf) -> bytes:
        """The next events; empty at the end.

        Args:
            until: Loop time until which they are waited for; the next call returns what arrives later.

        Raises:
            TimeoutError: There was none until then.
            UpstreamError: The upstream's stream broke, or LiteLLM cannot read it.
        """
        began = time.perf_counter()
        try:
            if until == math.inf and self._reading is None:
                return await self._next()
            # LiteLLM would lose what it reads if it were interrupted.
            reading = self._reading = self._reading or asyncio.ensure_future(self._next())
            await asyncio.wait({reading}, timeout=None if until == math.inf else max(until - self._loop.time(), 0.0))
            if not reading.done():
                raise TimeoutError
            self._reading = None
            return reading.result()
        finally:
            self.waited_s += time.perf_counter() - began

    async def _next(self) -> bytes:
        if self._is_at_end:
            return b""
        try:
            if self._parts is None:
                found = await self._translating.result("text/event-stream", self._source.read())
                self._parts = aiter(found)
            part = await anext(self._parts, None)
        except Exception as error:
            raise self._source.error or _unreadable(self.upstream.name, _message_of_error(error)) from error
        if self._source.error is not None:
            raise self._source.error
        if part is not None:
            return self._translating.event(part)
        self._is_at_end = True
        return b"data: " + DONE + b"\n\n" if self._translating.dialect.name == CHAT.name else b""

    def close(self) -> None:
        """Ends the translation and gives the upstream's connection back."""
        self._translating.close()
        if self._reading is not None:
            self._reading.cancel()
        if self.answer.rest is not None:
            self.answer.rest.body.close()


class _Source:
    """The upstream's answer as LiteLLM reads it; keeps the error that LiteLLM wraps in one of its own."""

    def __init__(self, answer: Answer, name: str) -> None:
        self._answer = answer
        self._name = name
        self.error: UpstreamError | None = None

    async def read(self) -> AsyncIterator[bytes]:
        yield self._answer.first
        rest = self._answer.rest
        try:
            while rest is not None and (piece := await rest.next()):
                if isinstance(rest, EventRelay) and rest.has_error:
                    raise UpstreamError(
                        "error_event", f"upstream {self._name} sent an error: {_message_in_event(piece)}"
                    )
                yield piece
        except UpstreamError as error:
            self.error = error
            raise


async def _translated(answer: Answer, call: Call, translating: LiteLLMCall, upstream: Upstream) -> Answer:
    request = call.request
    try:
        if request.is_stream:
            relay = TranslatedRelay(TranslatedBody(answer, translating, upstream), request.dialect, request.request_id)
            first = await relay.begin(await relay.body.read())
            return replace(answer, first=first, rest=relay, id="", model=answer.model)
        source = _Source(answer, upstream.name)
        try:
            found = await translating.result("application/json", source.read())
            body = translating.written(found)
        except Exception as error:
            raise source.error or _unreadable(upstream.name, _message_of_error(error)) from error
        request.dialect.check_whole(body)
    except BadAnswerError as error:
        answer.close()
        raise _unreadable(upstream.name, str(error)) from error
    except BaseException:
        answer.close()
        raise
    answer.close()
    # Nothing is stored under the id that LiteLLM makes.
    return replace(answer, first=body, rest=None, id="", whole_usage=answer.usage, whole_logprob=answer.mean_logprob)


def _fields(body: bytes, dialect: Dialect) -> dict[str, Any]:
    """The request's fields, if all of them can be translated.

    Raises:
        ValueError: One of them cannot.
    """
    found: dict[str, Any] = orjson.loads(body)
    for name in found:
        if name not in translated_fields(dialect):
            raise ValueError(f"the field {name} is not translated")
        if name in _STORED and found[name]:
            raise ValueError(f"{name} is not translated: nothing is stored for translated requests")
    tools = found.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict) or tool.get("type") not in _CLIENT_TOOLS:
            kind = tool.get("type") if isinstance(tool, dict) else type(tool).__name__
            raise ValueError(f"tools of the type {kind} are not translated, expected function or custom")
    for address in _addresses(found.get(dialect.conversation)):
        if not address.startswith("data:"):
            raise ValueError("images and files by address are not translated, expected data: URLs")
    return found


def _addresses(found: Any) -> Iterator[str]:
    """Addresses of images and files in a conversation."""
    if isinstance(found, list):
        for one in found:
            yield from _addresses(one)
    elif isinstance(found, dict):
        for name in _ADDRESSES:
            value = found.get(name)
            address = value.get("url") if isinstance(value, dict) else value
            if isinstance(address, str):
                yield address
        for name in ("content", "output"):
            yield from _addresses(found.get(name))


def _in_dialect(answer: Answer, request: Request) -> Answer:
    """An error of the upstream as clients of the request's dialect read it."""
    try:
        found = orjson.loads(answer.first)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict) and request.dialect.is_error(found):
        return answer
    error = ApiError(answer.status, one_line(message_of(answer.first)), code=f"upstream_{answer.status}")
    return replace(answer, first=request.dialect.error_body(error, request.request_id))


def _untranslatable(call: Call, why: str) -> UpstreamError:
    """The error for a request that LiteLLM cannot translate: another model may serve it."""
    request = call.request
    message = f"model {call.label} is served through LiteLLM's translation of the {request.dialect.name} dialect: {why}"
    error = ApiError(400, message, code="not_translated")
    answer = Answer(
        400,
        [(b"content-type", b"application/json")],
        request.dialect.error_body(error, request.request_id),
        asyncio.get_running_loop().time() + 60.0,
    )
    return UpstreamError("not_translated", message, is_outage=False, answer=answer)


def _unreadable(name: str, why: str) -> UpstreamError:
    return UpstreamError("translation", f"upstream {name}: LiteLLM cannot translate the answer: {why}", is_outage=False)


def _message_of_error(error: BaseException) -> str:
    """What an exception of LiteLLM says, without the part that names LiteLLM's classes and advice."""
    return one_line(f"{type(error).__name__}: {getattr(error, 'message', None) or error}")


def _message_in_event(piece: bytes) -> str:

    return one_line(next((message_of(data) for data in events(piece)), ""))
