"""Battles a second, one battle a call, beside plain ``sqlite3`` with the same settings in the same folder.

python benches/battles.py [FOLDER] [--battles 400]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import turnout
from turnout.shipped import artifact_folder

TURNS = 5


def rates(folder: Path, battles: int) -> dict[str, int]:
    """Calls a second, the best of a few turns each."""
    router = turnout.load(shutil.copytree(artifact_folder("sw_ranking"), folder / "router"))
    a, b = router.models[:2]
    plain = sqlite3.connect(folder / "plain.sqlite", isolation_level=None)
    plain.execute("PRAGMA journal_mode=WAL")
    plain.execute("PRAGMA synchronous=FULL")
    plain.execute(
        "CREATE TABLE battle (number INTEGER PRIMARY KEY, prompt TEXT NOT NULL, model_a TEXT NOT NULL, model_b TEXT NOT NULL)"
    )
    numbers = count()

    def prompt() -> str:
        return f"what is the sum of {next(numbers)} and one, and why is it so?"

    def ours() -> None:
        assert router.add_battles([{"prompt": prompt(), "model_a": a, "model_b": b, "winner": "tie"}]).added == 1

    def theirs() -> None:
        plain.execute("INSERT INTO battle (prompt, model_a, model_b) VALUES (?, ?, ?)", (prompt(), a, b))

    found: dict[str, float] = {}
    calls: dict[str, Callable[[], None]] = {"turnout": ours, "plain sqlite3": theirs}
    for _ in range(TURNS):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(battles):
                call()
            found[name] = max(found.get(name, 0.0), battles / (time.perf_counter() - began))
    plain.close()
    return {name: round(rate) for name, rate in found.items()}


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="on the disk to measure; default: a temporary folder")
    parser.add_argument("--battles", type=int, default=400, help="calls a turn")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        print(json.dumps({"calls a second": rates(Path(folder), args.battles)}))


if __name__ == "__main__":
    main()
