"""Prompts whose right answer can be computed, and what strong models scored on them.

The tables of outcomes have no reference answers. Two of them do not need any: the questions of NumerSense V2 compare two numbers, and the
easy level of reasoning-gym is procedural, so the package of the same name makes the same questions again, with a verifier for each.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

#: Seed and number of questions a task of the published evaluation, the easy level.
SEED, SIZE = 42, 50
#: Longest prompt and longest reference answer, characters: more is beyond a model of 135M parameters.
MAX_PROMPT, MAX_ANSWER = 300, 16
#: Tasks with short answers whose questions take no search to make.
TASKS = tuple(
    """aiw base_conversion basic_arithmetic binary_alternation bitwise_arithmetic caesar_cipher calendar_arithmetic chain_sum circuit_logic
    complex_arithmetic count_bits count_primes course_schedule decimal_arithmetic decimal_chain_sum dice family_relationships
    fraction_simplification game_of_life_halting gcd knights_knaves largest_island lcm leg_counting letter_counting letter_jumble
    needle_haystack number_filtering number_format number_sequence number_sorting power_function prime_factorization products
    rectangle_count rotten_oranges simple_equations simple_geometry string_manipulation syllogism time_intervals word_sequence_reversal
    word_sorting""".split()
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_STATED = re.compile(r"(?:\bis|=|:)\s*([^\s]+?)[.\s]*$")


@dataclass(frozen=True)
class Question:
    """A prompt with its verifier.

    Attributes:
        table: Name of its table.
        task: Category within the table.
        prompt: The text.
        scores: Recorded scores of strong models.
        is_right: Judges an answer.
    """

    table: str
    task: str
    prompt: str
    scores: dict[str, float]
    is_right: Callable[[str], bool]


def questions(tables: list[Path], seed: int = 0) -> list[Question]:
    """The questions of `numersense_v2.parquet` and `reasoning_gym.parquet`, shuffled, so that any number of the first are a fair sample."""
    found: list[Question] = []
    for path in tables:
        rows = pq.read_table(path).to_pylist()
        found += list(_READERS[path.stem](rows))
    random.Random(seed).shuffle(found)
    return found


def _scores(row: dict[str, Any]) -> dict[str, float]:
    return {k: v for k, v in row.items() if isinstance(v, float)}


def _numersense(rows: list[dict[str, Any]]) -> Iterator[Question]:
    for row in rows:
        numbers = list(dict.fromkeys(_NUMBER.findall(row["prompt"])))
        if len(numbers) == 2:
            choose = max if row["category"].endswith(">") else min
            right = choose(numbers, key=float)
            yield Question(
                "numersense_v2", row["category"].split("/")[1], row["prompt"], _scores(row), _first_of(right, numbers)
            )


def _first_of(right: str, numbers: list[str]) -> Callable[[str], bool]:
    """Right if the first of the two numbers in the answer is the right one."""
    return lambda answer: next((n for n in _NUMBER.findall(answer) if n in numbers), None) == right


def _reasoning_gym(rows: list[dict[str, Any]]) -> Iterator[Question]:
    import reasoning_gym

    for task in TASKS:
        published = {_letters(row["prompt"]): row for row in rows if row["category"].endswith(f"/{task}/easy")}
        dataset = reasoning_gym.create_dataset(task, size=SIZE, seed=SEED)
        for entry in (dataset[index] for index in range(SIZE)):
            row = published.get(_letters(entry["question"]))
            if row is not None and len(row["prompt"]) <= MAX_PROMPT and len(entry["answer"]) <= MAX_ANSWER:
                yield Question("reasoning_gym", task, row["prompt"], _scores(row), _verifier(dataset, entry))


def _verifier(dataset: Any, entry: dict[str, Any]) -> Callable[[str], bool]:
    def is_right(answer: str) -> bool:
        try:
            return bool(dataset.score_answer(stated(answer), entry) >= 0.99)
        except (ValueError, TypeError, ArithmeticError, SyntaxError):
            # Some verifiers parse the answer and raise on what is none.
            return False

    return is_right


def stated(answer: str) -> str:
    """What an answer states: the last word after "is", "=" or ":" of its first line, else the line."""
    line = answer.strip().split("\n")[0].strip()
    found = _STATED.search(line)
    return (found[1] if found else line).strip("*`$.")


def _letters(text: str) -> str:
    return "".join(text.split())


_READERS = {"numersense_v2": _numersense, "reasoning_gym": _reasoning_gym}
