"""What the student is taught: prompts of several kinds, each with a gain.

Inside bare multiple choice and inside word problems the experts say which prompt needs the strong model more; between kinds of
prompt, and everywhere else, the topic teacher does. The experts are linear in the tokens, so they label any bag of tokens:
halves of two prompts put together are new prompts of the same kind, and thousands of them teach the student the expert's rule
instead of a list of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout.training.config import ExpertConfig
from turnout.training.experts import Expert
from turnout.training.features import Floats, Ids
from turnout.training.tables import Doubles

#: An expert's standardised score is cut here, so that odd mixtures do not dominate.
_CUT = 4.0


@dataclass(frozen=True)
class Lesson:
    """Prompts of one kind.

    Attributes:
        ids: Token ids, one array a prompt.
        gain: What to learn, float64 ``[prompts]``.
        share: Share of a training batch, up to a common factor.
        weight: Weight of a squared error.
    """

    ids: list[Ids]
    gain: Doubles
    share: float
    weight: float

    def split(self, fraction: float, generator: np.random.Generator) -> tuple[Lesson, Lesson]:
        """The lesson in two by prompt: this fraction second. Equal prompts stay together."""
        keys = {row.tobytes() for row in self.ids}
        held = {key for key in sorted(keys) if generator.random() < fraction}
        second = np.array([row.tobytes() in held for row in self.ids], dtype=bool)
        return self._rows(~second), self._rows(second)

    def _rows(self, keep: NDArray[np.bool_]) -> Lesson:
        ids = [row for row, kept in zip(self.ids, keep, strict=True) if kept]
        return Lesson(ids, self.gain[keep], self.share, self.weight)


def mixed(ids: Sequence[Ids], number: int, generator: np.random.Generator) -> list[Ids]:
    """The start of one prompt and the end of another, some tokens dropped.

    Args:
        ids: Prompts of one kind.
        number: How many to make.
        generator: Source of randomness.

    Returns:
        Token ids of new prompts, none shorter than five tokens unless a prompt was.
    """
    made = []
    for _ in range(number):
        row = ids[int(generator.integers(len(ids)))]
        if generator.random() < 0.8:
            other = ids[int(generator.integers(len(ids)))]
            cut, resume = generator.integers(0, len(row) + 1), generator.integers(0, len(other) + 1)
            joined = np.concatenate([row[:cut], other[resume:]])
            row = joined if len(joined) >= 5 else row
        kept = generator.random(len(row)) > 0.15 * generator.random()
        made.append(row[kept] if kept.sum() >= 5 else row)
    return made


def expert_lesson(
    config: ExpertConfig,
    expert: Expert,
    ids: Sequence[Ids],
    related: Sequence[Ids],
    counts: Floats,
    *,
    share: float,
    weight: float,
    generator: np.random.Generator,
) -> Lesson:
    """Prompts of the expert's kind with what it says of them.

    Args:
        config: Mean and spread of the gain, and how many mixed prompts.
        expert: Says the gain.
        ids: Its own prompts.
        related: Further prompts of the same form; may be empty.
        counts: Counting columns.
        share: Share of a batch.
        weight: Weight of an error.
        generator: Source of randomness.
    """
    rows = [*ids, *related, *mixed(ids, config.mixed, generator)]
    if related:
        rows += mixed([*ids, *related], config.mixed // 2, generator)
    score = np.clip(expert.score(rows, counts), -_CUT, _CUT)
    return Lesson(rows, config.mean + config.spread * score, share, weight)


def topic_lesson(
    ids: Sequence[Ids], gain: NDArray[np.floating], length_pull: float, *, share: float, weight: float
) -> Lesson:
    """Prompts with the topic teacher's gain and a mild pull of length: ``gain + length_pull * (log1p(tokens) - 4)``."""
    lengths = np.log1p([len(row) for row in ids])
    return Lesson(list(ids), np.asarray(gain + length_pull * (lengths - 4.0), dtype=np.float64), share, weight)
