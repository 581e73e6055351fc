"""Opens an artifact with mutations of its graph natively and in ONNX Runtime, and counts what happens.

python tests/parity/mutate_graph.py ARTIFACT COUNT [SEED]
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

import turnout

PROMPTS = ["what is the sum of 7 and two", "write python code", "hello", "a", "the the the 12 !!"]


def main(artifact: str, count: int, seed: int = 0) -> None:
    """Prints how many mutations are refused, left to ONNX Runtime or run natively, and those that differ between the two."""
    generator = random.Random(seed)
    counts = {"refused": 0, "left": 0, "native": 0, "differ": []}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(artifact, Path(place) / "router"))
        manifest = json.loads((folder / "router.json").read_text())
        content = (folder / manifest["graph"]).read_bytes()
        for _ in range(count):
            changed = bytearray(content)
            at = generator.randrange(len(content))
            changed[at] = generator.choice([0, 1, 0x7F, 0x80, 0xFF, changed[at] ^ 1 << generator.randrange(8)])
            (folder / manifest["graph"]).write_bytes(changed)
            entry = {"bytes": len(changed), "sha256": hashlib.sha256(changed).hexdigest()}
            manifest["files"][manifest["graph"]] = entry
            (folder / "router.json").write_text(json.dumps(manifest))
            print(f"byte {at} = {changed[at]}", file=sys.stderr)
            try:
                native = turnout.load(folder, engine="native")
            except turnout.EngineError:
                counts["left"] += 1
                continue
            except turnout.ArtifactError:
                counts["refused"] += 1
                continue
            counts["native"] += 1
            ours, theirs = decided(native), decided(turnout.load(folder, engine="onnxruntime"))
            if isinstance(ours, str) or isinstance(theirs, str):
                # Weights that overflow do so in both.
                if not (isinstance(ours, str) and isinstance(theirs, str)):
                    counts["differ"].append((at, changed[at], str(ours)[:200], str(theirs)[:200]))
                continue
            difference = float(np.abs(ours - theirs).max())
            if not difference < 1e-4:
                counts["differ"].append((at, changed[at], difference))
    print(json.dumps(counts))


def decided(router: turnout.Router) -> np.ndarray | str:
    """Win rates, or the error in their place."""
    try:
        return router.win_rates(PROMPTS)
    except turnout.RouterError as error:
        return str(error)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *map(int, sys.argv[3:]))
