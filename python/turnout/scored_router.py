"""What every router can do, and the one adapter for routers whose win rates come from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from turnout._core import (
    DEFAULT_OPTIONS,
    ConfigError,
    Decision,
    InferenceError,
    InvalidInputError,
    RouterError,
    decide,
    threshold_for_share,
)
from turnout.threads import INLINE_CHARACTERS, BoundedThreads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class WinRates(Protocol):
    """What evaluation needs of a router: :class:`turnout.Router`, one with embeddings attached, or your own."""

    @property
    def strong(self) -> str:
        """Name of the strong model."""

    @property
    def weak(self) -> str:
        """Name of the weak model."""

    @property
    def threshold(self) -> float:
        """Threshold used where a call names none."""

    def win_rates(self, prompts: Sequence[str], /) -> NDArray[Any]:
        """One win rate a prompt."""


class AnyRouter(WinRates, Protocol):
    """What the Controller and the server need of a router: :class:`turnout.Router` or a :class:`ScoredRouter`."""

    @property
    def quantiles(self) -> Sequence[float]:
        """Win rates at evenly spaced quantiles of calibration prompts, for shares; empty where there are none."""

    @property
    def is_microseconds(self) -> bool:
        """Whether a short prompt may be decided on an event loop."""

    @property
    def threads(self) -> BoundedThreads:
        """Worker threads with a bound on the prompts that wait for them."""

    def win_rate(self, prompt: Any, /) -> float:
        """Chance in ``[0, 1]`` that the strong model's answer is preferred."""

    def route(self, prompt: Any, /, *, threshold: float | None = None, strong_share: float | None = None) -> Decision:
        """Decides one prompt."""

    async def aroute(
        self, prompt: Any, /, *, threshold: float | None = None, strong_share: float | None = None
    ) -> Decision:
        """:meth:`route` for asyncio."""

    async def aroute_batch(
        self, prompts: Sequence[str], /, *, threshold: float | None = None, strong_share: float | None = None
    ) -> list[Decision]:
        """Decides many prompts, for asyncio."""


