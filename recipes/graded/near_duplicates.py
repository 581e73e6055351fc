"""Finds prompts that say nearly the same: MinHash over character 5-grams, then the exact Jaccard similarity."""

import re
from collections import defaultdict
from zlib import crc32

import numpy as np

SHINGLE = 5
BANDS, ROWS = 24, 4
"""A pair of similarity .6 is a candidate with probability .96, one of .2 with probability .04."""

PRIME = (1 << 31) - 1


def normalized(text: str) -> str:
    """Letters and digits only, in lower case, single spaces."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


class NearDuplicates:
    """Remembers texts; `add` says whether a text is new.

    >>> seen = NearDuplicates(similarity=0.6)
    >>> seen.add("Write a poem about the sea."), seen.add("write a poem about the SEA"), seen.add("Write a poem about rain.")
    (True, False, True)
    """

    def __init__(self, similarity: float, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.similarity = similarity
        self.factors = random.integers(1, PRIME, BANDS * ROWS, dtype=np.int64)[:, None]
        self.offsets = random.integers(0, PRIME, BANDS * ROWS, dtype=np.int64)[:, None]
        self.shingles: list[frozenset[int]] = []
        self.buckets: dict[tuple[int, bytes], list[int]] = defaultdict(list)

    def add(self, text: str) -> bool:
        """Remember `text` unless one of the remembered texts is at least `similarity` alike."""
        plain = normalized(text) or text.strip()
        shingles = frozenset(
            crc32(plain[start : start + SHINGLE].encode()) % PRIME for start in range(max(1, len(plain) - SHINGLE + 1))
        )
        hashes = (self.factors * np.fromiter(shingles, np.int64) + self.offsets) % PRIME
        bands = hashes.min(axis=1).reshape(BANDS, ROWS)
        keys = [(band, bands[band].tobytes()) for band in range(BANDS)]
        candidates = {index for key in keys for index in self.buckets.get(key, ())}
        for index in candidates:
            other = self.shingles[index]
            if len(shingles & other) >= self.similarity * len(shingles | other):
                return False
        for key in keys:
            self.buckets[key].append(len(self.shingles))
        self.shingles.append(shingles)
        return True
