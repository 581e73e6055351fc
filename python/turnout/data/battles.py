"""Battles: one prompt, two models, and whose answer was preferred."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout import InvalidInputError
from turnout.data import values
from turnout.data.aliases import ModelAliases
from turnout.data.bad_rows import BadRows
from turnout.data.chunks import CHUNK_ROWS, Chunk, read_chunks
from turnout.data.outcomes import Outcomes

_ARENA = ("winner_model_a", "winner_model_b", "winner_tie")
_WINNERS = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5}


@dataclass(frozen=True)
class Battles:
    """Battles between models.

    Attributes:
        prompts: The prompts; of a conversation the first turn, as in RouteLLM.
        model_a: One model a battle.
        model_b: The other.
        outcome: 1 where model a won, 0 where model b did, 0.5 for a tie.
        ids: What the table's column ``id`` holds; ``None`` where it has no such column.
        rows: Numbers of the rows in the file, the first being 1.
    """

    prompts: list[str]
    model_a: list[str]
    model_b: list[str]
    outcome: NDArray[np.float64]
    ids: list[Any] | None = None
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.prompts)


def iter_battles(path: str | Path, *, bad: BadRows, chunk_rows: int = CHUNK_ROWS) -> Iterator[Battles]:
    """Reads battles in chunks. Responses and other columns are not read.

    Two layouts are known by their columns. Ours: ``prompt, model_a, model_b, winner`` with ``winner`` one of ``model_a``,
    ``model_b``, ``tie``. LMSYS arena 55k: ``prompt`` is a JSON list of turns, and ``winner_model_a``, ``winner_model_b``,
    ``winner_tie`` hold a single 1.

    Args:
        path: A Parquet, CSV or JSON-lines file.
        bad: Takes the rows left out.
        chunk_rows: At most this many rows a chunk.

    Yields:
        Battles of some rows.

    Raises:
        InvalidInputError: The columns are of neither layout.
    """
    columns = ["id", "prompt", "model_a", "model_b", "winner", *_ARENA]
    for chunk in read_chunks(path, columns=columns, bad=bad, chunk_rows=chunk_rows):
        arena = set(_ARENA[:2]) <= set(chunk.columns)
        needed = {"prompt", "model_a", "model_b", *(_ARENA[:2] if arena else ("winner",))}
        if not needed <= set(chunk.columns):
            missing = ", ".join(sorted(needed - set(chunk.columns)))
            raise InvalidInputError(f"{path}: no battles, columns missing: {missing}")
        yield _battles(chunk, arena, bad)


def read_battles(path: str | Path, *, bad: BadRows) -> Battles:
    """Reads all battles of a file; arguments as for :func:`iter_battles`."""
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
    """Battles of one pair, in either order, as a table of outcomes: the winner scores 1, the loser 0, a tie 0.5 each.

    Args:
        battles: Battles of any models.
        strong: The strong model.
        weak: The weak model.
        name: Name of the table.
        aliases: How names are matched.
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


def _battles(chunk: Chunk, arena: bool, bad: BadRows) -> Battles:
    prompts, problems = values.texts(chunk.columns["prompt"], "prompt")
    sides = []
    for side in ("model_a", "model_b"):
        names, wrong = values.texts(chunk.columns[side], side)
        problems = {**wrong, **problems}
        sides.append(names)
    if arena:
        outcome, wrong = _arena_outcome(chunk)
        prompts, unread = _first_turns(prompts, problems)
        wrong = {**wrong, **unread}
    else:
        outcome, wrong = _winner_outcome(chunk)
    problems = {**wrong, **problems}
    for place in sorted(problems):
        bad.add(chunk.file, int(chunk.rows[place]), problems[place])
    keep = [place for place in range(len(prompts)) if place not in problems]
    return Battles(
        [prompts[place] for place in keep],
        [sides[0][place] for place in keep],
        [sides[1][place] for place in keep],
        outcome[keep],
        _ids(chunk, keep),
        chunk.rows[keep],
    )


def _ids(chunk: Chunk, keep: Sequence[int]) -> list[Any] | None:
    if "id" not in chunk.columns:
        return None
    column = chunk.columns["id"]
    ids = column if isinstance(column, list) else column.to_pylist()
    return [ids[place] for place in keep]


def _winner_outcome(chunk: Chunk) -> tuple[NDArray[np.float64], values.Problems]:
    winners, problems = values.texts(chunk.columns["winner"], "winner")
    for place, winner in enumerate(winners):
        if winner not in _WINNERS and place not in problems:
            problems[place] = f"winner is {winner!r}, expected one of {', '.join(map(repr, _WINNERS))}"
    return np.array([_WINNERS.get(winner, np.nan) for winner in winners]), problems


def _arena_outcome(chunk: Chunk) -> tuple[NDArray[np.float64], values.Problems]:
    problems: values.Problems = {}
    flags = []
    for name in _ARENA:
        if name in chunk.columns:
            numbers, wrong = values.scores(chunk.columns[name], name)
            problems = {**wrong, **problems}
            flags.append(np.nan_to_num(numbers))
    total = np.sum(flags, axis=0)
    single = (total == 1) if len(flags) == 3 else (total <= 1)
    for place in np.flatnonzero(~single):
        given = ", ".join(f"{flag[place]:g}" for flag in flags)
        problems.setdefault(int(place), f"winner columns are {given}, expected a single 1")
    return np.where(flags[0] == 1, 1.0, np.where(flags[1] == 1, 0.0, 0.5)), problems


def _first_turns(prompts: Sequence[str], known: values.Problems) -> tuple[list[str], values.Problems]:
    problems: values.Problems = {}
    firsts = []
    for place, prompt in enumerate(prompts):
        first = ""
        if place not in known:
            try:
                turns = json.loads(prompt)
            except ValueError:
                problems[place] = "prompt is no JSON list of turns"
            else:
                if isinstance(turns, list) and turns and isinstance(turns[0], str) and turns[0]:
                    first = turns[0]
                else:
                    problems[place] = "prompt has no first turn"
        firsts.append(first)
    return firsts, problems
