"""Near-duplicates between training and evaluation prompts: shared word n-grams, and embeddings through FAISS.

Evaluation prompts are held, training prompts stream by, so training data may be of any size.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
#: Length of the lexical embedding. Two unrelated prompts have a cosine of about 1/sqrt(length) from colliding hashes.
_DIM = 1024
#: Characters of a piece of a word for the lexical embedding.
_PIECE = 4

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Match:
    """An evaluation prompt with its nearest training prompt.

    Attributes:
        eval_prompt: The evaluation prompt.
        train_prompt: The training prompt.
        overlap: Part of the evaluation prompt's word n-grams that the best training prompt has.
        similarity: Highest cosine of embeddings; 0 where it was not looked for or below the bound.
    """

    eval_prompt: str
    train_prompt: str
    overlap: float
    similarity: float


def word_ngrams(prompt: str, words: int) -> set[int]:
    """Hashes of the n-grams of a prompt's words, in lower case and without punctuation; of all its words if it has fewer.

    Example:
        >>> word_ngrams("What is  2+2?", 8) == word_ngrams("what IS 2 2", 8)
        True
    """
    found = _WORD.findall(prompt.lower())
    if not found:
        return set()
    count = max(1, len(found) - words + 1)
    return {hash(tuple(found[start : start + words])) for start in range(count)}


def lexical_embeddings(prompts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors of hashed character pieces, words and pairs of words: close where the wording is, in any language.

    Needs no model. Any other embedding can take its place in :func:`find_contamination`.
    """
    matrix = np.zeros((len(prompts), _DIM), dtype=np.float32)
    for row, prompt in enumerate(prompts):
        words = _WORD.findall(prompt.lower())
        text = " " + " ".join(words) + " "
        pieces = [text[start : start + _PIECE] for start in range(max(1, len(text) - _PIECE + 1))]
        pairs = map(" ".join, pairwise(words))
        # Not `hash`, which differs from process to process.
        counts = Counter(crc32(piece.encode("utf-8", "replace")) for piece in chain(pieces, words, pairs))
        keys = np.fromiter(counts, dtype=np.int64, count=len(counts))
        signs = np.where((keys >> 20) & 1, 1.0, -1.0)
        # Roots of counts: a word repeated a hundred times should not be all that counts.
        weights = np.sqrt(np.fromiter(counts.values(), dtype=np.float64, count=len(counts)))
        np.add.at(matrix[row], keys % _DIM, (signs * weights).astype(np.float32))
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    result: NDArray[np.float32] = matrix / np.maximum(norms, 1e-12)
    return result


def find_contamination(
    training: Iterable[Sequence[str]],
    evaluated: Sequence[str],
    *,
    words: int = 8,
    overlap: float = 0.6,
    similarity: float | None = 0.9,
    embed: Embed = lexical_embeddings,
) -> list[Match]:
    """Evaluation prompts with a near-duplicate among training prompts.

    Args:
        training: Training prompts in chunks; seen once, not kept.
        evaluated: Evaluation prompts.
        words: Words of an n-gram.
        overlap: Part of an evaluation prompt's n-grams in one training prompt that makes it a duplicate.
        similarity: Cosine of embeddings that makes it one; ``None`` does without FAISS.
        embed: From prompts to embeddings, one a row, of any length.

    Returns:
        One match for each distinct evaluation prompt that has a duplicate, the closest first.
    """
    prompts = list(dict.fromkeys(evaluated))
    grams = [word_ngrams(prompt, words) for prompt in prompts]
    holders: dict[int, list[int]] = defaultdict(list)
    for row, own in enumerate(grams):
        for gram in own:
            holders[gram].append(row)
    index = None if similarity is None else _index(embed(prompts))
    shared = np.zeros(len(prompts))
    cosine = np.zeros(len(prompts))
    nearest = [""] * len(prompts)
    best = np.zeros(len(prompts))
    for chunk in training:
        batch = list(dict.fromkeys(chunk))
        for prompt in batch:
            hits = Counter(row for gram in word_ngrams(prompt, words) for row in holders.get(gram, ()))
            for row, count in hits.items():
                part = count / len(grams[row])
                shared[row] = max(shared[row], part)
                if part > best[row]:
                    best[row], nearest[row] = part, prompt
        if index is not None and similarity is not None and batch:
            for position, row, value in _close(index, embed(batch), similarity):
                cosine[row] = max(cosine[row], value)
                if value > best[row]:
                    best[row], nearest[row] = value, batch[position]
    bound = np.inf if similarity is None else similarity
    rows = [row for row in range(len(prompts)) if shared[row] >= overlap or cosine[row] >= bound]
    rows.sort(key=lambda row: -best[row])
    return [Match(prompts[row], nearest[row], float(shared[row]), float(cosine[row])) for row in rows]


def write_contaminated(path: Path, matches: Sequence[Match]) -> None:
    """Writes ``contaminated_prompts.jsonl`` in RouteLLM's format: one object with ``eval_prompt`` a line."""
    lines = [json.dumps({"eval_prompt": match.eval_prompt}) + "\n" for match in matches]
    path.write_text("".join(lines), encoding="utf-8")


def _index(embeddings: NDArray[np.float32]) -> object:
    import faiss

    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(_unit(embeddings))
    return index


def _close(index: object, embeddings: NDArray[np.float32], bound: float) -> list[tuple[int, int, float]]:
    """Pairs of a row of ``embeddings`` and a row of the index with a cosine of at least ``bound``."""
    limits, values, rows = index.range_search(_unit(embeddings), bound)  # type: ignore[attr-defined]
    indices = np.repeat(np.arange(len(embeddings)), np.diff(limits.astype(np.int64)))
    return [(int(position), int(row), float(value)) for position, row, value in zip(indices, rows, values, strict=True)]


def _unit(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    matrix = np.ascontiguousarray(embeddings, dtype=np.float32)
    result: NDArray[np.float32] = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    return result
