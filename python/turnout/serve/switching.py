"""Whether the model of a conversation changes at a new turn: only if that is worth more than the prompt cache that is lost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnout.serve.switching_settings import SwitchingSettings

if TYPE_CHECKING:
    from turnout.serve.planning import Routed


@dataclass(frozen=True)
class Cached:
    """What a conversation's last answer says of the provider's cache."""

    #: The model that answered, by its name in ``[models]``.
    model: str
    #: Tokens of the conversation that it has cached.
    tokens: int
    #: When, in seconds since 1970.
    at: float

    def text(self) -> str:
        """As it is stored."""
        return json.dumps([self.model, self.tokens, round(self.at, 1)])

    def tokens_left(self, settings: SwitchingSettings, now: float) -> int:
        """Tokens that the provider still has.

        Args:
            settings: Of ``[switching]``.
            now: Seconds since 1970.
        """
        return self.tokens if now - self.at <= settings.cache_s else 0

    @classmethod
    def read(cls, text: str | None) -> Cached | None:
        """From :meth:`text`; ``None`` for anything else.

        Args:
            text: What is stored, if there is something.

        Example:
            >>> Cached.read(Cached("gpt", 1000, 5.0).text())
            Cached(model='gpt', tokens=1000, at=5.0)
        """
        try:
            model, tokens, at = json.loads(text or "null")
        except (TypeError, ValueError):
            return None
        well_formed = isinstance(model, str) and type(tokens) is int and isinstance(at, (int, float))
        return cls(model, tokens, float(at)) if well_formed else None


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
