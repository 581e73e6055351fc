"""Keeps the share of strong calls at a target while the distribution of prompts changes."""

from __future__ import annotations

import json
import math
import threading
from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING, Any

from turnout._core import InvalidInputError, threshold_for_share

if TYPE_CHECKING:
    from turnout._core import Decision


class BudgetController:
    """Adapts the threshold so that the realized share of strong calls stays at the target for any stream of prompts.

    There are two loops. The threshold moves towards :func:`turnout.threshold_for_share` of the last ``window`` win rates for a share
    called the level, which follows the prompts. The level starts at ``strong_share`` and changes by ``(strong_share - 1)/window`` after a strong call and by
    ``strong_share/window`` after a weak one, which corrects the remaining error, as in "Adaptive Conformal Inference Under
    Distribution Shift" (arXiv 2106.00170, section 2). One prompt moves the threshold by at most ``max_step``.

    The bound needs no assumption about the distribution of prompts. The changes of the level add up to
    ``level_T - level_0 = (T * strong_share - strong calls) / window``, so the share after T prompts has an error of exactly
    ``window * |level_T - level_0| / T``. The level is bounded: above 1 the threshold reaches 0 within ``1/max_step`` prompts and every
    call is strong, which lowers the level again; below 0 the threshold reaches 1 (win rates of exactly 1 are still strong). So the
    level stays within ``1/(max_step * window) + 1/window`` of ``[0, 1]`` and the error is at most ``(window + 1/max_step + 1) / T``.
    Each call in flight on another thread adds at most ``1/T``.

    Instances can be shared between threads; the router decides outside the lock. For a pool of models, and for limits on cost, CO2 or
    latency, there is :class:`turnout.PoolBudget`.

    Args:
        router: A :class:`turnout.Router`, or any object with ``route(prompt, threshold=...)``, ``threshold`` and, optionally, ``quantiles``.
        strong_share: Target share of strong calls, in ``(0, 1)``.
        window: Number of prompts over which the share should hold, at least 10. A smaller window follows changes faster and varies more.
        max_step: Largest change of the threshold after one prompt, in ``(0, 1]``.
        threshold: Initial threshold in ``[0, 1]``; by default the artifact's threshold for this share, or else the router's own.

    Raises:
        InvalidInputError: A number is outside its range.

    Example:
        >>> import turnout
        >>> router = turnout.load()
        >>> budget = turnout.BudgetController(router, strong_share=0.3, window=100)
        >>> decision = budget.route("What is 2 + 2?")
        >>> budget.prompts
        1
    """

    def __init__(
        self,
        router: Any,
        *,
        strong_share: float,
        window: int = 1000,
        max_step: float = 0.05,
        threshold: float | None = None,
    ) -> None:
        if not 0 < strong_share < 1:
            raise InvalidInputError(f"strong_share is {strong_share}, expected a number between 0 and 1")
        if window < 10:
            raise InvalidInputError(f"window is {window}, expected at least 10")
        if not 0 < max_step <= 1:
            raise InvalidInputError(f"max_step is {max_step}, expected a number above 0 and at most 1")
        if threshold is not None and not 0 <= threshold <= 1:
            raise InvalidInputError(f"threshold is {threshold}, expected a number in 0..=1")
        self._router = router
        self.strong_share = strong_share
        self.window = window
        self.max_step = max_step
        self._lock = threading.Lock()
        self._level = strong_share
        self._threshold = _start(router, strong_share) if threshold is None else threshold
        self._prompts = 0
        self._strong = 0
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self._recent_strong: deque[bool] = deque()

    def route(self, prompt: str | None = None, **options: Any) -> Decision:
        """Decides one prompt at the current threshold, then updates the threshold.

        Args:
            prompt: The prompt.
            **options: Passed to the router's ``route``, such as ``embedding``.

        Returns:
            The router's decision.
        """
        decision: Decision = self._router.route(prompt, threshold=self._threshold, **options)
        self.observe(decision.win_rate, decision.is_strong)
        return decision

    def observe(self, win_rate: float, is_strong: bool) -> None:
        """Updates the threshold after a decision that other code made at :attr:`threshold`.

        Args:
            win_rate: The decision's win rate, in ``[0, 1]``.
            is_strong: Whether the strong model was chosen.
        """
        with self._lock:
            self._prompts += 1
            self._strong += is_strong
            self._level += (self.strong_share - is_strong) / self.window
            self._remember(win_rate, is_strong)
            self._move()

    @property
    def threshold(self) -> float:
        """The current threshold."""
        return self._threshold

    @property
    def prompts(self) -> int:
        """Number of prompts observed."""
        return self._prompts

    @property
    def realized_share(self) -> float:
        """Share of strong calls over all observed prompts; NaN before the first."""
        with self._lock:
            return self._strong / self._prompts if self._prompts else math.nan

    #: Earlier spelling of :attr:`realized_share`.
    realised_share = realized_share

    @property
    def recent_share(self) -> float:
        """Share of strong calls over the last ``window`` prompts; NaN before the first."""
        with self._lock:
            return sum(self._recent_strong) / len(self._recent_strong) if self._recent_strong else math.nan

    def state(self) -> dict[str, Any]:
        """The complete state, for :meth:`restore`.

        Returns:
            A dictionary of JSON values.
        """
        with self._lock:
            return {
                "strong_share": self.strong_share,
                "window": self.window,
                "max_step": self.max_step,
                "threshold": self._threshold,
                "level": self._level,
                "prompts": self._prompts,
                "strong": self._strong,
                "recent": list(self._recent),
                "recent_strong": [bool(one) for one in self._recent_strong],
            }

    @classmethod
    def restore(cls, router: Any, state: dict[str, Any] | str) -> BudgetController:
        """Creates a controller from a saved state.

        Args:
            router: The router, as in the constructor.
            state: What :meth:`state` returned, or its JSON text.

        Returns:
            A controller that continues from that state.

        Raises:
            InvalidInputError: A field is missing, or has another type or range.
        """
        found = json.loads(state) if isinstance(state, str) else state
        try:
            made = cls(
                router,
                strong_share=float(found["strong_share"]),
                window=int(found["window"]),
                max_step=float(found["max_step"]),
                threshold=float(found["threshold"]),
            )
            made._level = float(found["level"])
            made._prompts, made._strong = int(found["prompts"]), int(found["strong"])
            for win_rate, is_strong in zip(found["recent"], found["recent_strong"], strict=True):
                made._remember(float(win_rate), bool(is_strong))
        except (KeyError, TypeError) as error:
            raise InvalidInputError(f"expected the state of a BudgetController, found: {error!r}") from error
        return made

    def _remember(self, win_rate: float, is_strong: bool) -> None:
        if len(self._recent) == self.window:
            oldest = self._recent.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
            self._recent_strong.popleft()
        self._recent.append(win_rate)
        insort(self._sorted, win_rate)
        self._recent_strong.append(is_strong)

    def _move(self) -> None:
        level = min(max(self._level, 0.0), 1.0)
        if 0 < level < 1 and len(self._sorted) < min(50, self.window):
            return  # Too few win rates for a quantile: keep the initial threshold.
        # At the ends of the level the target is 1 or 0, whatever the win rates are.
        target = _quantile(self._sorted, level)
        step = max(-self.max_step, min(self.max_step, target - self._threshold))
        self._threshold = min(1.0, max(0.0, self._threshold + step))


def _quantile(rates: list[float], share: float) -> float:
    """:func:`turnout.threshold_for_share` of sorted win rates, of which it gets the two that it reads and not a copy of all.

    Example:
        >>> _quantile([0.1, 0.2, 0.4, 0.9], 0.5) == threshold_for_share([0.1, 0.2, 0.4, 0.9], 0.5)
        True
    """
    if not 0 < share < 1 or len(rates) < 2:
        return 1.0 - share
    position = (1.0 - share) * (len(rates) - 1)
    below = min(int(position), len(rates) - 2)
    return threshold_for_share(rates[below : below + 2], min(max(1.0 - (position - below), 0.0), 1.0))


def _start(router: Any, strong_share: float) -> float:
    quantiles = getattr(router, "quantiles", ())
    return threshold_for_share(quantiles, strong_share) if len(quantiles) else float(router.threshold)
