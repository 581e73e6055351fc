"""The recipe of the shipped matrix-factorisation router, from tables to weights; read it from top to bottom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from turnout.data import Battles, Outcomes
from turnout.progress import Show, silent
from turnout.train.config import MfConfig
from turnout.train.dev import dev_result
from turnout.train.distill import Progress, Teacher, fragments, static_table, topic_teacher
from turnout.train.experts import Expert, difficulty_directions, expert_rows, fit_expert
from turnout.train.features import Floats, bags, count_table, encode, inputs, inverse_frequency, mean_bags, vocabulary
from turnout.train.lessons import Lesson, expert_lesson, topic_lesson
from turnout.train.matrix_factorization import TrainedMf, fit_models, train_encoder
from turnout.train.multiple_choice import bare, instructed, questions
from turnout.train.tables import Doubles, gains, pair_examples, read_all_battles, read_tables

#: Options of a bare question, as in MMLU.
_OPTIONS = 4
_INSTRUCTED = 3000
_EXAMPLES_A_TABLE = 20_000


class Embeds(Protocol):
    """What the recipe needs of a teacher."""

    @property
    def word_embeddings(self) -> Floats:
        """Input embeddings, ``[vocabulary, width]``."""

    def embed(self, prompts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Embeddings, ``[prompts, width]``."""


@dataclass(frozen=True)
class TrainingFiles:
    """Files of a training run.

    Attributes:
        correctness: Correctness tables.
        battles: Battles.
        dev: Dev tables: judged at the end, never trained on.
        teacher: Folder of the sentence encoder, with its ``tokenizer.json``.
        cache: Folder in which the teacher's embeddings are kept; by default they are not.
    """

    correctness: Sequence[Path]
    battles: Sequence[Path]
    teacher: Path
    dev: Sequence[Path] = ()
    cache: Path | None = None


def train_mf(config: MfConfig, files: TrainingFiles, show: Show = silent) -> TrainedMf:
    """Trains the router of a config on files and judges it on the dev tables.

    Prompts of the dev tables are left out of training, wherever they occur.

    Args:
        config: The recipe; its defaults are those of the shipped router.
        files: What to read.
        show: Told of the progress.
    """
    dev = read_tables(files.dev)
    exclude = {prompt for table in dev for prompt in table.prompts}
    tables = read_tables(files.correctness, exclude)
    battles = read_all_battles(files.battles, exclude)
    tokenizer = read_tokenizer(files.teacher)
    teacher: Embeds = Teacher(files.teacher, config.teacher_tokens)
    if files.cache is not None:
        teacher = CachedTeacher(teacher, files.cache, str(config.teacher_tokens))
    trained = fit_mf(config, tables, battles, teacher, tokenizer, show)
    pairs = [(config.strong, config.weak), *config.dev_pairs]
    results = [dev_result(t, lambda prompts: trained.win_rates(tokenizer, prompts), pairs, config.seed) for t in dev]
    rows = {table.name: len(table) for table in tables} | {"battles": len(battles)}
    report = {"rows": rows, "config": asdict(config), "dev": [result.as_json() for result in results]}
    return replace(trained, report=report, dev=results)


