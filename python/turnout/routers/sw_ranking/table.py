"""Battles as a router keeps them: every distinct prompt once, models and outcomes as small numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.data import BadRows, iter_battles
from turnout.data.battle_outcomes import MIN_CHARACTERS, long_enough
from turnout.online_updates import CODES, Occurrences, battle_id, is_missing

#: Places of models are stored in 16 bits, and a manifest names at most this many.
MAX_MODELS = 4096


@dataclass(frozen=True)
class BattleTable:
    """Battles, sorted by prompt.

    Attributes:
        prompts: Distinct prompts, in the order in which they first came.
        models: Names.
        prompt: Prompt of every battle, int64 ``[battles]``, never falling.
        a: One model of every battle, int64.
        b: The other.
        outcome: 0 where ``a`` won, 1 where ``b`` did, 2 for a tie; uint8.
        ids: uint64; no id twice.
        left_out: Battles that were read but not kept, by reason.
        source: Place of every battle among those of the files whose prompt is long enough, int64: RouteLLM keeps embeddings in
            that order. Empty where the battles come from elsewhere.
    """

    prompts: list[str]
    models: list[str]
    prompt: NDArray[np.int64]
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    outcome: NDArray[np.uint8]
    ids: NDArray[np.uint64]
    left_out: Mapping[str, int] = field(default_factory=dict)
    source: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.prompt)

    def with_models(self, names: Sequence[str]) -> BattleTable:
        """The same battles with the models in another order.

        Args:
            names: The same names.
        """
        index = {name: number for number, name in enumerate(names)}
        moved = np.array([index[name] for name in self.models], dtype=np.int64)
        return replace(self, models=list(names), a=moved[self.a], b=moved[self.b])

    def only(self, keep: NDArray[np.bool_], reason: str) -> BattleTable:
        """Some of the battles; prompts and models without a battle go.

        Args:
            keep: Which, bool ``[battles]``.
            reason: Why the others go.
        """
        prompts, prompt = np.unique(self.prompt[keep], return_inverse=True)
        models, sides = np.unique(np.concatenate([self.a[keep], self.b[keep]]), return_inverse=True)
        a, b = np.split(sides, 2)
        return BattleTable(
            [self.prompts[index] for index in prompts],
            [self.models[index] for index in models],
            prompt.astype(np.int64),
            a.astype(np.int64),
            b.astype(np.int64),
            self.outcome[keep],
            self.ids[keep],
            {**self.left_out, reason: int((~keep).sum())},
            self.source[keep] if len(self.source) else self.source,
        )


def read_battle_table(
    paths: Sequence[str | Path],
    *,
    bad: BadRows,
    aliases: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> BattleTable:
    """Reads battles from files, in chunks; of the responses nothing is read, of the prompts each is kept once.

    Prompts of fewer than 16 characters are left out, as in RouteLLM; so are battles whose id came before.

    Args:
        paths: Tables as :func:`turnout.data.iter_battles` knows them.
        bad: Takes rows that are no battles.
        aliases: Other names for models, name to name.
        progress: Called with the number of battles read so far.

    Raises:
        InvalidInputError: No battle is left, or there are more models than a router can name.
    """
    aliases = aliases or {}
    prompts: dict[str, int] = {}
    models: dict[str, int] = {}
    columns: list[list[int]] = [[], [], [], [], [], []]
    known: set[int] = set()
    made = Occurrences()
    left_out: Counter[str] = Counter()
    done, long = 0, 0
    for path in paths:
        for part in iter_battles(path, bad=bad):
            for index, prompt in enumerate(part.prompts):
                a, b = (aliases.get(name, name) for name in (part.model_a[index], part.model_b[index]))
                if not long_enough(prompt):
                    left_out[f"prompts of fewer than {MIN_CHARACTERS} characters"] += 1
                    continue
                long += 1
                row = -1 if part.rows is None else int(part.rows[index])
                if a == b:
                    bad.add(str(path), row, f"model_a and model_b are both {a!r}")
                    continue
                outcome = CODES[float(part.outcome[index])]
                given = None if part.ids is None else part.ids[index]
                number = made.id(prompt, a, b, outcome) if is_missing(given) else battle_id(given)
                if number in known:
                    left_out["ids that came before"] += 1
                    continue
                known.add(number)
                numbers = (
                    prompts.setdefault(prompt, len(prompts)),
                    *(models.setdefault(m, len(models)) for m in (a, b)),
                )
                for column, value in zip(columns, (*numbers, outcome, number, long - 1), strict=True):
                    column.append(value)
            done += len(part)
            if progress is not None:
                progress(done)
    if not known:
        raise InvalidInputError(f"{', '.join(map(str, paths))}: no valid battle; {bad}")
    if len(models) > MAX_MODELS:
        raise InvalidInputError(f"{len(models)} models have battles, expected at most {MAX_MODELS}")
    order = np.argsort(np.array(columns[0]), kind="stable")
    prompt_index, a_side, b_side = (np.array(column, dtype=np.int64)[order] for column in columns[:3])
    return BattleTable(
        list(prompts),
        list(models),
        prompt_index,
        a_side,
        b_side,
        np.array(columns[3], dtype=np.uint8)[order],
        np.array(columns[4], dtype=np.uint64)[order],
        dict(left_out),
        np.array(columns[5], dtype=np.int64)[order],
    )
