"""The tables of the recipe: prompts, grades, and where outcomes of the pair or its proxy models are known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from turnout._core import ConfigError
from turnout.data import BadRows, Battles, ModelAliases, Outcomes, read_outcomes
from turnout.training.tables import read_all_battles, read_tables

from .linear_teacher import Prior
from .sides import gains, matches

DEV_SHARE = 0.15


@dataclass(frozen=True)
class Pair:
    """Outcomes that stand for those of the pair.

    Attributes:
        table: Name of a table.
        strong: Patterns of the strong side.
        weak: Patterns of the weak side.
        categories: Patterns of the rows' categories.
        share: Share of these outcomes in the label; the rest is the grade's.
        alike: Tables and categories of further prompts of the same form.
        exact: Whether both are the shipped pair: such outcomes calibrate the win rate.
        linear: Ranks these prompts by a teacher that is linear in the tokens, in place of the two ridge regressions.
        options: Sets the prompts alike, too, as questions with this many lettered options.
        mixed: Number of prompts to make from halves of two; the linear teacher labels them.
    """

    table: str
    strong: tuple[str, ...]
    weak: tuple[str, ...]
    categories: tuple[str, ...] = ("*",)
    share: float = 0.6
    alike: tuple[tuple[str, tuple[str, ...]], ...] = ()
    exact: bool = False
    linear: Prior | None = None
    options: int = 0
    mixed: int = 0


GPT4, MIXTRAL = ("gpt-4-1106-preview",), ("mixtral-8x7b-*",)
_CAPABLE = ("llama-3.1-nemotron-51b-instruct", "llama-3.1-8b-instruct", "qwen2.5-7b-instruct", "gemma-2-9b-it")
_CHOICE = (("llmrouter", ("mmlu", "arc_challenge", "openbook_qa", "commonsense_qa")), ("mmlu_pro", ("*",)))

PAIRS = {
    "multiple choice": Pair(
        "mmlu_gold",
        GPT4,
        MIXTRAL,
        share=0.85,
        alike=_CHOICE,
        exact=True,
        linear=Prior(tokens=2.0, difficulty=0.5, noise=60.0),
        options=4,
        mixed=16000,
    ),
    "reasoning and code": Pair("routerbench", GPT4, MIXTRAL, exact=True),
    "search": Pair("evouna_openqa", ("gpt-4",), ("gpt-3.5-turbo",), share=0.5),
    "competition": Pair("fasteval_math", ("gpt-4-0613",), ("gpt-3.5-turbo-*",), alike=(("llmrouter", ("math",)),)),
    "word problems": Pair(
        "llmrouter",
        _CAPABLE,
        ("mistral-7b-instruct-v0.3", "codegemma-7b", "llama3-chatqa-1.5-70b"),
        ("gsm8k", "agentverse-mgsm"),
        share=0.8,
        linear=Prior(tokens=1.5, length=0.2, counts=0.1, noise=10.0),
        mixed=10000,
    ),
}


@dataclass(frozen=True)
class Grades:
    """Graded prompts.

    Attributes:
        prompts: The prompts.
        grade: From 1 to 5.
        language: ISO 639-1.
        written: Whether a prompt was written for the set.
        dev: Whether it is held out.
    """

    prompts: list[str]
    grade: NDArray[np.float64]
    language: list[str]
    written: NDArray[np.bool_]
    dev: NDArray[np.bool_]


def read_grades(paths: Sequence[Path]) -> Grades:
    """Reads tables of graded prompts."""
    names = ["prompt", "grade", "language", "source", "split"]
    tables = [pq.read_table(path, columns=names).to_pydict() for path in paths]
    column = {name: [value for table in tables for value in table[name]] for name in names}
    return Grades(
        column["prompt"],
        np.array(column["grade"], dtype=np.float64),
        column["language"],
        np.array([source == "written" for source in column["source"]]),
        np.array([split == "dev" for split in column["split"]]),
    )


def held_out(prompt: str) -> bool:
    """Whether a prompt with an outcome is held out, by a hash of it."""
    return int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big") < DEV_SHARE * 2**32


@dataclass(frozen=True)
class Data:
    """Everything in memory.

    Attributes:
        tables: Tables of outcomes.
        battles: Battles.
        dev: Tables that are only measured.
        grades: Graded prompts.
        prompts: Every prompt that is trained on, once.
    """

    tables: list[Outcomes]
    battles: Battles
    dev: list[Outcomes]
    grades: Grades
    prompts: list[str]


def read_data(
    correctness: Sequence[Path], battles: Sequence[Path], dev: Sequence[Path], graded: Sequence[Path]
) -> Data:
    """Reads the tables; held-out prompts are no part of the training, wherever they occur."""
    grades = read_grades(graded)
    dev_tables = [_first_columns(read_outcomes(path, bad=BadRows())) for path in dev]
    exclude = {prompt for table in dev_tables for prompt in table.prompts}
    tables = read_tables(correctness, exclude)
    battle_rows = read_all_battles(battles, exclude)
    hidden = {prompt for prompt, dev in zip(grades.prompts, grades.dev, strict=True) if dev}
    for pair in PAIRS.values():
        table = named(tables, pair.table)
        hidden |= {prompt for prompt in table.prompts if held_out(prompt)}
    everything = [*grades.prompts, *(prompt for table in tables for prompt in table.prompts), *battle_rows.prompts]
    prompts = [prompt for prompt in dict.fromkeys(everything) if prompt not in hidden]
    return Data(tables, battle_rows, dev_tables, grades, prompts)


def _first_columns(table: Outcomes) -> Outcomes:
    """The table with the first column of each model, by its canonical name: some were measured at two providers."""
    aliases = ModelAliases()
    scores: dict[str, NDArray[np.float64]] = {}
    for model, column in table.scores.items():
        scores.setdefault(aliases.canonical(model), column)
    return replace(table, scores=scores)


def named(tables: Sequence[Outcomes], name: str) -> Outcomes:
    """The table of a name.

    Raises:
        ConfigError: There is none.
    """
    for table in tables:
        if table.name == name:
            return table
    raise ConfigError(f"no table {name} in the data: recipes/mf/notes.md lists all")


def outcomes(tables: Sequence[Outcomes], pair: Pair) -> tuple[list[str], NDArray[np.float64]]:
    """Prompts with outcomes of a pair and the gain of its strong side, in -1..1."""
    table = named(tables, pair.table)
    gain = gains(table, pair.strong, pair.weak)
    categories = table.categories or [""] * len(table)
    keep = [matches(name, pair.categories) and not np.isnan(g) for name, g in zip(categories, gain, strict=True)]
    return [prompt for prompt, kept in zip(table.prompts, keep, strict=True) if kept], gain[np.array(keep)]


def prompts_alike(tables: Sequence[Outcomes], pair: Pair) -> list[str]:
    """Further prompts of the form of a pair's table."""
    found = []
    for name, patterns in pair.alike:
        table = named(tables, name)
        categories = table.categories or [""] * len(table)
        found += [p for p, category in zip(table.prompts, categories, strict=True) if matches(category, patterns)]
    return found
