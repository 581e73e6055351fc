"""An answer, and whether it can be judged."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: ``finish_reason`` of an answer that reached its token limit: OpenAI's and Anthropic's.
_CUT = frozenset({"length", "max_tokens"})


class Fault(Enum):
    """Why an answer that was paid for cannot be judged."""

    CUT = "an answer was truncated at its token limit"
    WITHHELD = "the endpoint's content filter withheld an answer"
    EMPTY = "an answer was empty"


@dataclass(frozen=True)
class Answer:
    """The answer of a model.

    Attributes:
        text: Its text.
        finish: The ``finish_reason``, if the endpoint gave one.
    """

    text: str
    finish: str | None = None

    @property
    def fault(self) -> Fault | None:
        """Why it cannot be judged; ``None`` where it can.

        Example:
            >>> Answer("The first half of", "length").fault, Answer(" ").fault.value, Answer("Yes.", "stop").fault
            (<Fault.CUT: 'an answer was truncated at its token limit'>, 'an answer was empty', None)
        """
        if self.finish in _CUT:
            return Fault.CUT
        if self.finish == "content_filter":
            return Fault.WITHHELD
        return None if self.text.strip() else Fault.EMPTY
