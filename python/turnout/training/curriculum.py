"""What a student is taught and what it starts from: experts, the topic teacher, the static table, lessons.

The matrix-factorisation router and the small transformer learn from the same curriculum.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from turnout._core import ConfigError
from turnout.data import Battles, Outcomes
from turnout.progress import Show, silent
from turnout.training.config import ExpertConfig, MfConfig
from turnout.training.distill import Progress, fragments, static_table, topic_teacher
from turnout.training.experts import Expert, difficulty_directions, expert_rows, fit_expert
from turnout.training.features import Floats, Ids, bags, count_table, encode, inverse_frequency, mean_bags, vocabulary
from turnout.training.lessons import Lesson, expert_lesson, topic_lesson
from turnout.training.multiple_choice import bare, instructed, questions
from turnout.training.pair import Tell, evidence, pair_gain
from turnout.training.tables import Doubles

#: Options of a bare question, as in MMLU.
_OPTIONS = 4
_INSTRUCTED = 3000
_CHOICE, _WORD = "multiple choice", "word problems"


class Embeds(Protocol):
    """What the recipe needs of a teacher."""

    @property
    def word_embeddings(self) -> Floats:
        """Input embeddings, ``[vocabulary, width]``."""

    def embed(self, prompts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Embeddings, ``[prompts, width]``."""


@dataclass(frozen=True)
class Curriculum:
    """What a student is taught and what it starts from.

    Attributes:
        lessons: Prompts with gains.
        ids: Token ids of every prompt of the tables and battles.
        read_ids: Token ids of everything that the sentence encoder read: the prompts, then pieces of them.
        targets: Principal components of what it made of them, float32 ``[texts, components]``.
        static: The static table for these targets, float32 ``[vocabulary, components]``.
        token_rows: Columns of opinions, then the static table, each scaled to unit spread over prompts;
            float32 ``[vocabulary, opinions + components]``.
        counts: Counting columns, float32 ``[vocabulary, columns]``.
        left_out: A line on each part of the data or the recipe that has no part in it.
    """

    lessons: list[Lesson]
    ids: dict[str, Ids]
    read_ids: list[Ids]
    targets: Floats
    static: Floats
    token_rows: Floats
    counts: Floats
    left_out: Sequence[str] = ()

    @property
    def opinions(self) -> Floats:
        """What each expert and the topic teacher think of a token, float32 ``[vocabulary, opinions]``."""
        return np.ascontiguousarray(self.token_rows[:, : -self.static.shape[1]])