def read_tokenizer(folder: Path) -> Tokenizer:
    """The teacher's tokenizer without padding, truncation and special tokens: the router's tokenizer."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def fit_mf(
    config: MfConfig,
    tables: Sequence[Outcomes],
    battles: Battles,
    teacher: Embeds,
    tokenizer: Tokenizer,
    show: Show = silent,
) -> TrainedMf:
    """Trains the router on tables in memory; arguments as for :func:`train_mf`."""
    # Every prompt once, as token ids.
    chat = [prompt for prompt in dict.fromkeys(battles.prompts) if _mostly_ascii(prompt)]
    prompts = list(dict.fromkeys([*(prompt for table in tables for prompt in table.prompts), *battles.prompts]))
    tokens = vocabulary(tokenizer)
    counts = count_table(tokens)
    ids = dict(zip(prompts, encode(tokenizer, prompts, config.max_tokens), strict=True))
    frequency = inverse_frequency(bags(list(ids.values()), len(tokens)))

    # Experts rank within multiple choice and within word problems.
    bags_of = {table.name: bags([ids[prompt] for prompt in table.prompts], len(tokens)) for table in tables}
    directions = difficulty_directions(tables, config.difficulties, config.calculation, bags_of, frequency)
    experts: list[Expert] = []
    expert_prompts: list[list[str]] = []
    for part in (config.choice, config.word):
        own, gain = expert_rows(tables, part)
        expert_prompts.append(own)
        own_ids = [ids[prompt] for prompt in own]
        experts.append(fit_expert(part, own_ids, gain, frequency=frequency, counts=counts, directions=directions))

    # The teacher ranks between kinds of prompt.
    pieces = fragments(prompts, config.fragments, config.seed)
    read = [*prompts, *pieces]
    embeddings = teacher.embed(read, lambda done: show("teacher", done, len(read)))
    place = {prompt: row for row, prompt in enumerate(read)}
    asked, gain, weight = topic_rows(config, tables, chat)
    topic = topic_teacher(embeddings[[place[prompt] for prompt in asked]], gain, weight, config.topic_ridge)
    taught = topic.predict(embeddings)

    # The static table: two experts, the topic, and what the teacher sees.
    read_ids = [*ids.values(), *encode(tokenizer, pieces, config.max_tokens)]
    means = mean_bags(bags(read_ids, len(tokens)))
    centred = embeddings - embeddings.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, : config.components]
    show("static table", 0, 1)
    static = static_table(
        means,
        centred @ axes,
        teacher.word_embeddings,
        frequency,
        token_scale=config.static_token_scale,
        ridge=config.static_ridge,
    )
    show("static table", 1, 1)
    topic_tokens = static @ (topic.coef_ @ axes)
    columns: list[NDArray[np.floating]] = [expert.token_weights[:, None] / expert.scale for expert in experts]
    columns += [_unit(topic_tokens[:, None], means), _unit(static, means)]
    token_rows = np.hstack(columns).astype(np.float32)

    # Lessons, and the student.
    generator = np.random.default_rng(config.seed)
    known = questions(
        [p for t in tables if t.name != config.choice.rows.table for p in t.prompts], _OPTIONS, config.seed
    )
    told = [known[i] for i in generator.permutation(len(known))[:_INSTRUCTED]]
    bare_ids = encode(tokenizer, [bare(question) for question in known], config.max_tokens)
    told_ids = encode(tokenizer, [instructed(q, form) for form, q in enumerate(told)], config.max_tokens)
    skip = {prompt for own in expert_prompts for prompt in own}
    general = [row for row, prompt in enumerate(read) if prompt not in skip and _taught(prompt)]
    pull = config.length_pull
    choice_ids, word_ids = ([ids[prompt] for prompt in own] for own in expert_prompts)
    lessons: list[Lesson] = [
        expert_lesson(
            config.choice, experts[0], choice_ids, bare_ids, counts, share=1.0, weight=1.5, generator=generator
        ),
        expert_lesson(config.word, experts[1], word_ids, [], counts, share=0.6, weight=1.0, generator=generator),
        topic_lesson([read_ids[row] for row in general], taught[general], pull, share=1.5, weight=0.4),
        topic_lesson([ids[p] for p in chat], taught[[place[p] for p in chat]], pull, share=0.3, weight=0.4),
        topic_lesson(told_ids, taught[[place[q.source] for q in told]], pull, share=0.4, weight=0.4),
    ]
    lessons = [lesson for lesson in lessons if lesson.ids]
    looks = [0]

    def looked(step: int, loss: float) -> None:
        looks[0] += 1
        show("student", looks[0], config.members * -(-config.steps // 250))

    encoder = train_encoder(lessons, token_rows, counts, config, looked)

    # A vector for every model.
    examples = pair_examples(
        tables, battles, per_table=_EXAMPLES_A_TABLE, min_battles=config.min_battles, seed=config.seed
    )
    embedded = encoder.embed(inputs([ids[prompt] for prompt in examples.prompts], token_rows, counts))
    show("model vectors", 0, 1)
    projection, factor_weights, vectors, models = fit_models(encoder, embedded, examples, config)
    show("model vectors", 1, 1)
    return TrainedMf(
        encoder, projection, factor_weights, vectors, models, config.strong, config.weak, config.max_tokens, {}
    )


def topic_rows(config: MfConfig, tables: Sequence[Outcomes], chat: Sequence[str]) -> tuple[list[str], Doubles, Doubles]:
    """Prompts, gains and weights for the topic teacher.

    A table gives the pair's own gain where it has the pair, else that of the stand-ins. Open-ended prompts from battles stand
    at a gain of zero: judges prefer one answer or the other there too, but an open question is seldom answered wrongly.
    """
    prompts: list[str] = []
    gain: list[Doubles] = []
    for table in tables:
        own = gains(table, (config.strong,), (config.weak,))
        if np.isnan(own).all():
            own = gains(table, config.strong_stand_ins, config.weak_stand_ins)
        keep = ~np.isnan(own)
        prompts += [prompt for prompt, kept in zip(table.prompts, keep, strict=True) if kept]
        gain.append(own[keep])
    weights = np.concatenate([np.ones(len(prompts)), np.full(len(chat), config.chat_weight)])
    return [*prompts, *chat], np.concatenate([*gain, np.zeros(len(chat))]), weights


class CachedTeacher:
    """Keeps a teacher's embeddings in a folder, one file for each list of prompts.

    Args:
        teacher: The teacher.
        folder: Made if it is missing.
        variant: What else the embeddings depend on.
    """

    def __init__(self, teacher: Embeds, folder: Path, variant: str) -> None:
        self._teacher, self._folder, self._variant = teacher, folder, variant

    @property
    def word_embeddings(self) -> Floats:
        """The teacher's."""
        return self._teacher.word_embeddings

    def embed(self, prompts: Sequence[str], progress: Progress | None = None) -> Floats:
        """The teacher's, read back if these prompts were embedded before."""
        digest = hashlib.sha256("\0".join([self._variant, *prompts]).encode("utf-8", "surrogatepass")).hexdigest()
        file = self._folder / f"{digest[:32]}.npy"
        if file.exists():
            kept: Floats = np.load(file)
            return kept
        result = self._teacher.embed(prompts, progress)
        self._folder.mkdir(parents=True, exist_ok=True)
        np.save(file, result)
        return result


def _mostly_ascii(prompt: str) -> bool:
    return sum(ord(letter) > 127 for letter in prompt) <= 0.02 * len(prompt)


def _taught(prompt: str) -> bool:
    """Whether the teacher, which reads English, has something to say."""
    return sum(ord(letter) > 127 for letter in prompt) <= 0.3 * len(prompt)


def _unit(rows: Floats, means: object) -> Floats:
    pooled = means @ rows  # type: ignore[operator]
    return np.asarray(rows / np.maximum(pooled.std(axis=0), 1e-9), dtype=np.float32)
