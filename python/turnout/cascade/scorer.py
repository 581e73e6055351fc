"""A learned scorer of (prompt, answer): a classifier over both texts, made by ``turnout train scorer``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from turnout._core import ConfigError

#: Names of a scorer's two models: its win rate is the chance that the answer is wrong.
WRONG, RIGHT = "wrong", "right"
SEPARATOR = "[SEP]"
#: Characters of the prompt's end and of the answer's beginning that are read, so that a long prompt leaves room for the answer.
PROMPT_CHARACTERS, ANSWER_CHARACTERS = 500, 500


class Classifier(Protocol):
    """A router, as far as a scorer needs one."""

    @property
    def strong(self) -> str:
        """The model that wins if the answer is wrong."""

    def route(self, prompt: str) -> Any:
        """A decision with a ``win_rate``."""

    async def aroute(self, prompt: str) -> Any:
        """The same for asyncio."""

    def win_rates(self, prompts: Any) -> Any:
        """Win rates of many prompts, in ``[0, 1]``."""


def pair_text(prompt: str, answer: str) -> str:
    """The text that a scorer reads.

    Args:
        prompt: The prompt; its last 500 characters count.
        answer: The answer; its first 500 characters count.

    Returns:
        The prompt, the separator and the answer.

    Example:
        >>> pair_text("What is 2 + 2?", "4")
        'What is 2 + 2? [SEP] 4'
    """
    parts = (text.replace(SEPARATOR, " ") for text in (prompt[-PROMPT_CHARACTERS:], answer[:ANSWER_CHARACTERS]))
    return f" {SEPARATOR} ".join(parts)


class Scorer:
    """Scores answers; its value is :attr:`turnout.cascade.Answer.score`, which the signal ``scorer`` reads.

    Args:
        router: The artifact of ``turnout train scorer``, from :func:`turnout.load`.

    Raises:
        ConfigError: The artifact is a router between models.

    Example:
        >>> from types import SimpleNamespace
        >>> router = SimpleNamespace(strong="wrong", route=lambda text: SimpleNamespace(win_rate=0.25))
        >>> Scorer(router).score("What is 2 + 2?", "4")
        0.75
    """

    def __init__(self, router: Classifier) -> None:
        if router.strong != WRONG:
            raise ConfigError(
                f"a router with the strong model {router.strong!r}, expected the artifact of turnout train scorer"
            )
        self.router = router

    def score(self, prompt: str, answer: str) -> float:
        """Chance that an answer is right, not calibrated.

        Args:
            prompt: The prompt.
            answer: The answer's text.

        Returns:
            In 0..1.
        """
        return 1.0 - float(self.router.route(pair_text(prompt, answer)).win_rate)

    async def ascore(self, prompt: str, answer: str) -> float:
        """:meth:`score` for asyncio.

        Args:
            prompt: The prompt.
            answer: The answer's text.

        Returns:
            In 0..1.
        """
        return 1.0 - float((await self.router.aroute(pair_text(prompt, answer))).win_rate)

    def scores(self, pairs: Iterable[tuple[str, str]]) -> list[float]:
        """:meth:`score` of many answers.

        Args:
            pairs: Prompts and answers.

        Returns:
            One score a pair.
        """
        return [1.0 - float(rate) for rate in self.router.win_rates([pair_text(*pair) for pair in pairs])]
