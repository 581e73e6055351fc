"""A router of the user's own, with the methods of :class:`turnout.Router`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from turnout._core import DEFAULT_OPTIONS, ConfigError, InferenceError, RouterError, threshold_for_share
from turnout.scored_router import ScoredRouter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class UserRouter(ScoredRouter):
    """Any object with ``win_rate(prompt) -> float`` in ``[0, 1]``, and ``random``.

    The object may also have ``win_rates(prompts)``, ``threshold`` (default 0.5), ``quantiles`` (win rates at evenly spaced quantiles,
    for shares), ``is_microseconds`` (whether it may run on an event loop; default no) and ``max_queue`` (prompts that may wait for a
    worker thread; default as for :func:`turnout.load`).

    Args:
        name: For messages.
        scorer: The object.
        strong: Name of the strong model.
        weak: Name of the weak model.

    Raises:
        ConfigError: ``quantiles``, ``threshold`` or ``max_queue`` make no sense.
    """

    def __init__(self, name: str, scorer: Any, strong: str, weak: str) -> None:
        max_queue = getattr(scorer, "max_queue", DEFAULT_OPTIONS["max_queue"])
        if not isinstance(max_queue, int) or max_queue < 1:
            raise ConfigError(f"router {name}: max_queue is {max_queue!r}, expected a positive int")
        super().__init__(max_queue)
        self.name, self.scorer, self.strong, self.weak = name, scorer, strong, weak
        self.is_microseconds = bool(getattr(scorer, "is_microseconds", False))
        try:
            self.threshold = float(getattr(scorer, "threshold", 0.5))
            self.quantiles = tuple(float(one) for one in getattr(scorer, "quantiles", ()))
            if self.quantiles:
                threshold_for_share(self.quantiles, 0.5)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"router {name}: {error}") from error

    def win_rate(self, prompt: str) -> float:
        """Chance in ``[0, 1]`` that the strong model's answer is preferred.

        Raises:
            InferenceError: The object raised, or gave something else than a number in ``[0, 1]``.
        """
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
        found = np.asarray(self._call(self.scorer.win_rates, prompts), dtype=np.float32)
        if found.shape != (len(prompts),) or not ((found >= 0.0) & (found <= 1.0)).all():
            raise InferenceError(
                f"router {self.name} returned win rates of shape {found.shape}, "
                f"expected {len(prompts)} numbers between 0 and 1"
            )
        return found

    def _call(self, method: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return method(argument)
        except RouterError:
            raise
        except Exception as error:
            raise InferenceError(f"router {self.name} raised {type(error).__name__}") from error

    def __repr__(self) -> str:
        return f"UserRouter({self.name!r}, {self.scorer!r})"
