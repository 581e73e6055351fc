"""One call to an OpenAI-compatible endpoint: limits, time-outs, the circuit breaker, and the bytes as they come."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

import aiohttp
import yarl

from turnout.serve.breaker import CircuitBreaker
from turnout.serve.secrets import Secret
from turnout.serve.upstream_settings import UpstreamSettings

if sys.version_info >= (3, 11):
    from asyncio import timeout_at
else:
    from async_timeout import timeout_at

#: Answers that are no stream are read whole up to this size before the client gets a byte, so that another model can still answer.
_WHOLE_BYTES = 4 * 1024 * 1024


class UpstreamError(Exception):
    """A call that gave no answer to relay.

    Args:
        reason: For metrics and logs: ``connect``, ``lost``, ``connect_timeout``, ``first_byte_timeout``, ``total_timeout``,
            ``breaker_open``, ``overloaded``, or the HTTP status.
        message: For people, without secrets.
        repeatable: Whether the same upstream may safely be asked again: it did no work, or said so.
        retry_after_s: When it may be asked again, where that is known.
        answer: The upstream's own error, read whole, if it gave one.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        repeatable: bool = False,
        retry_after_s: float | None = None,
        answer: Answer | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.repeatable = repeatable
        self.retry_after_s = retry_after_s
        self.answer = answer


class Answer:
    """An answer whose first bytes are there. Call :meth:`close` whatever happens.

    Args:
        upstream: Where it comes from.
        response: The response, its head read.
        first: Its first bytes; empty where there are none.
        deadline: Loop time at which the whole answer must be there.
    """

    def __init__(self, upstream: Upstream, response: aiohttp.ClientResponse, first: bytes, deadline: float) -> None:
        self._upstream = upstream
        self._response = response
        self.deadline = deadline
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.first = first
        self._is_closed = False
        self.is_stream = response.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def is_whole(self) -> bool:
        """Whether :attr:`first` is all there is."""
        return self._response.content.at_eof()

    async def next(self) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            UpstreamError: The connection broke, or the time is up.
        """
        try:
            async with timeout_at(self.deadline):
                chunk: bytes = await self._response.content.readany()
                return chunk
        except (asyncio.TimeoutError, TimeoutError):
            raise self._upstream.total_timeout() from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._upstream.lost(error) from error

    async def read_whole(self) -> None:
        """Reads on until :attr:`first` is everything, or has grown too large to wait for the rest."""
        parts, size = [self.first], len(self.first)
        while size < _WHOLE_BYTES and not self.is_whole:
            parts.append(await self.next())
            size += len(parts[-1])
        self.first = b"".join(parts)

    def without_key(self) -> bytes:
        """:attr:`first`, with the upstream's key taken out should it be there."""
        return self._upstream.key.removed_from(self.first)

    def close(self) -> None:
        """Gives the connection back, or drops it where the answer was not read to its end."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.is_whole:
            self._response.release()
        else:
            self._response.close()
        self._upstream.leave()


class Upstream:
    """An OpenAI-compatible endpoint. For one event loop.

    Args:
        name: Its name in the configuration.
        settings: Of ``[upstreams.NAME]``.
        key: The key that it gets.
    """

    def __init__(self, name: str, settings: UpstreamSettings, key: Secret) -> None:
        self.name = name
        self.settings = settings
        self.key = key
        self.breaker = CircuitBreaker(settings.breaker_failures, settings.breaker_open_s)
        self.in_flight = 0
        self._url = yarl.URL(settings.base_url.rstrip("/") + "/chat/completions")
        self._session: aiohttp.ClientSession | None = None
        self._is_retired = False
        self._closing: asyncio.Task[None] | None = None

    async def send(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Sends a chat completion and waits for the first bytes of its answer.

        Raises:
            UpstreamError: There is no answer, or one of 429 or 5xx.
        """
        if self.in_flight >= self.settings.max_concurrency:
            raise UpstreamError("overloaded", f"upstream {self.name} is at its limit of requests", retry_after_s=1.0)
        if not self.breaker.allow():
            wait = self.breaker.remaining_s()
            raise UpstreamError("breaker_open", f"upstream {self.name} failed too often", retry_after_s=max(wait, 1.0))
        self.in_flight += 1
        began = asyncio.get_running_loop().time()
        try:
            answer = await self._first_bytes(body, headers, began)
        except UpstreamError:
            self.breaker.failed()
            self.leave()
            raise
        except BaseException:
            self.breaker.abandoned()
            self.leave()
            raise
        if answer.status < 500:
            self.breaker.succeeded()
        else:
            self.breaker.failed()
        if answer.status == 429 or answer.status >= 500:
            raise await self._refusal(answer)
        return answer

    async def _first_bytes(self, body: bytes, headers: Mapping[str, str], began: float) -> Answer:
        settings = self.settings
        response: aiohttp.ClientResponse | None = None
        try:
            async with timeout_at(began + min(settings.first_byte_timeout_s, settings.total_timeout_s)):
                response = await self._open_session().post(
                    self._url, data=body, headers=self.key.added_to(headers), allow_redirects=False
                )
                first = await response.content.readany()
        except aiohttp.ClientConnectorError as error:
            raise UpstreamError(
                "connect", f"upstream {self.name} cannot be reached: {type(error.os_error).__name__}", repeatable=True
            ) from error
        except aiohttp.ServerTimeoutError as error:
            raise UpstreamError(
                "connect_timeout",
                f"upstream {self.name} took longer than {settings.connect_timeout_s:g} s to connect",
                repeatable=True,
            ) from error
        except (asyncio.TimeoutError, TimeoutError):
            _drop(response)
            raise UpstreamError(
                "first_byte_timeout",
                f"upstream {self.name} gave no byte within {settings.first_byte_timeout_s:g} s",
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            _drop(response)
            raise self.lost(error) from error
        except BaseException:
            _drop(response)
            raise
        answer = Answer(self, response, first, began + settings.total_timeout_s)
        if not answer.is_stream or answer.status >= 400:
            try:
                await answer.read_whole()
            except BaseException:
                _drop(response)
                raise
        return answer

    async def _refusal(self, answer: Answer) -> UpstreamError:
        retry_after = answer.headers.get("retry-after", "")
        answer.close()
        return UpstreamError(
            str(answer.status),
            f"upstream {self.name} answered {answer.status}",
            repeatable=answer.status in (429, 503),
            retry_after_s=float(retry_after) if retry_after.isdigit() and len(retry_after) < 7 else None,
            answer=answer,
        )

    def lost(self, error: BaseException) -> UpstreamError:
        """The error of a connection that broke before the answer was complete."""
        # Only names of classes: texts of such errors may hold addresses and headers.
        return UpstreamError(
            "lost", f"upstream {self.name} broke the connection: {type(error).__name__}", repeatable=True
        )

    def total_timeout(self) -> UpstreamError:
        """The error of an answer that takes too long."""
        return UpstreamError(
            "total_timeout", f"upstream {self.name} took longer than {self.settings.total_timeout_s:g} s for its answer"
        )

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
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(total=None, connect=self.settings.connect_timeout_s),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            )
        return self._session


def _drop(response: aiohttp.ClientResponse | None) -> None:
    if response is not None:
        response.close()
