"""An answer, and whether it is one to judge."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: ``finish_reason`` of an answer that reached its limit, as OpenAI and as Anthropic say it.
_CUT = frozenset({"length", "max_tokens"})


class Fault(Enum):
    """Why an answer that was paid for is not to be judged."""

    CUT = "an answer was cut at its token limit"
    WITHHELD = "the endpoint's filter held an answer back"
    EMPTY = "an answer was empty"


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    Attributes:
        text: The words.
        finish: The ``finish_reason``, if the endpoint said.
    """

    text: str
    finish: str | None = None

    @property
    def fault(self) -> Fault | None:
        """Why it is not to be judged.

        Example:
            >>> Answer("The first half of", "length").fault, Answer(" ").fault.value, Answer("Yes.", "stop").fault
            (<Fault.CUT: 'an answer was cut at its token limit'>, 'an answer was empty', None)
        """
        if self.finish in _CUT:
            return Fault.CUT
        if self.finish == "content_filter":
            return Fault.WITHHELD
        return None if self.text.strip() else Fault.EMPTY