def plan(
    config: MfConfig,
    tables: Sequence[Outcomes],
    battles: Battles,
    teacher: Embeds,
    tokenizer: Tokenizer,
    show: Show = silent,
    tell: Tell = warnings.warn,
) -> Curriculum:
    """Makes the curriculum from tables in memory.

    Args:
        config: The recipe.
        tables: Correctness tables.
        battles: Battles.
        teacher: The sentence encoder.
        tokenizer: Its tokenizer, which is the router's.
        show: Told of the progress.
        tell: Told of what has no part in it.

    Raises:
        ConfigError: Neither a table nor a battle is about the pair or its stand-ins, or no prompt is in Latin letters.
    """
    left_out: list[str] = []

    def leave_out(line: str) -> None:
        left_out.append(line)
        tell(line)

    # Every prompt once, as token ids.
    known = evidence(config, tables, battles, leave_out)
    chat = known.chat
    prompts = list(dict.fromkeys([*(prompt for table in tables for prompt in table.prompts), *battles.prompts]))
    tokens = vocabulary(tokenizer)
    counts = count_table(tokens)
    ids = dict(zip(prompts, encode(tokenizer, prompts, config.max_tokens), strict=True))
    frequency = inverse_frequency(bags(list(ids.values()), len(tokens)))

    # Experts rank within multiple choice and within word problems.
    # Of tables of one name the first is meant.
    bags_of = {table.name: bags([ids[p] for p in table.prompts], len(tokens)) for table in reversed(tables)}
    directions = difficulty_directions(tables, config.difficulties, config.calculation, bags_of, frequency, leave_out)
    experts: dict[str, Expert] = {}
    expert_ids: dict[str, list[Ids]] = {}
    skip: set[str] = set()
    for kind, part in ((_CHOICE, config.choice), (_WORD, config.word)):
        own, gain = expert_rows(tables, part)
        if not own:
            leave_out(_no_expert(kind, part))
            continue
        skip |= set(own)
        expert_ids[kind] = [ids[prompt] for prompt in own]
        experts[kind] = fit_expert(
            part, expert_ids[kind], gain, frequency=frequency, counts=counts, directions=directions
        )

    if not experts and not any(_taught(prompt) for prompt in prompts):
        raise ConfigError(f"none of {len(prompts)} prompts is mostly in Latin letters, which is what the teacher reads")

    # The teacher ranks between kinds of prompt.
    pieces = fragments(prompts, config.fragments, config.seed)
    read = [*prompts, *pieces]
    embeddings = teacher.embed(read, lambda done: show("teacher", done, len(read)))
    place = {prompt: row for row, prompt in enumerate(read)}
    asked, gain, weight = topic_rows(config, known.tables, chat)
    topic = topic_teacher(embeddings[[place[prompt] for prompt in asked]], gain, weight, config.topic_ridge)
    taught = topic.predict(embeddings)

    # The static table: the experts, the topic, and what the teacher sees.
    read_ids = [*ids.values(), *encode(tokenizer, pieces, config.max_tokens)]
    means = mean_bags(bags(read_ids, len(tokens)))
    centred = embeddings - embeddings.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, : config.components]
    targets = np.asarray(centred @ axes, dtype=np.float32)
    show("static table", 0, 1)
    static = static_table(
        means,
        targets,
        teacher.word_embeddings,
        frequency,
        token_scale=config.static_token_scale,
        ridge=config.static_ridge,
    )
    show("static table", 1, 1)
    topic_tokens = static @ (topic.coef_ @ axes)
    columns: list[NDArray[np.floating]] = [e.token_weights[:, None] / e.scale for e in experts.values()]
    columns += [_unit(topic_tokens[:, None], means), _unit(static, means)]
    token_rows = np.hstack(columns).astype(np.float32)

    # Lessons.
    generator = np.random.default_rng(config.seed)
    scored = {prompt for table in tables for prompt in table.prompts}
    asked_of = [p for t in tables if t.name != config.choice.rows.table for p in t.prompts]
    asked_of += [prompt for prompt in known.verdicts.prompts if prompt not in scored]
    choices = questions(asked_of, _OPTIONS, config.seed)
    told = [choices[i] for i in generator.permutation(len(choices))[:_INSTRUCTED]]
    bare_ids = encode(tokenizer, [bare(question) for question in choices], config.max_tokens)
    told_ids = encode(tokenizer, [instructed(q, form) for form, q in enumerate(told)], config.max_tokens)
    general = [row for row, prompt in enumerate(read) if prompt not in skip and _taught(prompt)]
    pull = config.length_pull
    lessons = [
        expert_lesson(
            part, experts[kind], expert_ids[kind], related, counts, share=share, weight=weight, generator=generator
        )
        for kind, part, related, share, weight in (
            (_CHOICE, config.choice, bare_ids, 1.0, 1.5),
            (_WORD, config.word, [], 0.6, 1.0),
        )
        if kind in experts
    ]
    lessons += [
        topic_lesson([read_ids[row] for row in general], taught[general], pull, share=1.5, weight=0.4),
        topic_lesson([ids[p] for p in chat], taught[[place[p] for p in chat]], pull, share=0.3, weight=0.4),
        topic_lesson(told_ids, taught[[place[q.source] for q in told]], pull, share=0.4, weight=0.4),
    ]
    return Curriculum(
        [lesson for lesson in lessons if lesson.ids],
        ids,
        read_ids,
        targets,
        static,
        token_rows,
        counts,
        left_out,
    )


def topic_rows(config: MfConfig, tables: Sequence[Outcomes], chat: Sequence[str]) -> tuple[list[str], Doubles, Doubles]:
    """Prompts, gains and weights for the topic teacher.

    A table gives the pair's own gain where it has the pair, else that of the stand-ins; battles of the pair are such a table.
    Prompts of battles between other models stand at a gain of zero: judges prefer one answer or the other there too, but an open
    question is seldom answered wrongly.
    """
    prompts: list[str] = []
    gain: list[Doubles] = []
    for table in tables:
        own = pair_gain(config, table)
        keep = ~np.isnan(own)
        prompts += [prompt for prompt, kept in zip(table.prompts, keep, strict=True) if kept]
        gain.append(own[keep])
    weights = np.concatenate([np.ones(len(prompts)), np.full(len(chat), config.chat_weight)])
    return [*prompts, *chat], np.concatenate([*gain, np.zeros(len(chat))]), weights


def _no_expert(kind: str, part: ExpertConfig) -> str:
    sides = " and ".join(" or ".join(patterns) for patterns in (part.strong, part.weak))
    categories = "" if part.rows.categories == ("*",) else f" in the categories {', '.join(part.rows.categories)}"
    return f"no expert on {kind}: it needs a table {part.rows.table} with scores of {sides}{categories}"


def _taught(prompt: str) -> bool:
    """Whether the teacher, which reads English, has something to say."""
    return sum(ord(letter) > 127 for letter in prompt) <= 0.3 * len(prompt)


def _unit(rows: Floats, means: object) -> Floats:
    pooled = means @ rows  # type: ignore[operator]
    return np.asarray(rows / np.maximum(pooled.std(axis=0), 1e-9), dtype=np.float32)
