"""What tables and battles say about the pair that a router is trained for."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from glob import escape

import numpy as np

from turnout._core import ConfigError
from turnout.data import Battles, Outcomes, outcomes_of_pair
from turnout.training.config import MfConfig
from turnout.training.tables import Doubles, gains

#: Called with a line on what of the data or of the recipe has no part in the training.
Tell = Callable[[str], object]

#: Models that a message names at most.
_NAMED = 12


@dataclass(frozen=True)
class Evidence:
    """What is known of the pair, prompt by prompt.

    Attributes:
        tables: Tables that score the pair or its stand-ins; the last one holds the verdicts of battles, where there are any.
        verdicts: That table of verdicts, without rows where there are none.
        chat: Other prompts of battles that are mostly ASCII.
    """

    tables: list[Outcomes]
    verdicts: Outcomes
    chat: list[str]


def evidence(config: MfConfig, tables: Sequence[Outcomes], battles: Battles, tell: Tell = warnings.warn) -> Evidence:
    """Gathers what is known of the pair.

    Args:
        config: Names the pair and its stand-ins.
        tables: Correctness tables.
        battles: Battles of any models.
        tell: Told of every table that says nothing about the pair.

    Raises:
        ConfigError: Neither a table nor a battle is about the pair or its stand-ins; names the models that were found.
    """
    known = []
    for table in tables:
        if np.isnan(pair_gain(config, table)).all():
            tell(
                f"{table.name}: none of its {len(table)} prompts says anything about {_pair(config)}; "
                f"its models: {_listed(table.scores)}"
            )
        else:
            known.append(table)
    verdicts = verdicts_of_pair(config, battles)
    if len(verdicts):
        known.append(verdicts)
    if not known:
        found = [model for table in tables for model in table.scores] + battles.model_a + battles.model_b
        raise ConfigError(
            f"no table scores and no battle is between {_pair(config)}; models found: {_listed(dict.fromkeys(found))}; "
            "name the two to route between with --strong and --weak"
        )
    judged = set(verdicts.prompts)
    chat = [p for p in dict.fromkeys(battles.prompts) if p not in judged and mostly_ascii(p)]
    return Evidence(known, verdicts, chat)


def pair_gain(config: MfConfig, table: Outcomes) -> Doubles:
    """Score of the strong model less that of the weak one, or of their stand-ins where a table lacks the pair; NaN where unknown."""
    own = gains(table, (escape(config.strong),), (escape(config.weak),))
    return gains(table, config.strong_stand_ins, config.weak_stand_ins) if np.isnan(own).all() else own


def verdicts_of_pair(config: MfConfig, battles: Battles) -> Outcomes:
    """Battles between the two models of the pair as a table: each prompt once, with the mean of its verdicts."""
    table = outcomes_of_pair(battles, config.strong, config.weak, name="battles of the pair")
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for prompt, won in zip(table.prompts, table.scores[config.strong], strict=True):
        by_prompt[prompt].append(float(won))
    mean = np.array([np.mean(won) for won in by_prompt.values()], dtype=np.float64)
    return Outcomes(table.name, list(by_prompt), {config.strong: mean, config.weak: 1.0 - mean})


def mostly_ascii(prompt: str) -> bool:
    """Whether at most one letter in fifty lies outside ASCII."""
    return sum(ord(letter) > 127 for letter in prompt) <= 0.02 * len(prompt)


def _pair(config: MfConfig) -> str:
    stand_ins = " or their stand-ins" if config.strong_stand_ins and config.weak_stand_ins else ""
    return f"{config.strong} (strong) and {config.weak} (weak){stand_ins}"


def _listed(models: Iterable[str]) -> str:
    names = list(models)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "none") + more
