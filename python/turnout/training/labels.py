"""Labels of a pair for classifiers: who wins a prompt, and a score for the weak model's answer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnout._core import ConfigError
from turnout.data import Battles, Outcomes
from turnout.training.config import MfConfig
from turnout.training.curriculum import topic_rows
from turnout.training.pair import Tell, evidence
from turnout.training.tables import Doubles

#: Classes in the order of a classifier's logits, as RouteLLM has them.
CLASSES = ("strong", "tie", "weak")
#: A gain above this needs the score 1, 2, 3 or 4; below all of them it is 5. From 4 on the weak model suffices.
_SCORE_BOUNDS = (0.75, 0.4, 0.1, -0.1)


@dataclass(frozen=True)
class LabelledPrompts:
    """Prompts with the strong model's gain.

    Attributes:
        prompts: The prompts.
        gain: Score of the strong model less that of the weak one, or of their stand-ins, float64 ``[prompts]`` in ``[-1, 1]``.
        weight: Weight of a row in the loss, float64 ``[prompts]``.
    """

    prompts: list[str]
    gain: Doubles
    weight: Doubles

    def split(self, fraction: float, seed: int) -> tuple[LabelledPrompts, LabelledPrompts]:
        """The rows in two by prompt: this fraction second.

        Raises:
            ConfigError: One of the two would be empty.
        """
        generator = np.random.default_rng(seed)
        held_prompts = {prompt for prompt in sorted(set(self.prompts)) if generator.random() < fraction}
        held = np.array([prompt in held_prompts for prompt in self.prompts], dtype=bool)
        if held.all() or not held.any():
            raise ConfigError(
                f"{(~held).sum()} prompts to train on and {held.sum()} to hold out, expected some of each"
            )
        return self.rows(np.flatnonzero(~held)), self.rows(np.flatnonzero(held))

    def rows(self, places: NDArray[np.integer]) -> LabelledPrompts:
        """The rows at these places."""
        return LabelledPrompts([self.prompts[int(p)] for p in places], self.gain[places], self.weight[places])


def labelled_prompts(
    config: MfConfig, tables: Sequence[Outcomes], battles: Battles, tell: Tell = warnings.warn
) -> LabelledPrompts:
    """Prompts with gains: the pair's own where a table or a battle has it, else its stand-ins'; those of other battles at zero.

    Each table, the battles of the pair and the other battles weigh the same in sum.

    Args:
        config: Names the pair and its stand-ins.
        tables: Correctness tables.
        battles: Battles.
        tell: Told of tables that say nothing about the pair.

    Raises:
        ConfigError: Neither a table nor a battle is about the pair or its stand-ins.
    """
    known = evidence(config, tables, battles, tell)
    parts = [topic_rows(config, [table], []) for table in known.tables] + [topic_rows(config, [], known.chat)]
    parts = [part for part in parts if part[0]]
    return LabelledPrompts(
        [prompt for part in parts for prompt in part[0]],
        np.concatenate([part[1] for part in parts]),
        np.concatenate([np.full(len(part[0]), 1.0 / len(part[0])) for part in parts]),
    )


def class_targets(gain: Doubles) -> Doubles:
    """Probabilities of :data:`CLASSES`: a gain of 0.3 is a win in three of ten and otherwise a tie; ``[prompts, 3]``.

    Example:
        >>> class_targets(np.array([1.0, 0.0, -0.25])).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.75, 0.25]]
    """
    wins, losses = np.maximum(gain, 0.0), np.maximum(-gain, 0.0)
    return np.stack([wins, 1.0 - wins - losses, losses], axis=1)


def balanced_weights(targets: Doubles, weight: Doubles) -> Doubles:
    """Weight of each class so that all weigh the same in the loss, ``[classes]``; a class that never occurs weighs 0."""
    mass = (targets * weight[:, None]).sum(axis=0)
    share = mass / mass.sum()
    present = share > 0
    return np.where(present, 1.0 / np.maximum(share, 1e-12) / present.sum(), 0.0)


def scores(gain: Doubles) -> NDArray[np.int64]:
    """Scores 1 to 5 of the weak model's answer, int64 ``[prompts]``; from 4 on it suffices.

    Example:
        >>> scores(np.array([1.0, 0.5, 0.2, 0.0, -1.0])).tolist()
        [1, 2, 3, 4, 5]
    """
    bounds = np.asarray(_SCORE_BOUNDS)
    return np.asarray(1 + (gain[:, None] <= bounds).sum(axis=1), dtype=np.int64)
