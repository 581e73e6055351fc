"""An endpoint of OpenAI's or Anthropic's API: one call with its limits and time-outs, judged before anything is relayed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import yarl

from turnout.serve.dialects import Dialect
from turnout.serve.dialects.judging import LONGEST_ERROR, BadAnswerError, one_line
from turnout.serve.http.json_body import beside_the_loop
from turnout.serve.settings.upstreams import UpstreamSettings
from turnout.serve.upstreams import failures
from turnout.serve.upstreams.answer import Answer, BytesRelay, EventRelay
from turnout.serve.upstreams.body import Body
from turnout.serve.upstreams.breaker import Breakers, CircuitBreaker
from turnout.serve.upstreams.error import UpstreamError
from turnout.serve.upstreams.headers import to_client
from turnout.serve.upstreams.proxies import proxy_of
from turnout.serve.upstreams.reading import LogprobMean
from turnout.serve.upstreams.secrets import Secret
from turnout.serve.upstreams.usage import model_of, usage_of

if sys.version_info >= (3, 11):
    from asyncio import timeout_at
else:
    from async_timeout import timeout_at

#: Answers that are not streams are read up to this size before the client gets a byte, so that another model can still answer.
WHOLE_BYTES = 4 * 1024 * 1024


def _ignore(model: Any) -> None:
    pass


@dataclass(frozen=True)
class Request:
    """A client's request, the same for every model that it is sent to."""

    dialect: Dialect
    #: The JSON text; empty for none.
    body: bytes
    #: Headers of the client that go on.
    headers: Mapping[str, str]
    #: Whether a stream of events is expected.
    is_stream: bool
    #: For errors.
    request_id: str
    method: str = "POST"
    #: After the dialect's own path.
    path: str = ""
    #: Fields of the client's query that go on.
    query: Sequence[tuple[str, str]] = ()
    #: Called with the model of each attempt that was not answered in time.
    timed_out: Callable[[Any], None] = _ignore
    #: Whether log-probabilities that an answer has are read.
    reads_logprobs: bool = False


@dataclass(frozen=True)
class Call:
    """A request to one model.

    Args:
        request: The client's request.
        body: The request's body with the model's name.
        model: What the upstream calls the model; has a circuit breaker of its own.
        label: Names the model in errors and logs; from the configuration, as clients may write anything.
    """

    request: Request
    body: bytes
    model: str
    label: str


