"""A router under its name: an artifact, or a class of the user's, with one way to decide."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from turnout._core import Decision, InferenceError, InvalidInputError, InvalidTypeError, RouterError
from turnout.routing.errors import RoutingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turnout.routing.names import Wanted

#: Longer prompts are decided on a worker thread, as in :meth:`turnout.Router.aroute`.
_INLINE_CHARACTERS = 4096


class NamedRouter:
    """One router of a Controller or a server.

    The models of its decisions are ``"strong"`` and ``"weak"``: whoever asks knows which pair it means. Scores are those of the
    pair that the artifact was trained on, or of the one named when it was opened, whatever models are called in the end.

    Args:
        name: As in ``router-<name>-0.5``.
        router: A :class:`turnout.Router`, one with embeddings attached, or any object with ``win_rate(prompt) -> float``.
            Beside that method, such an object may have ``threshold`` (default 0.5), ``is_microseconds`` (whether it may run on an
            event loop; default no), ``quantiles`` (win rates at evenly spaced quantiles, for shares) and
            ``win_rates(prompts)``.
    """

    def __init__(self, name: str, router: Any) -> None:
        self.name = name
        self.router = router
        self.is_artifact = hasattr(router, "manifest")
        self.is_microseconds = bool(getattr(router, "is_microseconds", False))
        self.artifact_hash: str | None = getattr(router, "artifact_hash", None)
        quantiles = router.manifest["thresholds"]["quantiles"] if self.is_artifact else getattr(router, "quantiles", ())
        #: Win rates of calibration prompts at evenly spaced quantiles, rising; empty where the router stores none.
        self.quantiles: tuple[float, ...] = tuple(float(one) for one in quantiles)
        #: The threshold where a request names none.
        self.threshold: float = float(getattr(router, "threshold", 0.5))

    def decide(self, prompt: str, wanted: Wanted) -> Decision:
        """Decides one prompt; ``model`` of the decision is ``"strong"`` or ``"weak"``.

        Raises:
            RoutingError: A share, and the router stores no quantiles; a prompt that cannot be routed.
            InferenceError: A user's router raised, or gave no number in ``[0, 1]``.
        """
        threshold = self.threshold_of(wanted)
        win_rate = self.win_rate(prompt)
        return Decision("strong" if win_rate >= threshold else "weak", win_rate, threshold)

    async def adecide(self, prompt: str, wanted: Wanted) -> Decision:
        """:meth:`decide` for asyncio: whatever may take longer than some 100 us runs on a worker thread."""
        if self.is_microseconds and len(prompt) <= _INLINE_CHARACTERS:
            return self.decide(prompt, wanted)
        import asyncio

        return await asyncio.to_thread(self.decide, prompt, wanted)

    def win_rate(self, prompt: str) -> float:
        """Chance in ``[0, 1]`` that the strong model's answer is preferred.

        Raises:
            RoutingError: A prompt that cannot be routed.
            InferenceError: A user's router raised, or gave no number in ``[0, 1]``.
        """
        found = self._call(self.router.win_rate, prompt)
        return found if self.is_artifact else self._checked(found)

    def win_rates(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Win rates float32 ``[prompts]``."""
        import numpy as np

        if not hasattr(self.router, "win_rates"):
            return np.array([self.win_rate(prompt) for prompt in prompts], dtype=np.float32)
        found = np.asarray(self._call(self.router.win_rates, prompts), dtype=np.float32)
        if found.shape != (len(prompts),) or not ((found >= 0.0) & (found <= 1.0)).all():
            raise InferenceError(
                f"router {self.name} gave win rates of shape {found.shape}, expected {len(prompts)} numbers between 0 and 1"
            )
        return found

    def threshold_of(self, wanted: Wanted) -> float:
        """The threshold that a request means.

        Raises:
            RoutingError: A share, and the router stores no quantiles.
        """
        if wanted.strong_share is None:
            return self.threshold if wanted.threshold is None else wanted.threshold
        return self.threshold_for_share(wanted.strong_share)

    def threshold_for_share(self, strong_share: float) -> float:
        """The win rate at quantile ``1 - strong_share``, linear between neighbours.

        Raises:
            RoutingError: The router stores no quantiles.
        """
        if len(self.quantiles) < 2:
            raise RoutingError(f"router {self.name} stores no quantiles: name a threshold in place of a share")
        place = (1.0 - strong_share) * (len(self.quantiles) - 1)
        low = min(int(place), len(self.quantiles) - 2)
        return self.quantiles[low] + (self.quantiles[low + 1] - self.quantiles[low]) * (place - low)

    def _call(self, method: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return method(argument)
        except (InvalidInputError, InvalidTypeError) as error:
            raise RoutingError(f"router {self.name}: {error}") from error
        except RouterError:
            raise
        except Exception as error:
            raise InferenceError(f"router {self.name} raised {type(error).__name__}") from error

    def _checked(self, found: object) -> float:
        try:
            number = float(found)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not 0.0 <= number <= 1.0:
            raise InferenceError(f"router {self.name} gave the win rate {found!r}, expected a number between 0 and 1")
        return number

    def __repr__(self) -> str:
        return f"NamedRouter({self.name!r}, {self.router!r})"
