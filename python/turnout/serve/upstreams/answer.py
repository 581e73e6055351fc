"""The answer of an upstream in pieces that may be relayed: complete events, without the upstream's key."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from turnout.serve.dialects import Dialect
from turnout.serve.dialects.errors import ApiError
from turnout.serve.dialects.judging import LONGEST_ERROR, BadAnswerError
from turnout.serve.dialects.sse import (
    DONE,
    LONGEST_EVENT,
    EventBuffer,
    EventTooLongError,
    events,
    is_event_stream,
    split,
)
from turnout.serve.http.asgi import RawHeaders
from turnout.serve.upstreams.body import Body
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.reading import LogprobMean
from turnout.serve.upstreams.usage import UNKNOWN, Usage, model_of, usage_of, usage_of_stream


class EventRelay:
    """The events of a stream. Only complete events are returned, so that the server can add an event at any time.

    Args:
        body: The body of the stream.
        dialect: What its events are.
        request_id: Of the request, for errors.
        logprobs: Reads the events; ``None`` where nobody asks for it.
    """

    def __init__(self, body: Body, dialect: Dialect, request_id: str, logprobs: LogprobMean | None = None) -> None:
        self.body = body
        self._dialect = dialect
        self._request_id = request_id
        self._logprobs = logprobs
        # The last two pieces: some gateways send one more event after the last one of the dialect.
        self._tail = (b"", b"")
        self._buffer = EventBuffer()
        self._key = body.upstream.key
        #: Under which the answer can be referred to later; empty for none.
        self.id = ""
        #: What the model calls itself; empty where it does not say.
        self.model = ""
        #: Whether an event was an error.
        self.has_error = False
        #: Why the stream was interrupted; empty where it was not.
        self.interruption = ""
        #: Changes complete events on their way to the client; ``None`` leaves them as they are.
        self.edit: Callable[[bytes], bytes] | None = None
        self._first_usage = UNKNOWN

    @property
    def usage(self) -> Usage:
        """Tokens, as far as the events so far say."""
        return usage_of_stream(self._first_usage, b"".join(self._tail))

    @property
    def mean_logprob(self) -> float | None:
        """Mean log-probability of the tokens so far; ``None`` where the events have none, or they were not read."""
        return None if self._logprobs is None else self._logprobs.mean

    async def begin(self, chunk: bytes) -> bytes:
        """The first events, up to one with which the model begins to answer.

        Args:
            chunk: The first bytes of the body.

        Raises:
            BadAnswerError: This is not a stream of the dialect, or it begins with an error.
            UpstreamError: The connection broke, or the time is up.
        """
        pieces: list[bytes] = []
        size = 0
        while True:
            if piece := self._push(chunk):
                pieces.append(piece)
                size += len(piece)
                if size > LONGEST_EVENT:
                    name = self.body.upstream.name
                    message = f"upstream {name}: a stream has no content within {LONGEST_EVENT:,} bytes"
                    raise UpstreamError("event_too_long", message)
                if not is_event_stream(pieces[0]):
                    break
                if any(self._begins(data) for data in events(piece)):
                    self._tail = (b"", piece)
                    self.body.waited_s = 0.0
                    return self._cleaned(b"".join(pieces))
            if not chunk or self.body.is_at_end:
                break
            chunk = await self.body.read()
        content = b"".join([*pieces, self._buffer.rest()])
        if is_event_stream(content):
            raise BadAnswerError(self._dialect.without_content, "200 with a stream that ended without content")
        raise self._no_stream(content)

    async def next(self, until: float = math.inf) -> bytes:
        """The next complete events; empty at the end.

        Args:
            until: Loop time until which they are waited for; the next call goes on from there.

        Raises:
            TimeoutError: There was none until then.
            UpstreamError: The connection broke, the time is up, or the stream ended before its last event.
        """
        while chunk := await self.body.read(until):
            if piece := self._push(chunk):
                self._tail = (self._tail[1], piece)
                return self._edited(self._cleaned(piece))
        return self._edited(self._end())

    def error_event(self, error: ApiError) -> bytes:
        """The event that ends a stream which was interrupted.

        Args:
            error: Why.
        """
        return self._dialect.error_event(error, self._request_id, b"".join(self._tail))

    def _begins(self, data: bytes) -> bool:
        event = self._dialect.event(data)
        self.id = self.id or self._dialect.id_of(event)
        self.model = self.model or model_of(event)
        if self._first_usage.input_tokens is None:
            self._first_usage = usage_of(event)
        return self._dialect.begins(event)

    def _no_stream(self, content: bytes) -> BadAnswerError:
        """For something else than a stream."""
        try:
            self._dialect.check_whole(content)
        except BadAnswerError as error:
            if error.reason in ("error_in_answer", "empty_answer"):
                return error
        return BadAnswerError("not_a_stream", "200 with a body that is not an event stream")

    def _push(self, chunk: bytes) -> bytes:
        try:
            piece = self._buffer.push(chunk)
        except EventTooLongError as error:
            raise UpstreamError("event_too_long", f"upstream {self.body.upstream.name}: {error}") from None
        if piece and self._logprobs is not None:
            self._logprobs.piece(piece)
        return piece

    def _edited(self, piece: bytes) -> bytes:
        return piece if self.edit is None or not piece else self.edit(piece)

    def _cleaned(self, piece: bytes) -> bytes:
        # One scan each: healthy events are not parsed.
        return self._without_key(piece) if b'"error"' in piece or self._key.is_plain_in(piece) else piece

    def _without_key(self, piece: bytes) -> bytes:
        if not any(self._dialect.is_error_event(data) for data in events(piece)):
            return self._key.plain_removed_from(piece)
        self.has_error = True
        return b"".join(self._one_without_key(event) for event in split(piece))

    def _one_without_key(self, event: bytes) -> bytes:
        """Only errors are searched for every form of the key, and only short ones: it takes time."""
        if not any(self._dialect.is_error_event(data) for data in events(event)):
            return self._key.plain_removed_from(event)
        name = self.body.upstream.name
        if len(event) > LONGEST_ERROR:
            message = f"upstream {name} sent an error of more than {LONGEST_ERROR:,} bytes"
            return self.error_event(ApiError(502, message, code="upstream_error_in_answer"))
        cleaned = self._key.removed_from(event)
        if cleaned is None:
            raise UpstreamError("key_in_answer", f"upstream {name} sent back the server's key")
        return cleaned

    def _end(self) -> bytes:
        """An event whose empty line is missing is completed if it is whole."""
        rest = self._buffer.rest()
        name = self.body.upstream.name
        if not rest.strip():
            if not self.has_error and not self._dialect.is_finished(b"".join(self._tail)):
                raise UpstreamError("lost", f"upstream {name} ended its stream before its last event")
            return b""
        self._buffer = EventBuffer()
        piece = rest + b"\n\n"
        found = events(piece)
        is_comment = not found and rest.lstrip().startswith(b":")
        if is_comment or (found and all(data.strip() == DONE or _is_json(data) for data in found)):
            self._tail = (self._tail[1], piece)
            return self._without_key(piece)
        raise UpstreamError("lost", f"upstream {name} ended its stream within an event")


class BytesRelay:
    """The rest of a body that is too long to be read before it is relayed.

    Args:
        body: The body.
    """

    def __init__(self, body: Body) -> None:
        self.body = body
        self._key = body.upstream.key
        self._held = b""
        body.waited_s = 0.0

    def push(self, chunk: bytes) -> bytes:
        """Bytes without the key; the last ones are held back, as the key may begin in them."""
        content = self._key.plain_removed_from(self._held + chunk)
        keep = self._key.size - 1
        if not chunk or keep <= 0:
            self._held = b""
            return content
        self._held = content[-keep:]
        return content[:-keep]

    async def next(self) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            UpstreamError: The connection broke, or the time is up.
        """
        while chunk := await self.body.read():
            if piece := self.push(chunk):
                return piece
        return self.push(b"")


