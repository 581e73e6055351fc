"""The public ``PoolRouter``: the extension's class with asyncio and pickling."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from turnout import _core
from turnout.engines import engine_arguments
from turnout.pool.model import Pool
from turnout.threads import INLINE_CHARACTERS, BoundedThreads

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from turnout._core import PoolDecision, Ranked
    from turnout.pool.request import PoolRequest

T = TypeVar("T")


class PoolRouter(_core.PoolRouter):
    """Routes prompts between the models of a pool. Immutable, and safe to share between threads.

    Created by :func:`turnout.load`. Pickling stores the path, the pool and the options: unpickling needs the artifact at that path.

    Args:
        path: Artifact folder.
        pool: The pool.
        **options: Options of :func:`turnout.load` for the engine.

    Raises:
        RouterError: As :func:`turnout.load`.

    Example:
        >>> import turnout
        >>> router = turnout.load(pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0))
        >>> turnout.PoolRouter(router.path, router.pool).models
        ['a']
    """

    _arguments: dict[str, Any]
    #: Threads that decide prompts which would block an event loop for too long.
    threads: BoundedThreads

    def __new__(cls, path: str | os.PathLike[str], pool: Pool, **options: Any) -> PoolRouter:
        """Opens an artifact folder for a pool; see :func:`turnout.load`."""
        router = super().__new__(cls, path, pool.to_dict(), pool.folder, **engine_arguments(options))
        router._arguments = {"path": os.path.abspath(path), "pool": pool, **options}
        router.threads = BoundedThreads(options.get("max_queue") or _core.DEFAULT_OPTIONS["max_queue"])
        return router

    @property
    def pool(self) -> Pool:
        """The pool."""
        return self._arguments["pool"]  # type: ignore[no-any-return]

    @property
    def path(self) -> Path:
        """The artifact folder."""
        return Path(self._arguments["path"])

    async def aroute(self, prompt: str | Sequence[Any], **request: Unpack[PoolRequest]) -> PoolDecision:
        """:meth:`route` for asyncio: decisions that may take longer than microseconds are made on a worker thread.

        Args:
            prompt: As for :meth:`route`.
            **request: As for :meth:`route`.

        Returns:
            The decision.

        Raises:
            OverloadedError: ``max_queue`` prompts are waiting.
            RouterError: As :meth:`route`.

        Example:
            >>> import asyncio, turnout
            >>> router = turnout.load(pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0))
            >>> asyncio.run(router.aroute("Hi")).model
            'a'
        """
        return await self.arun(prompt, lambda: self.route(prompt, **request))

    async def aexplain(
        self, prompt: str | Sequence[Any], **request: Unpack[PoolRequest]
    ) -> tuple[PoolDecision | None, list[Ranked]]:
        """:meth:`explain` for asyncio, as :meth:`aroute`.

        Args:
            prompt: As for :meth:`explain`.
            **request: As for :meth:`explain`.

        Returns:
            The decision, ``None`` where no model may serve the request, and one entry a model.

        Raises:
            OverloadedError: ``max_queue`` prompts are waiting.
            RouterError: As :meth:`explain`.

        Example:
            >>> import asyncio, turnout
            >>> router = turnout.load(pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0))
            >>> asyncio.run(router.aexplain("Hi"))[1][0].model
            'a'
        """
        return await self.arun(prompt, lambda: self.explain(prompt, **request))

    async def aroute_batch(self, prompts: Sequence[str], **request: Unpack[PoolRequest]) -> list[PoolDecision]:
        """:meth:`route_batch` for asyncio, on a worker thread.

        Args:
            prompts: As for :meth:`route_batch`.
            **request: As for :meth:`route_batch`.

        Returns:
            One decision a prompt.

        Raises:
            OverloadedError: ``max_queue`` prompts are waiting.
            RouterError: As :meth:`route_batch`.

        Example:
            >>> import asyncio, turnout
            >>> router = turnout.load(pool=turnout.Pool([turnout.Model("a", success=0.5)], tolerance=0))
            >>> [decision.model for decision in asyncio.run(router.aroute_batch(["Hi", "Hello"]))]
            ['a', 'a']
        """
        return await self.threads.run(lambda: self.route_batch(prompts, **request), len(prompts))

    async def arun(self, prompt: str | Sequence[Any], work: Callable[[], T]) -> T:
        """Runs work on a prompt for asyncio: here if it takes microseconds, else on a worker thread.

        Args:
            prompt: The prompt.
            work: A function without arguments.

        Returns:
            What it returns.

        Raises:
            OverloadedError: ``max_queue`` prompts are waiting.
        """
        if self.is_microseconds and isinstance(prompt, str) and len(prompt) <= INLINE_CHARACTERS:
            return work()
        return await self.threads.run(work)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (type(self), self._arguments)

    def __repr__(self) -> str:
        return f"PoolRouter({self.path.name!r}, {self.pool!r}, engine={self.engine!r})"


def _reopen(cls: type[PoolRouter], arguments: dict[str, Any]) -> PoolRouter:
    return cls(**arguments)
