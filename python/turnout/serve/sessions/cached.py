"""What a conversation's last answer says of the provider's cache."""

from __future__ import annotations

import json
from dataclasses import dataclass

from turnout.serve.settings.switching import SwitchingSettings


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