@dataclass(frozen=True)
class Answer:
    """An answer that may be relayed. Call :meth:`close` whatever happens."""

    status: int
    headers: RawHeaders
    #: The whole body, or its beginning.
    first: bytes
    #: Loop time until which it may be relayed.
    deadline: float
    #: ``None`` at the end.
    rest: EventRelay | BytesRelay | None = None
    #: Whether it says that the conversation does not fit into the model's context.
    is_context_overflow: bool = False
    #: Under which it can be referred to later; empty for none.
    id: str = ""
    #: What the model calls itself; empty where it does not say.
    model: str = ""
    #: Tokens of an answer that was read whole.
    whole_usage: Usage = UNKNOWN
    #: Mean log-probability of its tokens; ``None`` where it has none, or it was not read.
    whole_logprob: float | None = None

    @property
    def usage(self) -> Usage:
        """Tokens, as far as the answer says; of a stream when it has been relayed."""
        return self.rest.usage if isinstance(self.rest, EventRelay) else self.whole_usage

    @property
    def mean_logprob(self) -> float | None:
        """Mean log-probability of the tokens, as far as the answer says; of a stream when it has been relayed."""
        return self.rest.mean_logprob if isinstance(self.rest, EventRelay) else self.whole_logprob

    @property
    def failure(self) -> str:
        """Why it failed: its status, or what ended its stream; empty for a success."""
        if self.status >= 400:
            return str(self.status)
        if not isinstance(self.rest, EventRelay):
            return ""
        return self.rest.interruption or ("error_event" if self.rest.has_error else "")

    def close(self) -> None:
        """Gives the connection back."""
        if self.rest is not None:
            self.rest.body.close()
            self.rest.body.upstream.leave()


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True
