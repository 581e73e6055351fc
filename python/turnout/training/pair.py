"""The two models to route between, and what tables, battles and grades say about them."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError
from turnout.data import Battles, Outcomes, outcomes_of_pair
from turnout.training.held_out import split_by_prompt

#: Called with a line on data that are not used.
Warn = Callable[[str], object]

Doubles = NDArray[np.float64]

#: Models that a message names at most.
_NAMED = 12
#: Chance that the small model's answer is clearly worse on a prompt of each grade from 1 to 5: the middles of the rubric's ranges.
GRADE_CHANCES = (0.025, 0.125, 0.325, 0.6, 0.85)


@dataclass(frozen=True)
class Pair:
    """The two models to route between, their names in canonical form.

    Attributes:
        strong: Strong model.
        weak: Weak model.
    """

    strong: str = "gpt-4-1106-preview"
    weak: str = "mixtral-8x7b-instruct-v0.1"

    def __str__(self) -> str:
        return f"{self.strong} (strong) and {self.weak} (weak)"


@dataclass(frozen=True)
class Grades:
    """Prompts graded from 1 (trivial) to 5 (expert).

    Attributes:
        prompts: The prompts.
        grade: float64 ``[prompts]``.
    """

    prompts: list[str]
    grade: Doubles


@dataclass(frozen=True)
class LabelledPrompts:
    """Prompts with the strong model's gain.

    Attributes:
        prompts: The prompts.
        gain: Score of the strong model less that of the weak one, float64 ``[prompts]`` in ``[-1, 1]``.
        source: Name of the table that each comes from.
    """

    prompts: list[str]
    gain: Doubles
    source: list[str]

    @property
    def weight(self) -> Doubles:
        """Weights that make all sources weigh the same in sum, float64 ``[prompts]``."""
        _, index, rows = np.unique(self.source, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / rows[index])

    def split(self, fraction: float, seed: int) -> tuple[LabelledPrompts, LabelledPrompts]:
        """Splits by prompt.

        Args:
            fraction: Share of the prompts in the second part.
            seed: Seed of the draw.

        Raises:
            ConfigError: One of the two would be empty.
        """
        train, held = split_by_prompt(self.prompts, fraction, seed)
        return self.rows(train), self.rows(held)

    def rows(self, indices: NDArray[np.integer]) -> LabelledPrompts:
        """The rows at these indices."""
        kept = [int(index) for index in indices]
        return replace(
            self,
            prompts=[self.prompts[index] for index in kept],
            gain=self.gain[indices],
            source=[self.source[index] for index in kept],
        )


def labelled_prompts(
    pair: Pair,
    tables: Sequence[Outcomes] = (),
    battles: Battles | None = None,
    grades: Grades | None = None,
    warn: Warn = warnings.warn,
) -> LabelledPrompts:
    """Gathers prompts with the strong model's gain.

    A table with both models gives the difference of their scores; battles between the two give a prompt's mean verdict, in -1..1; a grade
    gives :data:`GRADE_CHANCES`.

    Args:
        pair: The pair.
        tables: Tables of outcomes.
        battles: Battles of any models.
        grades: Graded prompts.
        warn: Called with a line on every table that has no scores of both models.

    Raises:
        ConfigError: There is no such prompt; names the models that were found.

    Example:
        >>> table = Outcomes("mine", ["Hi", "Why?"], {"big": np.array([1.0, 1.0]), "small": np.array([1.0, 0.0])})
        >>> labelled_prompts(Pair("big", "small"), [table]).gain.tolist()
        [0.0, 1.0]
    """
    prompts: list[str] = []
    gains: list[Doubles] = []
    sources: list[str] = []

    def add(source: str, texts: Sequence[str], gain: Doubles) -> bool:
        known = ~np.isnan(gain)
        kept = [text for text, keep in zip(texts, known, strict=True) if keep]
        prompts.extend(kept)
        sources.extend([source] * len(kept))
        gains.append(gain[known])
        return bool(kept)

    for table in tables:
        if not add(table.name, table.prompts, pair_gain(pair, table)):
            warn(
                f"{table.name}: none of its {len(table)} prompts has scores of both {pair}; "
                f"its models: {_listed(table.scores)}"
            )
    if battles is not None:
        add("battles", *_verdicts(pair, battles))
    if grades is not None:
        add("grades", grades.prompts, np.interp(grades.grade, np.arange(1, 6), GRADE_CHANCES))
    if not prompts:
        found = [model for table in tables for model in table.scores]
        found += [] if battles is None else battles.model_a + battles.model_b
        raise ConfigError(
            f"no table scores and no battle is between {pair}; models found: {_listed(dict.fromkeys(found))}; "
            "name the two to route between with --strong and --weak"
        )
    return LabelledPrompts(prompts, np.concatenate(gains), sources)


def pair_gain(pair: Pair, table: Outcomes) -> Doubles:
    """Score of the strong model less that of the weak one, float64 ``[prompts]``; NaN where one is unknown."""
    unknown = np.full(len(table), np.nan)
    return table.scores.get(pair.strong, unknown) - table.scores.get(pair.weak, unknown)


def _verdicts(pair: Pair, battles: Battles) -> tuple[list[str], Doubles]:
    """Prompts of battles between the two, and their mean verdicts in -1..1."""
    table = outcomes_of_pair(battles, pair.strong, pair.weak, name="battles")
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for prompt, gain in zip(table.prompts, pair_gain(pair, table), strict=True):
        by_prompt[prompt].append(float(gain))
    return list(by_prompt), np.array([np.mean(gains) for gains in by_prompt.values()], dtype=np.float64)


def _listed(models: Iterable[str]) -> str:
    names = list(models)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "none") + more