class ScoredRouter:
    """Decides by the core's rules on win rates of a Python object: a class of the user's, ``random``, an embedding function.

    The object has ``win_rate(prompt) -> float`` in ``[0, 1]`` or ``win_rates(prompts)``, or both. It may also have ``threshold``
    (default 0.5), ``quantiles`` (win rates at evenly spaced quantiles, for shares), ``is_microseconds`` (whether it may run on an event
    loop; default no) and ``max_queue`` (prompts that may wait for a worker thread; default as for :func:`turnout.load`). Other
    attributes of the object are found here too.

    Args:
        name: For messages.
        scorer: The object.
        strong: Name of the strong model.
        weak: Name of the weak model.

    Raises:
        ConfigError: The object has no win rates, or ``quantiles``, ``threshold`` or ``max_queue`` make no sense.
    """

    def __init__(self, name: str, scorer: Any, strong: str, weak: str) -> None:
        if not callable(getattr(scorer, "win_rate", getattr(scorer, "win_rates", None))):
            raise ConfigError(f"router {name} is a {type(scorer).__name__} without win_rate(prompt) -> float")
        max_queue = getattr(scorer, "max_queue", DEFAULT_OPTIONS["max_queue"])
        if not isinstance(max_queue, int) or max_queue < 1:
            raise ConfigError(f"router {name}: max_queue is {max_queue!r}, expected a positive int", option="max_queue")
        self.name, self.scorer, self.strong, self.weak = name, scorer, strong, weak
        self.threads = BoundedThreads(max_queue)
        self.is_microseconds = bool(getattr(scorer, "is_microseconds", False))
        try:
            self.threshold = float(getattr(scorer, "threshold", 0.5))
            self.quantiles = tuple(float(one) for one in getattr(scorer, "quantiles", ()))
            if self.quantiles:
                threshold_for_share(self.quantiles, 0.5)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"router {name}: {error}") from error

    def win_rate(self, prompt: Any) -> float:
        """Chance in ``[0, 1]`` that the strong model's answer is preferred.

        Args:
            prompt: A text, or the messages of a chat.

        Raises:
            InferenceError: The object raised, or gave something else than a number in ``[0, 1]``.
        """
        prompt = _text(prompt)
        if not hasattr(self.scorer, "win_rate"):
            return float(self.win_rates([prompt])[0])
        found = self._call(self.scorer.win_rate, prompt)
        try:
            number = float(found)
        except (TypeError, ValueError):
            number = float("nan")
        if not 0.0 <= number <= 1.0:
            raise InferenceError(
                f"router {self.name} returned the win rate {found!r}, expected a number between 0 and 1"
            )
        return number

    def win_rates(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Win rates of many prompts, float32 ``[prompts]``.

        Raises:
            InferenceError: As :meth:`win_rate`.
        """
        import numpy as np

        if not hasattr(self.scorer, "win_rates"):
            return np.array([self.win_rate(prompt) for prompt in prompts], dtype=np.float32)
        found = np.asarray(self._call(self.scorer.win_rates, list(prompts)), dtype=np.float32)
        if found.shape != (len(prompts),) or not ((found >= 0.0) & (found <= 1.0)).all():
            raise InferenceError(
                f"router {self.name} returned win rates of shape {found.shape}, "
                f"expected {len(prompts)} numbers between 0 and 1"
            )
        return found

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
            InferenceError: As :meth:`win_rate`.
        """
        chosen = self._threshold(threshold, strong_share)
        return decide(self.win_rate(prompt), chosen, strong=self.strong, weak=self.weak)

    def route_batch(
        self, prompts: Iterable[str], *, threshold: float | None = None, strong_share: float | None = None
    ) -> list[Decision]:
        """Decides many prompts, as :meth:`turnout.Router.route_batch`."""
        chosen = self._threshold(threshold, strong_share)
        win_rates = self.win_rates(list(prompts))
        return [decide(win_rate, chosen, strong=self.strong, weak=self.weak) for win_rate in win_rates.tolist()]

    async def aroute(
        self, prompt: Any, *, threshold: float | None = None, strong_share: float | None = None
    ) -> Decision:
        """:meth:`route` for asyncio: on the event loop if it takes microseconds, else on a worker thread.

        Raises:
            OverloadedError: ``max_queue`` prompts wait for a worker thread.
            RouterError: As :meth:`route`.
        """
        prompt = _text(prompt)
        if self.is_microseconds and len(prompt) <= INLINE_CHARACTERS:
            return self.route(prompt, threshold=threshold, strong_share=strong_share)
        return await self.threads.run(lambda: self.route(prompt, threshold=threshold, strong_share=strong_share))

    async def aroute_batch(
        self, prompts: Sequence[str], *, threshold: float | None = None, strong_share: float | None = None
    ) -> list[Decision]:
        """:meth:`route_batch` for asyncio, on a worker thread.

        Raises:
            OverloadedError: As :meth:`aroute`.
            RouterError: As :meth:`route`.
        """
        return await self.threads.run(
            lambda: self.route_batch(prompts, threshold=threshold, strong_share=strong_share), len(prompts)
        )

    def _threshold(self, threshold: float | None, strong_share: float | None) -> float:
        if strong_share is None:
            return self.threshold if threshold is None else threshold
        if threshold is not None:
            raise InvalidInputError("give either threshold or strong_share, not both", argument="strong_share")
        if not self.quantiles:
            raise InvalidInputError(
                "this router has no quantiles of its win rate: give a threshold, not a share", argument="strong_share"
            )
        return threshold_for_share(self.quantiles, strong_share)

    def _call(self, method: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return method(argument)
        except RouterError:
            raise
        except Exception as error:
            raise InferenceError(f"router {self.name} raised {type(error).__name__}") from error

    def __getattr__(self, name: str) -> Any:
        if name == "scorer" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.scorer, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return ScoredRouter, (self.name, self.scorer, self.strong, self.weak)

    def __repr__(self) -> str:
        return f"ScoredRouter({self.name!r}, {self.scorer!r})"


def _text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    from turnout.conversation.context import prompt_of

    return prompt_of(prompt)
