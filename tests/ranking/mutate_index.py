"""Loads an artifact with mutations of an index file and counts what happens; a signal ends the process.

python tests/ranking/mutate_index.py ARTIFACT INDEX COUNT [SEED]
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

import numpy as np

import turnout


def main(artifact: str, index: str, count: int, seed: int = 0) -> None:
    """Half of the mutations hit the first 200 bytes, where most sizes lie."""
    generator = random.Random(seed)
    content = Path(index).read_bytes()
    dim = turnout.load(artifact, index="exact").embedding_dim
    queries = np.random.default_rng(seed).normal(size=(8, dim)).astype(np.float32)
    right = turnout.load(artifact, index=index).win_rates(embeddings=queries)
    counts = {"refused": 0, "answered": 0, "largest difference": 0.0}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "index.faiss"
        for _ in range(count):
            changed = bytearray(content)
            at = generator.randrange(min(200, len(content)) if generator.random() < 0.5 else len(content))
            changed[at] = generator.choice([0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ 1 << generator.randrange(8)])
            path.write_bytes(changed)
            print(f"byte {at} = {changed[at]}", file=sys.stderr)
            try:
                found = turnout.load(artifact, index=path).win_rates(embeddings=queries)
            except turnout.RouterError:
                counts["refused"] += 1
                continue
            counts["answered"] += 1
            counts["largest difference"] = max(counts["largest difference"], float(np.abs(found - right).max()))
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *map(int, sys.argv[4:]))
