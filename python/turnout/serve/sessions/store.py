"""Where sessions, and the makers of stored responses, are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from turnout.serve.sessions.expiring import ExpiringMap

if TYPE_CHECKING:
    from turnout.serve.sessions.redis_store import RedisConnection
    from turnout.serve.settings.tables import SessionSettings


class SessionStore(Protocol):
    """Short texts by key, each kept until it was not used for a while. Its methods do not raise."""

    async def get(self, keys: Sequence[str]) -> list[str | None]:
        """The values of keys, which counts as a use; ``None`` for each key without one.

        Args:
            keys: The keys.
        """

    async def put(self, entries: Mapping[str, str]) -> None:
        """Keeps values in place of those before.

        Args:
            entries: Values by key.
        """


class MemoryStore:
    """The memory of this process.

    Args:
        most: Entries; beyond them the least recently used ones go.
        ttl_s: Seconds after the last use.
    """

    def __init__(self, most: int, ttl_s: float) -> None:
        self._entries: ExpiringMap[str, str] = ExpiringMap(most, ttl_s)

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, keys: Sequence[str]) -> list[str | None]:
        """As :meth:`SessionStore.get`."""
        return [self._entries.get(key) for key in keys]

    async def put(self, entries: Mapping[str, str]) -> None:
        """As :meth:`SessionStore.put`."""
        for key, value in entries.items():
            self._entries.put(key, value)


class SessionStores:
    """What ``[sessions] store`` names: stores of several kinds of entries, over one connection.

    Args:
        settings: Of ``[sessions]``.
        failed: Called with the reason of each call of a shared store that failed.

    Raises:
        ConfigError: The store cannot be used as it is configured. One that does not answer is no error.
    """

    def __init__(self, settings: SessionSettings, failed: Callable[[str], None]) -> None:
        self._settings = settings
        self._connection: RedisConnection | None = None
        if settings.store:
            from turnout.serve.sessions.redis_store import RedisConnection

            self._connection = RedisConnection(settings, failed)

    @property
    def is_shared(self) -> bool:
        """Whether calls of the stores wait for a connection."""
        return self._connection is not None

    def of(self, kind: str) -> SessionStore:
        """The store of one kind of entries.

        Args:
            kind: A word that their keys begin with.
        """
        own = MemoryStore(self._settings.most, self._settings.ttl_s)
        if self._connection is None:
            return own
        from turnout.serve.sessions.redis_store import RedisStore

        return RedisStore(self._connection, f"turnout:{kind}:", self._settings.ttl_s, own)

    async def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            await self._connection.close()
