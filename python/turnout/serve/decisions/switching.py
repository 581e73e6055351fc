"""Whether the model of a conversation changes at a new turn: only if that is worth more than the prompt cache that is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout.serve.sessions.cached import Cached
from turnout.serve.settings.switching import SwitchingSettings

if TYPE_CHECKING:
    from turnout.serve.decisions.planning import Routed


def gain_of(routed: Routed, settings: SwitchingSettings) -> float:
    """What the model that was decided for is worth more than the other one, in the currency of the prices.

    At the threshold both are worth the same: it weighs the chance of a better answer against the prices. Above or below it, each step of the win
    rate is a better answer as often, and so worth that much of ``error_cost``.

    Args:
        routed: The decision.
        settings: Of ``[switching]``.
    """
    return settings.error_cost * abs(routed.decision.win_rate - routed.decision.threshold)


def pays(gain: float, cached: Cached, saving_per_mtok: float, settings: SwitchingSettings, now: float) -> bool:
    """Whether to leave the model of a conversation.

    Args:
        gain: What the other model is worth more, without caches.
        cached: Of the model that would be left.
        saving_per_mtok: What a million cached tokens cost less there than others.
        settings: Of ``[switching]``.
        now: Seconds since 1970.

    Example:
        >>> settings = SwitchingSettings(error_cost=1.0, hand_over_cost=0.01)
        >>> cached = Cached("opus", 100_000, at=0.0)
        >>> pays(0.3, cached, 4.5, settings, now=60.0), pays(0.5, cached, 4.5, settings, now=60.0)
        (False, True)
        >>> pays(0.3, cached, 4.5, settings, now=3600.0)  # After cache_s, nothing is cached.
        True
    """
    lost = cached.tokens_left(settings, now) * saving_per_mtok / 1e6
    return gain > lost + settings.hand_over_cost
