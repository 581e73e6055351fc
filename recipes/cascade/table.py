"""Makes the table of a log from answers: a column a strong model, and the one that both tables have under one name."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Names of one model in the two tables.
SAME = {"claude-3-5-sonnet-20240620": "claude-3.5-sonnet"}
KEPT = (
    "table",
    "task",
    "prompt",
    "answer",
    "correct",
    "logprobs",
    "first_top_logprobs",
    "samples",
    "self_check",
    "milliseconds",
)


def main() -> None:
    """Reads the arguments, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("answers", type=Path, help="the .jsonl of recipes.cascade.answers")
    parser.add_argument("table", type=Path, help="a .parquet")
    args = parser.parse_args()
    rows = [_flat(json.loads(line)) for line in args.answers.read_text("utf-8").splitlines()]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    pq.write_table(pa.table(columns), args.table, compression="zstd")
    print(f"{len(rows)} rows, {sum(row['correct'] for row in rows) / len(rows):.1%} right")


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    scores = {SAME.get(name, name): score for name, score in row["scores"].items()}
    return {**{name: row[name] for name in KEPT if name in row}, "correct": float(row["correct"]), **scores}


if __name__ == "__main__":
    main()
