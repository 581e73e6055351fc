"""Sessions in Redis, which servers and workers share. While it does not answer, each process uses its own memory."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from turnout._core import ConfigError
from turnout.extras import require
from turnout.serve.http.timeout import Timeout
from turnout.serve.rare_log import RareLog
from turnout.serve.sessions.store import MemoryStore
from turnout.serve.upstreams.breaker import CircuitBreaker

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from turnout.serve.settings.tables import SessionSettings

logger = logging.getLogger("turnout.serve")

#: Failures in a row after which Redis is left alone, and for how many seconds.
_FAILURES, _PAUSE_S = 3, 1.0
#: Connections to Redis; a call that finds none free in time counts as a time-out.
_CONNECTIONS = 32
#: Longest value that is read; ours are names of models.
_LONGEST_VALUE = 4096


class RedisConnection:
    """Calls with a time-out and a circuit breaker, so that a server that is gone costs a request milliseconds, and most requests nothing.

    Args:
        settings: Of ``[sessions]``, with a store.
        failed: Called with the reason of each call that failed or was left out.

    Raises:
        ConfigError: The package ``redis`` is missing, or the variable of the password is not set.
    """

    def __init__(self, settings: SessionSettings, failed: Callable[[str], None]) -> None:
        require("redis", "redis", purpose="[sessions] store")
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._timeout_s = settings.store_timeout_s
        pool = BlockingConnectionPool.from_url(
            settings.store,
            password=_password(settings.store_password_env),
            max_connections=_CONNECTIONS,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._breaker = CircuitBreaker(_FAILURES, _PAUSE_S)
        self._failed = failed
        self._rare = RareLog(logger)

    async def call(self, commands: Sequence[Sequence[Any]]) -> list[Any] | None:
        """Sends commands together.

        Args:
            commands: Each with its arguments.

        Returns:
            The reply to each; ``None`` where Redis gave none in time.
        """
        token = self._breaker.allow()
        if token is None:
            self._failed("paused")
            return None
        timeout = Timeout()
        try:
            with timeout.at(asyncio.get_running_loop().time() + self._timeout_s):
                pipeline = self._redis.pipeline(transaction=False)
                for command in commands:
                    pipeline.execute_command(*command)
                replies: list[Any] = await pipeline.execute()
        except asyncio.CancelledError:
            self._breaker.abandoned(token)
            raise
        except Exception as error:  # The package has many, and passes on those of sockets and TLS.
            self._breaker.failed(token)
            reason = _reason(error)
            self._failed(reason)
            # The text of an error may have the address, but never the password.
            self._rare.add("%d calls of the session store failed: %s", f"{reason} ({type(error).__name__})")
            return None
        finally:
            timeout.close()
        self._breaker.succeeded(token)
        return replies

    async def close(self) -> None:
        """Closes the connections."""
        self._rare.flush(is_end=True)
        await self._redis.aclose()


class RedisStore:
    """Entries in Redis, and in the memory of this process for the time without Redis.

    Args:
        connection: To Redis.
        prefix: Of the keys.
        ttl_s: Seconds after the last use.
        own: The memory of this process.
    """

    def __init__(self, connection: RedisConnection, prefix: str, ttl_s: float, own: MemoryStore) -> None:
        self._connection = connection
        self._prefix = prefix
        self._ttl_s = max(1, math.ceil(ttl_s))
        self._own = own

    async def get(self, keys: Sequence[str]) -> list[str | None]:
        """As :meth:`~turnout.serve.sessions.store.SessionStore.get`; what Redis does not have may be in this process's memory."""
        own = await self._own.get(keys)
        replies = await self._connection.call([("GETEX", self._prefix + key, "EX", self._ttl_s) for key in keys])
        if replies is None:
            return own
        return [_text(reply) or kept for reply, kept in zip(replies, own, strict=True)]

    async def put(self, entries: Mapping[str, str]) -> None:
        """As :meth:`~turnout.serve.sessions.store.SessionStore.put`."""
        await self._own.put(entries)
        commands = [("SET", self._prefix + key, value, "EX", self._ttl_s) for key, value in entries.items()]
        await self._connection.call(commands)


def _password(variable: str) -> str | None:
    if not variable:
        return None
    password = os.environ.get(variable, "")
    if not password:
        raise ConfigError(f"[sessions] store_password_env: environment variable {variable} is not set")
    return password


def _reason(error: Exception) -> str:
    from redis.exceptions import ResponseError

    if isinstance(error, TimeoutError | asyncio.TimeoutError) or "Timeout" in type(error).__name__:
        return "timeout"
    return "refused" if isinstance(error, ResponseError) else "connection"


def _text(reply: Any) -> str | None:
    """A value of ours; what others wrote there is left out."""
    if not isinstance(reply, bytes) or len(reply) > _LONGEST_VALUE:
        return None
    return reply.decode("utf-8", "replace")
