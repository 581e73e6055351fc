"""The recipe of the shipped matrix-factorisation router, from tables to weights; read it from top to bottom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from turnout.data import Battles, Outcomes
from turnout.progress import Show, silent
from turnout.train import distill
from turnout.train.config import MfConfig
from turnout.train.curriculum import Embeds, plan
from turnout.train.dev import dev_results
from turnout.train.distill import Teacher
from turnout.train.features import Floats, Ids, inputs
from turnout.train.matrix_factorization import LOOK_EVERY, Encoder, Progress, TrainedMf, fit_models, train_hidden
from turnout.train.tables import pair_examples, read_all_battles, read_tables

#: Pairs of models drawn from each table for the model vectors.
EXAMPLES_A_TABLE = 20_000


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
    results = dev_results(dev, lambda prompts: trained.win_rates(tokenizer, prompts), config)
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
    curriculum = plan(config, tables, battles, teacher, tokenizer, show)
    token_rows, counts = curriculum.token_rows, curriculum.counts

    def see(ids: Sequence[Ids]) -> Floats:
        return inputs(ids, token_rows, counts)

    hidden = train_hidden(curriculum.lessons, see, config, looks(show, config))

    # A vector for every model.
    examples = pair_examples(
        tables, battles, per_table=EXAMPLES_A_TABLE, min_battles=config.min_battles, seed=config.seed
    )
    embedded = hidden.embed(see([curriculum.ids[prompt] for prompt in examples.prompts]))
    show("model vectors", 0, 1)
    projection, factor_weights, vectors, models = fit_models(hidden.direction, embedded, examples, config)
    show("model vectors", 1, 1)
    encoder = Encoder(token_rows, counts, hidden)
    return TrainedMf(
        encoder, projection, factor_weights, vectors, models, config.strong, config.weak, config.max_tokens, {}
    )


def looks(show: Show, config: MfConfig) -> Progress:
    """Progress of all networks of the student as one bar."""
    done = 0

    def looked(step: int, loss: float) -> None:
        nonlocal done
        done += 1
        show("student", done, config.members * -(-config.steps // LOOK_EVERY))

    return looked


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

    def embed(self, prompts: Sequence[str], progress: distill.Progress | None = None) -> Floats:
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
