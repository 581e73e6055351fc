"""The body of an upstream's response, decoded and within its time-outs."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

import aiohttp

from turnout.serve.http.timeout import Timeout
from turnout.serve.upstreams.error import UpstreamError

if TYPE_CHECKING:
    from turnout.serve.upstreams.upstream import Upstream


class Body:
    """A body as it arrives. Call :meth:`close` whatever happens.

    Args:
        upstream: Where it comes from.
        response: The response, its head read.
        deadline: Loop time at which the whole answer must be there.
    """

    def __init__(self, upstream: Upstream, response: aiohttp.ClientResponse, deadline: float) -> None:
        self.upstream = upstream
        self._response = response
        self.deadline = deadline
        self._idle_s = upstream.settings.idle_timeout_s
        self._loop = asyncio.get_running_loop()
        self._timeout = Timeout()
        #: Seconds that the upstream was waited for, since this was set to 0.
        self.waited_s = 0.0

    @property
    def is_at_end(self) -> bool:
        """Whether everything was read."""
        return self._response.content.at_eof()

    async def read(self, until: float = math.inf) -> bytes:
        """The next bytes; empty at the end.

        Args:
            until: Loop time until which they are waited for. Nothing is lost: the next call returns what arrives later.

        Raises:
            TimeoutError: Nothing came until then.
            UpstreamError: The connection broke, or the time is up.
        """
        idle, began = self._loop.time() + self._idle_s, time.perf_counter()
        try:
            with self._timeout.at(min(idle, self.deadline, until)):
                chunk: bytes = await self._response.content.readany()
                return chunk
        except TimeoutError:
            if until <= min(idle, self.deadline):
                raise
            name, settings = self.upstream.name, self.upstream.settings
            if idle < self.deadline:
                raise UpstreamError(
                    "idle_timeout", f"upstream {name} sent nothing for {settings.idle_timeout_s:g} s"
                ) from None
            raise UpstreamError(
                "total_timeout", f"upstream {name} took longer than {settings.total_timeout_s:g} s to answer"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise lost(self.upstream.name, error) from error
        finally:
            self.waited_s += time.perf_counter() - began

    async def read_whole(self, first: bytes, limit: int) -> bytes:
        """Everything.

        Args:
            first: The bytes that were read before.
            limit: Where the body has more bytes, this ends with the chunk that exceeds it.

        Raises:
            UpstreamError: As for :meth:`read`.
        """
        parts, size = [first], len(first)
        while size <= limit and not self.is_at_end:
            parts.append(await self.read())
            size += len(parts[-1])
        return b"".join(parts)

    def close(self) -> None:
        """Returns the connection to the pool, or closes it if the body was not read to its end."""
        self._timeout.close()
        if self.is_at_end:
            self._response.release()
        else:
            self._response.close()


def lost(name: str, error: BaseException) -> UpstreamError:
    """The error of a connection that broke before the answer was complete.

    Args:
        name: The upstream's.
        error: What aiohttp raised. Only its class is reported: texts of such errors may hold addresses and headers.
    """
    return UpstreamError("lost", f"upstream {name} closed the connection: {type(error).__name__}", repeatable=True)
