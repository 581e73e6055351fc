"""What a training run reads: tables, battles, the teacher and its tokenizer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from turnout.data import BadRows, Battles, Outcomes
from turnout.evaluate.dev import DevResult
from turnout.training import distill
from turnout.training.curriculum import Embeds
from turnout.training.distill import Teacher
from turnout.training.features import Floats
from turnout.training.tables import read_all_battles, read_tables, read_training_tables


@dataclass(frozen=True)
class TrainingFiles:
    """Files of a training run.

    Attributes:
        correctness: Correctness tables.
        battles: Battles.
        teacher: Folder of the sentence encoder, with its ``tokenizer.json``.
        dev: Dev tables: judged at the end, never trained on.
        cache: Folder in which the teacher's embeddings are kept; by default they are not.
        column: Column of tables that holds the prompts.
        bad: Takes rows that could not be used.
    """

    correctness: Sequence[Path]
    battles: Sequence[Path]
    teacher: Path
    dev: Sequence[Path] = ()
    cache: Path | None = None
    column: str = "prompt"
    bad: BadRows = field(default_factory=BadRows)

    def read(self) -> TrainingData:
        """Tables and battles, read once. Prompts of the dev tables are left out of them, wherever they occur."""
        return self._data

    @cached_property
    def _data(self) -> TrainingData:
        dev = read_tables(self.dev, bad=self.bad, column=self.column)
        exclude = {prompt for table in dev for prompt in table.prompts}
        tables = read_training_tables(self.correctness, exclude, self.bad, self.column)
        return TrainingData(tables, read_all_battles(self.battles, exclude, self.bad), dev)

    def read_teacher(self, max_tokens: int) -> Embeds:
        """The teacher, which sees so many tokens of a text."""
        teacher = Teacher(self.teacher, max_tokens)
        return teacher if self.cache is None else CachedTeacher(teacher, self.cache, str(max_tokens))

    def read_tokenizer(self) -> Tokenizer:
        """The teacher's tokenizer without padding, truncation and special tokens: the router's tokenizer."""
        tokenizer = Tokenizer.from_file(str(self.teacher / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer


@dataclass(frozen=True)
class TrainingData:
    """Tables of a training run in memory.

    Attributes:
        tables: Correctness tables.
        battles: Battles.
        dev: Dev tables.
    """

    tables: list[Outcomes]
    battles: Battles
    dev: list[Outcomes]

    def calibration_prompts(self) -> list[list[str]]:
        """Distinct prompts of each table, and those of the battles."""
        sources = [table.prompts for table in self.tables] + [self.battles.prompts]
        return [list(dict.fromkeys(prompts)) for prompts in sources]

    def report(
        self, config: Mapping[str, Any], results: Sequence[DevResult], left_out: Sequence[str]
    ) -> dict[str, Any]:
        """What ``router.json`` says of the training: rows that were read, the config, dev scores, what had no part in it."""
        rows = {table.name: len(table) for table in self.tables} | {"battles": len(self.battles)}
        dev = [result.to_json() for result in results]
        return {"rows": rows, "config": dict(config), "dev": dev, "left_out": list(left_out)}


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
