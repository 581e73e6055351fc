"""Battles between strong and weak models: those of people and judges, and those that tables of outcomes imply.

The estimator weights every battle for every prompt, the nearest one at most a hundred times as much as the farthest. Differences
between sources (a judge of chat prefers the strong model in 86 % of the battles, an exam in 60 %) would therefore outweigh
differences between prompts: every source gives the same number of prompts, and the strong models win the same share of its battles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from turnout.data import BadRows, Battles, ModelAliases, Outcomes, read_battles
from turnout.data.battle_outcomes import long_enough

from ..graded.near_duplicates import NearDuplicates

#: Models of the class of the pair's strong model, and of its weak one, by patterns of canonical names. The first match counts.
CLASSES = (
    ("strong", ("o3-*", "grok-3*")),
    ("weak", ("*-mini*", "gemma-*", "mistral-7b*", "mistral-small*", "llama3-chatqa*", "*llama-3*8b*", "qwen*7b*")),
    ("strong", ("gpt-4*", "claude-3*", "claude-sonnet*", "gemini-1.5-pro*", "gemini-2*", "deepseek-*", "qwq-*")),
    ("strong", ("llama-3*", "llama-4*", "meta-llama-3*", "qwen2*72b*", "mistral-large*", "yi-large", "bard")),
    ("weak", ("mixtral-8x7b*", "gpt-3.5*", "llama-2-*", "meta-llama--llama-2*", "code-llama*", "codegemma*", "yi-*")),
    ("weak", ("*vicuna*", "*guanaco*", "claude-instant*", "text-davinci-003", "wizardlm*", "palm*", "command*")),
)
#: Scores of a right and of a wrong answer; an answer between them is neither.
RIGHT, WRONG = 0.75, 0.25
#: Prompts whose letters and digits are this similar count as one.
SIMILAR = 0.6


@dataclass(frozen=True)
class BattleConfig:
    """How battles are drawn.

    Attributes:
        prompts: Prompts of a source at most.
        judged_prompts: Prompts of a source of judged battles at most.
        per_prompt: Battles of a prompt at most.
        strong_share: Share of the battles of each source that the strong models win, a tie counting half.
        seed: Seed of the draws.
    """

    prompts: int = 100
    judged_prompts: int = 200
    per_prompt: int = 8
    strong_share: float = 0.6
    seed: int = 0


@dataclass(frozen=True)
class Fight:
    """One battle.

    Attributes:
        prompt: The prompt.
        strong: Model of the strong class.
        weak: Model of the weak class.
        outcome: 1 where the strong one is better, 0 where the weak one is, 0.5 where both are right.
    """

    prompt: str
    strong: str
    weak: str
    outcome: float


def class_of(model: str) -> str | None:
    """``strong``, ``weak`` or neither, by the canonical name of a model."""
    found = (name for name, patterns in CLASSES if any(fnmatchcase(model, pattern) for pattern in patterns))
    return next(found, None)


@dataclass(frozen=True)
class Source:
    """Prompts with battles that were won by one rule.

    Attributes:
        name: Its name.
        prompts: Distinct prompts.
        fights: Gives the battles of a prompt; none for some.
    """

    name: str
    prompts: list[str]
    fights: Callable[[str], list[Fight]]


def implied(table: Outcomes) -> Iterator[Source]:
    """Every source of a table: one right and one wrong answer are a win, two right ones a tie.

    Two wrong answers do not say which is better and are no battle. A source is a category of a table of several benchmarks, or
    else the table.
    """
    strong, weak = ([m for m in table.scores if class_of(m) == name] for name in ("strong", "weak"))
    rows = {prompt: row for row, prompt in enumerate(table.prompts)}

    def fights(prompt: str) -> list[Fight]:
        scores = {model: float(table.scores[model][rows[prompt]]) for model in [*strong, *weak]}
        right = {model for model, score in scores.items() if score >= RIGHT}
        known = {model for model, score in scores.items() if score <= WRONG} | right
        pairs = [(s, w) for s in strong for w in weak if {s, w} <= known and {s, w} & right]
        return [Fight(prompt, s, w, 0.5 if {s, w} <= right else float(s in right)) for s, w in pairs]

    categories = table.categories if table.categories and table.name in _MIXED else [""] * len(table)
    for category in dict.fromkeys(categories):
        name = f"{table.name}-{category.replace('/', '-')}".rstrip("-")
        prompts = [prompt for prompt, own in zip(table.prompts, categories, strict=True) if own == category]
        yield Source(name, prompts, fights)


#: Tables of several benchmarks.
_MIXED = ("evouna_openqa", "llmrouter", "routerbench")


def judged(path: Path, aliases: ModelAliases) -> Source:
    """Battles of a file between a strong and a weak model."""
    table = read_battles(path, bad=BadRows())
    found: dict[str, list[Fight]] = {}
    for prompt, *names, outcome in zip(table.prompts, table.model_a, table.model_b, table.outcome, strict=True):
        a, b = (aliases.canonical(name) for name in names)
        if {class_of(a), class_of(b)} == {"strong", "weak"}:
            first = class_of(a) == "strong"
            fight = Fight(prompt, *((a, b) if first else (b, a)), float(outcome if first else 1.0 - outcome))
            found.setdefault(prompt, []).append(fight)
    return Source(path.stem, list(found), found.__getitem__)


def drawn(
    source: Source,
    prompts: int,
    config: BattleConfig,
    allowed: set[str],
    seen: NearDuplicates,
    generator: np.random.Generator,
) -> list[Fight]:
    """Some battles of a source: few of each prompt, and so many that the strong models win their share.

    Args:
        source: The source.
        prompts: Prompts at most.
        config: Settings.
        allowed: Prompts that are not held out.
        seen: Held-out prompts and those of battles drawn before; takes the prompts of these.
        generator: Of the draws.
    """
    names = [prompt for prompt in source.prompts if prompt in allowed and long_enough(prompt)]
    chosen: list[Fight] = []
    for place in generator.permutation(len(names)):
        if not prompts:
            break
        fights = source.fights(names[place])
        if fights and seen.add(names[place]):
            chosen += [fights[row] for row in generator.permutation(len(fights))[: config.per_prompt]]
            prompts -= 1
    return balanced(chosen, config.strong_share, generator)


def balanced(fights: Sequence[Fight], share: float, generator: np.random.Generator) -> list[Fight]:
    """The battles without some, so that the strong models win this share: wins are left out, or what is no win."""
    outcome = np.array([fight.outcome for fight in fights])
    excess = outcome.sum() - share * len(outcome)
    candidates = np.flatnonzero(outcome == 1.0 if excess > 0 else outcome < 1.0)
    if not len(candidates):
        return list(fights)
    # Each one left out changes the excess by the same amount on average.
    number = round(abs(excess) / abs(outcome[candidates].mean() - share))
    dropped = set(generator.permutation(candidates)[:number].tolist())
    return [fight for row, fight in enumerate(fights) if row not in dropped]


def as_battles(fights: Sequence[Fight], strong: str, weak: str) -> Battles:
    """The battles as a table between two models, for whom the others of their class stand in; the strong one is model a in half of them.

    Most models have too few battles to be rated alone, and every source is balanced: ratings of single models would say nothing.
    """
    rows = [(f.prompt, strong, weak, f.outcome) for f in fights]
    turned = [(p, w, s, 1.0 - o) if row % 2 else (p, s, w, o) for row, (p, s, w, o) in enumerate(rows)]
    prompts, first, second, outcome = ([row[place] for row in turned] for place in range(4))
    return Battles(prompts, first, second, np.array(outcome))  # type: ignore[arg-type]
