"""Imports RouteLLM's similarity-weighted ranking: its battles and their stored embeddings, of any length."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.extras import require
from turnout.progress import ProgressCallback, silent

if TYPE_CHECKING:
    from turnout.data import BadRows
    from turnout.routers.sw_ranking.table import BattleTable
    from turnout.routers.sw_ranking.train import Options

#: Names under which a JSON object holds an embedding.
_FIELDS = ("embedding", "embeddings")


def import_sw_ranking(
    battles: Sequence[str | Path],
    embeddings: Sequence[str | Path],
    out: str | Path,
    options: Options,
    *,
    bad: BadRows | None = None,
    embedding_model: str = "text-embedding-3-small",
    report: ProgressCallback = silent,
) -> Path:
    """Writes an artifact that takes embeddings from the caller and gives RouteLLM's win rates, battles inside a tier left out.

    Args:
        battles: Tables in the layout of arena-55k, or turnout's own.
        embeddings: ``.npy`` or ``.json`` files, together one row for every battle that the length filter keeps, in the order of the
            battles; as RouteLLM's published data sets have them.
        out: Artifact folder to write.
        options: Pair, tiers, storage, index.
        bad: Takes rows that are no battles.
        embedding_model: Embedding model of the rows, for the record and for clients.
        report: Called with the progress.

    Returns:
        The artifact folder.

    Raises:
        InvalidInputError: The embeddings do not fit the battles.
        ConfigError: As :func:`turnout.routers.sw_ranking.train`.
    """
    require("eval", "pyarrow", purpose="reading battles")
    from turnout.data import BadRows
    from turnout.routers.sw_ranking.encoder import Encoder
    from turnout.routers.sw_ranking.table import read_battle_table
    from turnout.routers.sw_ranking.train import build

    table = read_battle_table(battles, bad=bad or BadRows(), progress=lambda done: report("battles", done, done))
    rows = np.concatenate([read_embeddings(Path(path)) for path in embeddings])
    kept = int(table.source.max()) + 1
    if len(rows) != kept:
        raise InvalidInputError(
            f"{len(rows):,} embeddings for {kept:,} battles whose first turn has 16 characters or more: expected one for each, in "
            "the order of the battles"
        )
    table, vectors = one_vector_a_prompt(table, rows)
    options = replace(
        options,
        provenance={
            **options.provenance,
            "imported_from": f"RouteLLM similarity-weighted ranking, {', '.join(Path(path).name for path in battles)}",
            "embedding_model": embedding_model,
        },
    )
    build(
        table,
        Encoder(dim=vectors.shape[1], taken_from=embedding_model),
        options,
        Path(out),
        vectors=vectors,
        report=report,
    )
    return Path(out)


def read_embeddings(path: Path) -> NDArray[np.float32]:
    """Embeddings of a file, float32 ``[rows, dim]``.

    Args:
        path: A ``.npy`` matrix, or JSON: a list of rows, each a list of numbers or an object with ``embedding``.

    Raises:
        InvalidInputError: It holds something else, or numbers that are not finite.
    """
    try:
        if path.suffix.lower() == ".npy":
            found: Any = np.load(path, allow_pickle=False)
        elif path.suffix.lower() == ".json":
            found = [_row(row) for row in json.loads(path.read_text(encoding="utf-8"))]
        else:
            raise InvalidInputError(f"{path}: suffix is {path.suffix!r}, expected .npy or .json")
        matrix = np.asarray(found, dtype=np.float32)
    except (ValueError, TypeError, KeyError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{path}: not a matrix of embeddings: {error}") from error
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise InvalidInputError(f"{path}: shape {matrix.shape}, expected finite numbers [rows, dim]")
    return matrix


def _row(row: Any) -> Any:
    if isinstance(row, dict):
        return next(row[name] for name in _FIELDS if name in row) if set(_FIELDS) & set(row) else row["embedding"]
    return row


def one_vector_a_prompt(table: BattleTable, rows: NDArray[np.float32]) -> tuple[BattleTable, NDArray[np.float32]]:
    """A table whose prompts differ in text or embedding, and their embeddings.

    An endpoint may answer the same prompt differently from day to day; such prompts stay apart, so that every battle keeps the
    embedding stored for it.
    """
    indices: dict[tuple[int, bytes], int] = {}
    prompt = np.array(
        [
            indices.setdefault((int(text), rows[source].tobytes()), len(indices))
            for text, source in zip(table.prompt, table.source, strict=True)
        ],
        dtype=np.int64,
    )
    texts = [table.prompts[text] for text, _ in indices]
    vectors = np.stack([np.frombuffer(row, dtype=np.float32) for _, row in indices])
    order = np.argsort(prompt, kind="stable")
    table = replace(
        table,
        prompts=texts,
        prompt=prompt[order],
        **{name: getattr(table, name)[order] for name in ("a", "b", "outcome", "ids", "source")},
    )
    return table, vectors
