"""Routers whose win rates come from Python: what :class:`turnout.Router` has, over one method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from turnout._core import Decision, InvalidInputError, decide, threshold_for_share
from turnout.threads import INLINE_CHARACTERS, BoundedThreads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ScoredRouter:
    """Decides by the core's rules on win rates that a subclass computes in :meth:`win_rates`.

    Subclasses have the attributes below, as :class:`turnout.Router` has them.

    Attributes:
        strong: Name of the strong model.
        weak: Name of the weak model.
        threshold: Where a call gives none.
        quantiles: Win rates at evenly spaced quantiles of calibration prompts, for shares; empty where there are none.
        is_microseconds: Whether a short prompt may be decided on an event loop.

    Args:
        max_queue: Prompts that may wait for a worker thread in :meth:`aroute`; one more is refused.
    """

    strong: str
    weak: str
    threshold: float
    quantiles: Sequence[float]
    is_microseconds: bool

    def __init__(self, max_queue: int) -> None:
        self.threads = BoundedThreads(max_queue)

    def win_rates(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Win rates of many prompts, float32 ``[prompts]``."""
        raise NotImplementedError

    def win_rate(self, prompt: str) -> float:
        """Chance in ``[0, 1]`` that the strong model's answer is preferred."""
        return float(self.win_rates([prompt])[0])

    def route(self, prompt: Any, *, threshold: float | None = None, strong_share: float | None = None) -> Decision:
        """Decides one prompt, as :meth:`turnout.Router.route`.

        Args:
            prompt: A text, or the messages of a chat.
            threshold: In ``[0, 1]``; by default the router's own.
            strong_share: In place of a threshold, a share of strong calls in ``[0, 1]``.

        Returns:
            The decision.

        Raises:
            InvalidInputError: A threshold or share outside ``[0, 1]``, both, or a share of a router without quantiles.
        """
        chosen = self.choose_threshold(threshold, strong_share)
        return decide(self.win_rate(_text(prompt)), chosen, strong=self.strong, weak=self.weak)

    def route_batch(
        self, prompts: Iterable[str], *, threshold: float | None = None, strong_share: float | None = None
    ) -> list[Decision]:
        """Decides many prompts, as :meth:`turnout.Router.route_batch`."""
        chosen = self.choose_threshold(threshold, strong_share)
        win_rates = self.win_rates(list(prompts))
        return [decide(win_rate, chosen, strong=self.strong, weak=self.weak) for win_rate in win_rates.tolist()]

    async def aroute(
        self, prompt: Any, *, threshold: float | None = None, strong_share: float | None = None
    ) -> Decision:
        """:meth:`route` for asyncio: on the event loop if it takes microseconds, else on a worker thread.

        Raises:
            OverloadedError: ``max_queue`` prompts wait for a worker thread.
            InvalidInputError: As :meth:`route`.
        """
        prompt = _text(prompt)
        if self.is_microseconds and len(prompt) <= INLINE_CHARACTERS:
            return self.route(prompt, threshold=threshold, strong_share=strong_share)
        return await self.threads.run(lambda: self.route(prompt, threshold=threshold, strong_share=strong_share))

    def choose_threshold(self, threshold: float | None, strong_share: float | None) -> float:
        """The threshold that a call means, either itself or by a share; the router's own if neither.

        Raises:
            InvalidInputError: Both, a share outside ``[0, 1]``, or a share of a router without quantiles.
        """
        if strong_share is None:
            return self.threshold if threshold is None else threshold
        if threshold is not None:
            raise InvalidInputError("give either threshold or strong_share, not both")
        if not len(self.quantiles):
            raise InvalidInputError("this router has no quantiles of its win rate: give a threshold, not a share")
        return threshold_for_share(self.quantiles, strong_share)


def _text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    from turnout.conversation.context import prompt_of

    return prompt_of(prompt)
