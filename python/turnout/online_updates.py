"""Adds battles to a loaded router of kind ``sw_ranking``, in memory and in its database."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turnout import _core
from turnout._core import ArtifactError, ConfigError, InvalidInputError, InvalidTypeError
from turnout.battle_store import Battle, BattleStore
from turnout.data.battle_outcomes import A_WINS, B_WINS, TIE, long_enough
from turnout.data.battles import COLUMNS, parse_battle
from turnout.data.chunks import read_chunks

if TYPE_CHECKING:
    from turnout.router import Router

#: Malformed rows that a message names.
_SHOWN = 5
_WHOLE = re.compile("-?[0-9]{1,20}")
#: Outcomes as the core takes them, by those of :class:`turnout.data.Battle`.
CODES = {1.0: A_WINS, 0.0: B_WINS, 0.5: TIE}


@dataclass(frozen=True)
class Added:
    """Numbers of rows of one call by result.

    Attributes:
        added: New battles, used from now on.
        duplicates: Battles with a known id; ignored.
        short: Battles whose prompt has fewer than 16 characters; ignored.
    """

    added: int
    duplicates: int
    short: int


@dataclass
class Columns:
    """Battles as the core takes them.

    Attributes:
        ids: 64-bit numbers.
        prompts: One a battle.
        models_a: Names.
        models_b: Names.
        outcomes: 0 where model a won, 1 where model b did, 2 for a tie.
        short: Rows left out because their prompt is short.
        rows: All rows of the table.
        indices: Rows that the battles come from, the first being 0.
    """

    ids: list[int] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    models_a: list[str] = field(default_factory=list)
    models_b: list[str] = field(default_factory=list)
    outcomes: list[int] = field(default_factory=list)
    short: int = 0
    rows: int = 0
    indices: list[int] = field(default_factory=list)


def add_battles(router: Router, table: Any, embeddings: NDArray[np.float32] | None = None) -> Added:
    """See :meth:`turnout.Router.add_battles`."""
    columns = checked(table, _store(router).models)
    if embeddings is not None and len(embeddings) != columns.rows:
        raise InvalidInputError(f"{len(embeddings)} embeddings for {columns.rows} battles, expected one for each")
    added = append(
        router,
        np.array(columns.ids, dtype=np.uint64),
        columns.prompts,
        columns.models_a,
        columns.models_b,
        np.array(columns.outcomes, dtype=np.uint8),
        None if embeddings is None else np.ascontiguousarray(embeddings[columns.indices], dtype=np.float32),
    )
    return Added(added, len(columns.ids) - added, columns.short)


def append(
    router: Router,
    ids: NDArray[np.uint64],
    prompts: Sequence[str],
    models_a: Sequence[str],
    models_b: Sequence[str],
    outcomes: NDArray[np.uint8],
    embeddings: NDArray[np.float32] | None,
) -> int:
    """Stores battles, then makes them count; see :meth:`turnout.Router.append_battles`."""
    store = _store(router)
    with store.writing() as writer:
        if not store.is_of(router.artifact_hash):
            raise ArtifactError.at(
                router.path,
                "the artifact was compacted or replaced since it was loaded: load it again, then add battles",
            )
        for battles in writer.others():
            _show(router, battles)
        new = router._new_battles((ids, prompts, models_a, models_b, outcomes, embeddings))
        rows = [
            Battle(
                int(ids[row]),
                int(outcomes[row]),
                models_a[row],
                models_b[row],
                prompts[row],
                b"" if embeddings is None else embeddings[row].tobytes(),
            )
            for row in np.flatnonzero(new).tolist()
        ]
        writer.insert(rows)
    _show(router, rows)
    store.confirm(writer.last)
    return len(rows)


def read_stored(router: Router) -> None:
    """Makes the battles count that were stored before a router was loaded.

    Raises:
        ArtifactError: See :meth:`turnout.battle_store.BattleStore.read`; or the artifact changed meanwhile.
    """
    if router.manifest["kind"] != "sw_ranking":
        return
    for battles in _store(router).read():
        _show(router, battles)
    if not _store(router).is_of(router.artifact_hash):
        raise ArtifactError.at(router.path, "was compacted or replaced while it was loaded: load it again")


def _store(router: Router) -> BattleStore:
    if router._battle_store is None:
        # What does not change while a router lives is read here, once: one battle a call is a usual rhythm.
        manifest = router.manifest
        if manifest["kind"] != "sw_ranking":
            raise ConfigError(
                f"battles belong to routers of kind sw_ranking, {router.path.name} is of kind {manifest['kind']}"
            )
        router._battle_store = BattleStore(router.path, router.embedding_dim, frozenset(manifest["models"]))
    return router._battle_store


def _show(router: Router, battles: Sequence[Battle]) -> None:
    """Makes stored battles count: those with embeddings and those without in calls of their own."""
    for given, group in groupby(battles, lambda battle: bool(battle.embedding)):
        ids, outcomes, models_a, models_b, prompts, embeddings = zip(*group, strict=True)
        numbers = np.frombuffer(b"".join(embeddings), dtype=np.float32)
        try:
            _core.Router.append_battles(
                router,
                np.array(ids, dtype=np.uint64),
                prompts,
                models_a,
                models_b,
                np.array(outcomes, dtype=np.uint8),
                embeddings=numbers.reshape(len(ids), -1) if given else None,
            )
        except InvalidInputError as error:
            raise ArtifactError.at(_store(router).path, f"{error}", "row") from error


def checked(table: Any, models: frozenset[str]) -> Columns:
    """The battles of a table, every row of which must be one.

    Args:
        table: As for :meth:`turnout.Router.add_battles`.
        models: Models that may fight.

    Raises:
        InvalidInputError: A row is malformed; the message has the numbers of such rows, the first being 1, and why.
        InvalidTypeError: ``table`` is not a table.
    """
    columns, made = Columns(), Occurrences()
    problems: list[tuple[int, str]] = []
    for position, (number, row) in enumerate(_rows(table, problems)):
        columns.rows = position + 1
        try:
            prompt, a, b, outcome = _battle(row, models)
        except ValueError as error:
            problems.append((number, str(error)))
            continue
        if not long_enough(prompt):
            columns.short += 1
            continue
        given = row.get("id")
        columns.ids.append(made.id(prompt, a, b, outcome) if is_missing(given) else battle_id(given))
        columns.prompts.append(prompt)
        columns.models_a.append(a)
        columns.models_b.append(b)
        columns.outcomes.append(outcome)
        columns.indices.append(position)
    if problems:
        problems.sort()
        told = "; ".join(f"row {number}: {reason}" for number, reason in problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InvalidInputError(f"no battles added; invalid rows: {told}{more}")
    return columns


def is_missing(given: Any) -> bool:
    """Whether a cell has no id: CSV readers return an empty text, data frames NaN."""
    return given is None or given in ("", b"") or (isinstance(given, float) and given != given)


def battle_id(given: Any) -> int:
    """An id as 64 bits: a whole number, or its digits, as it is (negative ones modulo 2^64), anything else by its hash.

    Example:
        >>> battle_id(7), battle_id("7"), battle_id(7.0), battle_id("seven") == battle_id("eight")
        (7, 7, 7, False)
    """
    if isinstance(given, bytes):
        given = given.decode("utf-8", "backslashreplace")
    if isinstance(given, str):
        given = str(given)
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, str) and _WHOLE.fullmatch(given):
        given = int(given)
    if isinstance(given, int | np.integer) and not isinstance(given, bool) and -(2**63) <= int(given) < 2**64:
        return int(given) % 2**64
    digest = hashlib.blake2b(repr(given).encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


class Occurrences:
    """Ids for battles whose table has none: a hash of prompt, models, outcome, and how often the same came before."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str, str, int]] = Counter()

    def id(self, prompt: str, a: str, b: str, outcome: int) -> int:
        """The id of the next battle like this one."""
        # By the hash: a table of a million battles should not keep a million keys of long prompts.
        key = (hashlib.blake2b(prompt.encode("utf-8"), digest_size=16).hexdigest(), a, b, outcome)
        number = self._seen[key]
        self._seen[key] += 1
        return battle_id((*key, number))


