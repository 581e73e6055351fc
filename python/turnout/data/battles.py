"""Battles: one prompt, two models, and whose answer was preferred."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.conversation.messages import field, is_user, words_of
from turnout.data.aliases import ModelAliases
from turnout.data.bad_rows import BadRows
from turnout.data.chunks import Chunk, column_names, listed, read_chunks
from turnout.data.outcomes import Outcomes
from turnout.data.scores import number_of
from turnout.data.writer import is_utf8

_ARENA = ("winner_model_a", "winner_model_b", "winner_tie")
#: Columns that may hold the prompt, the first that is there.
_PROMPTS = ("prompt", "messages", "conversation_a")
#: Columns of battles in any layout.
COLUMNS = ("id", *_PROMPTS, "model_a", "model_b", "winner", *_ARENA)
#: Spellings of ``winner``, those of judges in MT-Bench and Arena-Hard among them, compared without case, blanks, ``_``, ``-`` and brackets. The names of both models are read too.
_WINNERS = {
    **dict.fromkeys(("modela", "a", "left", "assistanta", "responsea", "a>b", "a>>b"), 1.0),
    **dict.fromkeys(("modelb", "b", "right", "assistantb", "responseb", "b>a", "b>>a"), 0.0),
    **dict.fromkeys(("tie", "draw", "c", "a=b", "tiebothbad", "bothbad", "tiebothgood", "bothgood"), 0.5),
}
_EXPECTED = "expected model_a, model_b, tie, both_bad, A, B or the name of one of the models"


class Battle(NamedTuple):
    """One battle: two models answered the same prompt, and one answer was preferred.

    Attributes:
        prompt: The prompt.
        model_a: Name of the first model.
        model_b: Name of the second model.
        outcome: 1 if model a won, 0 if model b won, 0.5 for a tie.

    Example:
        >>> Battle("Hi", "big", "small", 0.5).outcome
        0.5
    """

    prompt: str
    model_a: str
    model_b: str
    outcome: float


def parse_battle(row: Mapping[str, Any]) -> Battle:
    """Parses one row of a table of battles.

    The columns determine the layout. turnout: ``prompt, model_a, model_b, winner``. LMSYS arena 55k: ``prompt`` is a JSON list of
    turns, and one of ``winner_model_a``, ``winner_model_b``, ``winner_tie`` is 1. Later arena tables: ``conversation_a`` has the
    messages, as a list or as JSON. The prompt of a conversation is its first user turn, as in RouteLLM.

    Args:
        row: Values by column.

    Returns:
        The battle.

    Raises:
        ValueError: The row is not a battle; the message has the reason.

    Example:
        >>> parse_battle({"prompt": "Hi", "model_a": "big", "model_b": "small", "winner": "BIG "})
        Battle(prompt='Hi', model_a='big', model_b='small', outcome=1.0)
    """
    is_arena = _ARENA[0] in row and _ARENA[1] in row
    prompt = _prompt(row, is_arena)
    a, b = _text(row, "model_a"), _text(row, "model_b")
    return Battle(prompt, a, b, _arena_outcome(row) if is_arena else _outcome(_text(row, "winner"), a, b))


def _prompt(row: Mapping[str, Any], is_arena: bool) -> str:
    name = next((name for name in _PROMPTS if row.get(name) is not None), "prompt")
    value = row.get(name)
    # A table without nested columns, such as a CSV file, holds conversations as JSON.
    if isinstance(value, str | bytes) and (is_arena or name != "prompt"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, list):
            raise ValueError(f"{name} is not a JSON list of turns")
    if isinstance(value, list):
        value = _first_turn(value, name)
    return _text({name: value}, name)


def _first_turn(turns: list[Any], name: str) -> str:
    """The first text of the user, of turns as texts or as messages."""
    for place, turn in enumerate(turns):
        if turn is None or isinstance(turn, str):
            words = turn
        elif is_user(turn) or field(turn, "role") is None:
            words = words_of(turn, place)
        else:
            continue
        if words:
            return words
        break
    raise ValueError(f"{name} has no first turn")


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if value is None or value == "":
        raise ValueError(f"{name} is missing")
    if not isinstance(value, str):
        raise ValueError(f"{name} is {type(value).__name__}, expected text")
    if not is_utf8(value):
        raise ValueError(f"{name} is not UTF-8")
    return value if name in _PROMPTS else value.strip()


def _outcome(winner: str, a: str, b: str) -> float:
    for spelling in (str, str.casefold):
        names = (spelling(a), spelling(b))
        if spelling(winner) in names and names[0] != names[1]:
            return 1.0 if spelling(winner) == names[0] else 0.0
    found = _WINNERS.get(_SEPARATORS.sub("", winner.casefold()))
    if found is None:
        raise ValueError(f"winner is {winner[:40]!r}, {_EXPECTED}")
    return found


_SEPARATORS = re.compile(r"[\s_()\[\]-]+")


def _arena_outcome(row: Mapping[str, Any]) -> float:
    flags = []
    for name in _ARENA:
        value = row.get(name)
        flag = number_of(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
        if flag is None:
            raise ValueError(f"{name} is {str(value)[:40]!r}, expected 0 or 1")
        flags.append(0.0 if math.isnan(flag) else flag)
    if set(flags) - {0.0, 1.0} or sum(flags) > 1 or (_ARENA[2] in row and sum(flags) != 1):
        raise ValueError(f"winner columns are {', '.join(f'{flag:g}' for flag in flags)}, expected a single 1")
    return 1.0 if flags[0] else 0.0 if flags[1] else 0.5


@dataclass(frozen=True)
class Battles:
    """Battles between models.

    Attributes:
        prompts: The prompts; the first user turn of a conversation, as in RouteLLM.
        model_a: Name of the first model of each battle.
        model_b: Name of the second model of each battle.
        outcome: float64 ``[battles]``: 1 if model a won, 0 if model b won, 0.5 for a tie.
        ids: Values of the table's column ``id``; ``None`` if it has none.
        rows: int64 ``[battles]``: numbers of the rows in the file, from 1.

    Example:
        >>> len(Battles(["Hi"], ["big"], ["small"], np.array([1.0])))
        1
    """

    prompts: list[str]
    model_a: list[str]
    model_b: list[str]
    outcome: NDArray[np.float64]
    ids: list[Any] | None = None
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.prompts)


def iter_battles(path: str | Path, *, bad: BadRows, chunk_rows: int | None = None) -> Iterator[Battles]:
    """Reads battles in chunks, in the layouts of :func:`parse_battle`.

    Args:
        path: A table.
        bad: Collects the invalid rows.
        chunk_rows: Largest number of rows in a chunk.

    Yields:
        The battles of a chunk.

    Raises:
        InvalidInputError: The table lacks columns of battles, or has more invalid rows than ``bad`` allows.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "battles.csv")
        ...     _ = path.write_text("prompt,model_a,model_b,winner\\nHi,big,small,tie\\n")
        ...     [battles.outcome.tolist() for battles in iter_battles(path, bad=BadRows())]
        [[0.5]]
    """
    is_first = True
    for chunk in read_chunks(path, columns=COLUMNS, chunk_rows=chunk_rows):
        if is_first and chunk.names:
            _check_columns(chunk, path)
            is_first = False
        yield _battles(chunk, bad)
    bad.check(str(path))


def _check_columns(chunk: Chunk, path: str | Path) -> None:
    names = set(chunk.names)
    needed = {"model_a", "model_b", *(() if set(_ARENA[:2]) <= names else ("winner",))}
    if not names & set(_PROMPTS):
        needed.add("prompt")
    if missing := sorted(needed - names):
        columns = listed(column_names(path))
        raise InvalidInputError(
            f"{path} is not a table of battles: it has no column {', '.join(map(repr, missing))}; its columns: {columns}"
        )


def read_battles(path: str | Path, *, bad: BadRows) -> Battles:
    """Reads all battles of a file.

    Args:
        path: A table.
        bad: Collects the invalid rows.

    Returns:
        The battles, without ``ids`` and ``rows``.

    Raises:
        InvalidInputError: As :func:`iter_battles`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "battles.csv")
        ...     _ = path.write_text("prompt,model_a,model_b,winner\\nHi,big,small,model_a\\n")
        ...     read_battles(path, bad=BadRows()).outcome.tolist()
        [1.0]
    """
    parts = list(iter_battles(path, bad=bad))
    return Battles(
        [prompt for part in parts for prompt in part.prompts],
        [model for part in parts for model in part.model_a],
        [model for part in parts for model in part.model_b],
        np.concatenate([part.outcome for part in parts]) if parts else np.empty(0),
    )


def outcomes_of_pair(
    battles: Battles, strong: str, weak: str, *, name: str, aliases: ModelAliases | None = None
) -> Outcomes:
    """Converts the battles of one pair, in either order, to outcomes: the winner scores 1, the loser 0, both 0.5 in a tie.

    Args:
        battles: Battles of any models.
        strong: Name of the strong model.
        weak: Name of the weak model.
        name: Name of the table.
        aliases: Rules that match names of models.

    Returns:
        Outcomes of the pair's battles; battles of other models are left out.

    Example:
        >>> battles = Battles(["Hi", "Why?"], ["big", "small"], ["small", "big"], np.array([1.0, 1.0]))
        >>> outcomes_of_pair(battles, "big", "small", name="mine").scores["big"].tolist()
        [1.0, 0.0]
    """
    aliases = aliases or ModelAliases()
    pair = (aliases.canonical(strong), aliases.canonical(weak))
    prompts, scores = [], []
    for prompt, a, b, outcome in zip(battles.prompts, battles.model_a, battles.model_b, battles.outcome, strict=True):
        names = (aliases.canonical(a), aliases.canonical(b))
        if names == pair or names == pair[::-1]:
            prompts.append(prompt)
            scores.append(float(outcome) if names == pair else 1.0 - float(outcome))
    won = np.array(scores)
    return Outcomes(name, prompts, {strong: won, weak: 1.0 - won})


def _battles(chunk: Chunk, bad: BadRows) -> Battles:
    found: dict[int, Battle] = {}
    problems = {}
    for index, row in enumerate(chunk.rows):
        if index not in chunk.problems:
            try:
                found[index] = parse_battle(row)
            except ValueError as error:
                problems[index] = str(error)
    chunk.add_problems(problems)
    keep = chunk.usable(bad)
    battles = [found[index] for index in keep]
    return Battles(
        [battle.prompt for battle in battles],
        [battle.model_a for battle in battles],
        [battle.model_b for battle in battles],
        np.array([battle.outcome for battle in battles], dtype=np.float64),
        [chunk.rows[index].get("id") for index in keep] if "id" in chunk.names else None,
        np.array([chunk.numbers[index] for index in keep], dtype=np.int64),
    )