class Upstream:
    """An endpoint. For one event loop.

    Args:
        name: Its name in the configuration.
        settings: Of ``[upstreams.NAME]``.
        key: Its key.
    """

    def __init__(self, name: str, settings: UpstreamSettings, key: Secret) -> None:
        self.name = name
        self.settings = settings
        self.key = key
        self.in_flight = 0
        self.url = yarl.URL(settings.base_url)
        self._urls: dict[str, yarl.URL] = {}
        self.proxy = proxy_of(name, settings)
        self._breakers = Breakers(settings.breaker_failures, settings.breaker_open_s)
        self._session: aiohttp.ClientSession | None = None
        self._is_retired = False
        self._closing: asyncio.Task[None] | None = None

    def breaker(self, model: str) -> CircuitBreaker:
        """The circuit breaker of a model: the outage of one model leaves the others of an upstream alone.

        Args:
            model: What the upstream calls it.
        """
        return self._breakers.of(model)

    @property
    def is_full(self) -> bool:
        """Whether the limit of requests is reached."""
        return self.in_flight >= self.settings.max_concurrency

    async def send(self, call: Call) -> Answer:
        """Sends a request and waits until it is known that there is an answer to relay.

        Args:
            call: The request.

        Returns:
            A whole answer, the beginning of a stream, or an error that is the request's own.

        Raises:
            UpstreamError: There is none of these.
        """
        if self.is_full:
            raise UpstreamError(
                "overloaded", f"upstream {self.name} has reached its limit of requests", retry_after_s=1.0
            )
        breaker = self.breaker(call.model)
        token = breaker.allow()
        if token is None:
            message = f"upstream {self.name} failed too often with model {call.label}"
            raise UpstreamError("breaker_open", message, retry_after_s=max(breaker.remaining_s(), 1.0))
        self.in_flight += 1
        answer: Answer | None = None
        try:
            answer = await self._answer(call)
        except UpstreamError as error:
            if error.is_outage:
                breaker.failed(token)
            else:
                breaker.abandoned(token)
            raise
        except BaseException:
            breaker.abandoned(token)
            raise
        else:
            breaker.succeeded(token)
            return answer
        finally:
            if answer is None or answer.rest is None:
                self.leave()

    async def _answer(self, call: Call) -> Answer:
        settings, request = self.settings, call.request
        began = asyncio.get_running_loop().time()
        response: aiohttp.ClientResponse | None = None
        try:
            async with timeout_at(began + min(settings.first_byte_timeout_s, settings.total_timeout_s)):
                key_header = settings.key_header or request.dialect.key_header
                response = await self._open_session().request(
                    request.method,
                    self._url(request),
                    data=call.body or None,
                    headers={**self.key.added_to(request.headers, key_header), **settings.headers},
                    allow_redirects=False,
                    proxy=self.proxy,
                )
                failures.check_head(self, response)
                body = Body(self, response, began + settings.total_timeout_s)
                first = await response.content.readany()
                if request.is_stream and response.status < 400:
                    logprobs = LogprobMean(request.dialect) if request.reads_logprobs else None
                    relay = EventRelay(body, request.dialect, request.request_id, logprobs)
                    headers = self._headers(response, b"text/event-stream")
                    beginning = await relay.begin(first)
                    model = self._cleaned(relay.model)
                    return Answer(response.status, headers, beginning, body.deadline, relay, id=relay.id, model=model)
            return await self._whole(request, response, body, first)
        except BaseException as error:
            if response is not None:
                response.close()
            failure = failures.of_exception(self, request, error, response)
            if failure is None:
                raise
            raise failure from error

    async def _whole(self, request: Request, response: aiohttp.ClientResponse, body: Body, first: bytes) -> Answer:
        status = response.status
        is_error = status >= 400
        content = await body.read_whole(first, LONGEST_ERROR if is_error else WHOLE_BYTES)
        is_complete = body.is_at_end
        if is_error:
            body.close()
            is_short = is_complete and len(content) <= LONGEST_ERROR
            return failures.of_status(self, request, response, content if is_short else b"")
        headers = self._headers(response, b"application/json")
        if not is_complete:
            if not content.lstrip().startswith(b"{"):
                raise BadAnswerError("not_json", "200 with a body that is not a JSON object")
            relay = BytesRelay(body)
            return Answer(status, headers, relay.push(content), body.deadline, relay)
        logprobs = LogprobMean(request.dialect)

        def read() -> dict[str, Any]:
            found = request.dialect.check_whole(content)
            if request.reads_logprobs:
                logprobs.whole(found)
            return found

        found = await beside_the_loop(len(content), read)
        body.close()
        cleaned: bytes | None = self.key.plain_removed_from(content)
        if found.get("error"):
            # A stored response that failed: an error under status 200.
            cleaned = self.key.removed_from(content) if len(content) <= LONGEST_ERROR else None
        if cleaned is None:
            raise UpstreamError("key_in_answer", f"upstream {self.name} sent an error that may have the server's key")
        return Answer(
            *(status, headers, cleaned, body.deadline),
            id=request.dialect.id_of(found),
            model=self._cleaned(model_of(found)),
            whole_usage=usage_of(found),
            whole_logprob=logprobs.mean,
        )

    def _cleaned(self, model: str) -> str:
        """What a model calls itself, as one short line, or ``***`` where it has the key in any form: it goes into logs and spans."""
        return "***" if self.key.is_in(model.encode()) else one_line(model)

    def _url(self, request: Request) -> yarl.URL:
        path = request.dialect.path + request.path
        if request.path or request.query:
            url = yarl.URL(self.settings.base_url.rstrip("/") + path)
            own = self.settings.query
            return url.with_query([*(one for one in request.query if one[0] not in own), *own.items()])
        found = self._urls.get(path)
        if found is None:
            found = yarl.URL(self.settings.base_url.rstrip("/") + path).update_query(self.settings.query)
            self._urls[path] = found
        return found

    def _headers(self, response: aiohttp.ClientResponse, content_type: bytes) -> list[tuple[bytes, bytes]]:
        """Headers for the client; the content type is what the body was found to be."""
        headers = to_client(response.headers, self.key)
        for name, value in headers:
            if name == b"content-type" and value.partition(b";")[0].strip().lower() == content_type:
                return headers
        return [(b"content-type", content_type), *(one for one in headers if one[0] != b"content-type")]

    def leave(self) -> None:
        """One request fewer in flight; the last one of a retired upstream closes its connections."""
        self.in_flight -= 1
        if self._is_retired and self.in_flight == 0:
            self._closing = asyncio.get_running_loop().create_task(self.close())

    async def retire(self) -> None:
        """No new requests come; connections close when the last one is answered."""
        self._is_retired = True
        if self.in_flight == 0:
            await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        # Taken first: a request that comes while it is closed opens another one.
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(total=None, connect=self.settings.connect_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept", "User-Agent"),
            )
        return self._session
