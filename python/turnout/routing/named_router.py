"""A router under its name, as the Controller and the server hold it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from turnout._core import Decision, InvalidInputError, InvalidTypeError, threshold_for_share
from turnout.errors import RoutingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turnout.routing.names import Wanted


class NamedRouter:
    """One router of a Controller or a server. It names the router in errors and holds its threshold; the router decides.

    Args:
        name: As in ``router-<name>-0.5``.
        router: A :class:`turnout.Router`, or a :class:`turnout.scored_router.ScoredRouter`.
    """

    def __init__(self, name: str, router: Any) -> None:
        self.name = name
        self.router = router
        self.is_artifact = hasattr(router, "manifest")
        self.is_microseconds: bool = router.is_microseconds
        self.artifact_hash: str | None = getattr(router, "artifact_hash", None)
        #: Win rates of calibration prompts at evenly spaced quantiles, rising; empty where there are none for this pair.
        self.quantiles: tuple[float, ...] = tuple(router.quantiles)
        #: The threshold where a request names none.
        self.threshold: float = router.threshold

    def decide(self, prompt: str, wanted: Wanted) -> Decision:
        """Decides one prompt.

        Raises:
            RoutingError: A share, and the router has no quantiles; a prompt that cannot be routed.
            InferenceError: A user's router raised, or returned something else than a number in ``[0, 1]``.
        """
        with self._named():
            return self.router.route(prompt, threshold=self.threshold_of(wanted))  # type: ignore[no-any-return]

    async def adecide(self, prompt: str, wanted: Wanted) -> Decision:
        """:meth:`decide` for asyncio, through the router's bounded queue.

        Raises:
            OverloadedError: The queue is full.
            RoutingError: As :meth:`decide`.
            InferenceError: As :meth:`decide`.
        """
        with self._named():
            return await self.router.aroute(prompt, threshold=self.threshold_of(wanted))  # type: ignore[no-any-return]

    async def adecide_many(self, prompts: Sequence[str], wanted: Wanted) -> list[Decision]:
        """Decides many prompts in one crossing, on a worker thread of the router's bounded number.

        Raises:
            OverloadedError: The queue is full.
            RoutingError: As :meth:`decide`.
            InferenceError: As :meth:`decide`.
        """
        with self._named():
            threshold = self.threshold_of(wanted)
            decide = self.router.route_batch
            return await self.router.threads.run(lambda: decide(prompts, threshold=threshold), len(prompts))  # type: ignore[no-any-return]

    def win_rate(self, prompt: str) -> float:
        """Chance in ``[0, 1]`` that the strong model's answer is preferred.

        Raises:
            RoutingError: A prompt that cannot be routed.
            InferenceError: As :meth:`decide`.
        """
        with self._named():
            return self.router.win_rate(prompt)  # type: ignore[no-any-return]

    def win_rates(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Win rates of many prompts, float32 ``[prompts]``.

        Raises:
            RoutingError: A prompt that cannot be routed.
            InferenceError: As :meth:`decide`.
        """
        with self._named():
            return self.router.win_rates(prompts)  # type: ignore[no-any-return]

    def threshold_of(self, wanted: Wanted) -> float:
        """The threshold that a request means.

        Raises:
            RoutingError: A share, and the router has no quantiles.
        """
        if wanted.strong_share is None:
            return self.threshold if wanted.threshold is None else wanted.threshold
        return self.threshold_for_share(wanted.strong_share)

    def threshold_for_share(self, strong_share: float) -> float:
        """The threshold at which a share of prompts goes to the strong model, by :func:`turnout.threshold_for_share`.

        Raises:
            RoutingError: The router has no quantiles, or the share is outside ``[0, 1]``.
        """
        if not self.quantiles:
            raise RoutingError(f"router {self.name} has no quantiles for this pair: use a threshold instead of a share")
        with self._named():
            return threshold_for_share(self.quantiles, strong_share)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except RoutingError:
            raise
        except (InvalidInputError, InvalidTypeError) as error:
            raise RoutingError(f"router {self.name}: {error}") from error

    def __repr__(self) -> str:
        return f"NamedRouter({self.name!r}, {self.router!r})"