def _rows(table: Any, problems: list[tuple[int, str]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Numbered rows of a path, an Arrow table or an iterable of mappings."""
    if isinstance(table, str | Path):
        for chunk in read_chunks(table, columns=COLUMNS):
            problems += [(chunk.numbers[index], problem) for index, problem in chunk.problems.items()]
            rows = enumerate(zip(chunk.numbers, chunk.rows, strict=True))
            yield from (numbered for index, numbered in rows if index not in chunk.problems)
        return
    if hasattr(table, "to_batches") and hasattr(table, "column_names"):
        table = table.select([name for name in table.column_names if name in COLUMNS])
        table = (row for batch in table.to_batches() for row in batch.to_pylist())
    if isinstance(table, Mapping) or not isinstance(table, Iterable):
        raise InvalidTypeError(
            f"battles are {type(table).__name__}, expected a path, a list of dicts or an Arrow table"
        )
    for number, row in enumerate(table, start=1):
        if isinstance(row, Mapping):
            yield number, row
        else:
            problems.append((number, f"{type(row).__name__}, expected a dict"))


def _battle(row: Mapping[str, Any], models: frozenset[str]) -> tuple[str, str, str, int]:
    """Prompt, models and outcome of a row; ``ValueError`` with the reason if it is not a battle of these models."""
    battle = parse_battle(row)
    if battle.model_a == battle.model_b:
        raise ValueError(f"model_a and model_b are both {battle.model_a!r}")
    for side, name in (("model_a", battle.model_a), ("model_b", battle.model_b)):
        if name not in models:
            raise ValueError(
                f"{side} {name!r} is not among the router's {len(models)} models: build a new router to rate it"
            )
    return battle.prompt, battle.model_a, battle.model_b, CODES[battle.outcome]
