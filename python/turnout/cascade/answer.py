"""What an answer gives that signals can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

#: Candidates of the first token to ask for.
TOP_LOGPROBS = 5
#: Log-probability of what has none, such as JSON's stand-in for minus infinity.
_LEAST = -100.0


@dataclass(frozen=True)
class Answer:
    """One answer of a model.

    Attributes:
        text: Its text.
        logprobs: Natural logarithm of the probability of each token; ``None`` where the upstream gives none.
        first_top_logprobs: Those of the likeliest candidates of the first token.
        samples: Further answers to the same prompt: of the same model, or of another cheap one.
        self_check: Probability of "yes" when the model was asked whether the answer is right.
        score: Of a :class:`turnout.cascade.Scorer`.

    Example:
        >>> Answer("Paris", logprobs=[-0.1, -0.3]).text
        'Paris'
    """

    text: str
    logprobs: Sequence[float] | None = None
    first_top_logprobs: Sequence[float] | None = None
    samples: Sequence[str] | None = None
    self_check: float | None = None
    score: float | None = None

    @classmethod
    def from_completion(cls, completion: Any) -> Answer:
        """Reads a chat completion: an object of the ``openai`` package, or the same as a dictionary.

        Args:
            completion: The completion; its first choice counts. Arguments of calls of tools count as text.

        Returns:
            The answer, without log-probabilities if the completion has none.

        Example:
            >>> token = {"token": "Hi", "logprob": -0.5, "top_logprobs": [{"token": "Hi", "logprob": -0.5}]}
            >>> Answer.from_completion({"choices": [{"message": {"content": "Hi"}, "logprobs": {"content": [token]}}]})
            Answer(text='Hi', logprobs=[-0.5], first_top_logprobs=[-0.5], samples=None, self_check=None, score=None)
        """
        document = completion if isinstance(completion, dict) else completion.model_dump()
        choice = document["choices"][0]
        tokens = (choice.get("logprobs") or {}).get("content")
        message = choice.get("message") or {}
        called = [(call.get("function") or {}).get("arguments") for call in message.get("tool_calls") or ()]
        return cls.from_tokens("".join(text for text in (message.get("content"), *called) if text), tokens)

    @classmethod
    def from_tokens(cls, text: str, tokens: Sequence[dict[str, Any]] | None) -> Answer:
        """An answer from the ``logprobs.content`` of a choice, which may be partial.

        Args:
            text: Text of the answer.
            tokens: A dictionary a token, with ``logprob`` and ``top_logprobs``.

        Returns:
            The answer.
        """
        if not tokens:
            return cls(text)
        first = [_bounded(top["logprob"]) for top in tokens[0].get("top_logprobs") or ()]
        return cls(text, [_bounded(token["logprob"]) for token in tokens], first or None)

    def with_samples(self, samples: Sequence[str]) -> Answer:
        """The same answer with further ones beside it.

        Args:
            samples: Their texts.

        Returns:
            A new answer.
        """
        return replace(self, samples=samples)


def _bounded(logprob: Any) -> float:
    """A log-probability; rounding gives some upstreams numbers above 0."""
    return min(max(float(logprob), _LEAST), 0.0)
