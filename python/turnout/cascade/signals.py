"""Signals: numbers read from an answer that tell good ones from bad ones. Each is a small class; none calls a model."""

from __future__ import annotations

import math
import re
from typing import ClassVar, Protocol

from turnout.cascade.answer import Answer

_WORD = re.compile(r"[^\W_]+(?:\.\d+)?")
_WIDEST = 20.0


class Signal(Protocol):
    """Reads one number from an answer.

    Attributes:
        name: Of the signal, in files and reports.
        needs: Field of :class:`Answer` that it reads.
    """

    name: ClassVar[str]
    needs: ClassVar[str]

    def __call__(self, answer: Answer) -> float | None:
        """The value, ``None`` where the answer does not have what the signal needs."""


class MeanLogProb:
    """Mean log-probability of the tokens: the log-likelihood, normalized by length.

    Example:
        >>> MeanLogProb()(Answer("Hi there", logprobs=[-0.5, -1.5]))
        -1.0
    """

    name: ClassVar[str] = "mean_logprob"
    needs: ClassVar[str] = "logprobs"

    def __call__(self, answer: Answer) -> float | None:
        """The mean."""
        return sum(answer.logprobs) / len(answer.logprobs) if answer.logprobs else None


class LeastLogProb:
    """Log-probability of the least likely token.

    Example:
        >>> LeastLogProb()(Answer("Hi there", logprobs=[-0.5, -1.5]))
        -1.5
    """

    name: ClassVar[str] = "least_logprob"
    needs: ClassVar[str] = "logprobs"

    def __call__(self, answer: Answer) -> float | None:
        """The minimum."""
        return min(answer.logprobs) if answer.logprobs else None


class FirstTokenEntropy:
    """Entropy of the first token in nats, over its likeliest candidates and the rest as one more.

    Example:
        >>> round(FirstTokenEntropy()(Answer("A", first_top_logprobs=[math.log(0.5), math.log(0.5)])), 3)
        0.693
    """

    name: ClassVar[str] = "first_token_entropy"
    needs: ClassVar[str] = "first_top_logprobs"

    def __call__(self, answer: Answer) -> float | None:
        """The entropy."""
        if not answer.first_top_logprobs:
            return None
        chances = [math.exp(value) for value in answer.first_top_logprobs]
        chances.append(max(0.0, 1.0 - sum(chances)))
        return -sum(chance * math.log(chance) for chance in chances if chance > 0.0)


class FirstTokenMargin:
    """Log-probability of the first token's likeliest candidate minus that of the second, at most 20.

    Example:
        >>> FirstTokenMargin()(Answer("A", first_top_logprobs=[-0.5, -3.0]))
        2.5
    """

    name: ClassVar[str] = "first_token_margin"
    needs: ClassVar[str] = "first_top_logprobs"

    def __call__(self, answer: Answer) -> float | None:
        """The margin; ``None`` with fewer than two candidates."""
        if not answer.first_top_logprobs or len(answer.first_top_logprobs) < 2:
            return None
        first, second = sorted(answer.first_top_logprobs, reverse=True)[:2]
        return min(first - second, _WIDEST)


class Agreement:
    """How far further answers agree with this one: the mean share of common words, letter case and punctuation aside.

    Example:
        >>> Agreement()(Answer("It is 4.", samples=["it is 4", "It is 5"]))
        0.75
    """

    name: ClassVar[str] = "agreement"
    needs: ClassVar[str] = "samples"

    def __call__(self, answer: Answer) -> float | None:
        """In 0..1; ``None`` without samples."""
        if not answer.samples:
            return None
        words = _words(answer.text)
        return sum(_common(words, _words(sample)) for sample in answer.samples) / len(answer.samples)


class SelfCheck:
    """Probability of "yes" when the model was asked whether its answer is right.

    Example:
        >>> SelfCheck()(Answer("4", self_check=0.9))
        0.9
    """

    name: ClassVar[str] = "self_check"
    needs: ClassVar[str] = "self_check"

    def __call__(self, answer: Answer) -> float | None:
        """In 0..1."""
        return answer.self_check


class LearnedScore:
    """Score of a :class:`turnout.cascade.Scorer`: a classifier's chance that the answer is right.

    Example:
        >>> LearnedScore()(Answer("4", score=0.7))
        0.7
    """

    name: ClassVar[str] = "scorer"
    needs: ClassVar[str] = "score"

    def __call__(self, answer: Answer) -> float | None:
        """In 0..1."""
        return answer.score


class Length:
    """Logarithm of 1 + the number of characters; needs nothing but the text.

    Example:
        >>> Length()(Answer(""))
        0.0
    """

    name: ClassVar[str] = "length"
    needs: ClassVar[str] = "text"

    def __call__(self, answer: Answer) -> float | None:
        """The logarithm."""
        return math.log1p(len(answer.text))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _common(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other) if one or other else 1.0


#: Every signal by name.
SIGNALS: dict[str, Signal] = {
    signal.name: signal
    for signal in (
        MeanLogProb(),
        LeastLogProb(),
        FirstTokenEntropy(),
        FirstTokenMargin(),
        Agreement(),
        SelfCheck(),
        LearnedScore(),
        Length(),
    )
}
