"""Joins prompts and grades into the published table, with its dev split.

    python recipes/graded/table.py real.jsonl written/*.jsonl --grades grades.tsv --out graded.parquet

A prompt keeps the mean of its first two passes when they differ by at most one grade. Where they differ by two or more, a third pass
settles: the grade is the median of the three, if the third lies within one of either; otherwise the prompt is dropped. Prompts of one
conversation (`group`) stay on one side of the split: 15 % of the groups are dev, chosen by a hash of the group. `sample.py` has left out
near-duplicates of real prompts.
"""

import argparse
import hashlib
import json
from collections import Counter
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq

DEV_SHARE = 0.15


def settled(first: int, second: int, third: int | None) -> float | None:
    """The grade of a prompt from its passes; `None` drops it.

    >>> settled(2, 3, None), settled(1, 4, 4), settled(1, 4, None), settled(1, 5, 3)
    (2.5, 4.0, None, None)
    """
    if abs(first - second) <= 1:
        return (first + second) / 2
    if third is None or min(abs(third - first), abs(third - second)) > 1:
        return None
    return float(median([first, second, third]))


def is_dev(group: str) -> bool:
    """Whether a group of prompts is in the dev split; stable when prompts are added."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") < DEV_SHARE * 2**32


def main() -> None:
    """Read the arguments, join, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="+", type=Path)
    parser.add_argument("--grades", type=Path, required=True, help="as agreement.py writes it")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    header, *lines = (line.split("\t") for line in args.grades.read_text().splitlines())
    grades = {line[0]: dict(zip(header[1:], line[1:], strict=True)) for line in lines}
    rows, left_out = [], Counter[str]()
    for path in args.prompts:
        for entry in map(json.loads, path.open(encoding="utf-8")):
            given = grades.get(entry["id"], {})
            if not (given.get("A") and given.get("B")):
                left_out["not graded twice"] += 1
                continue
            third = given.get("C")
            grade = settled(int(given["A"]), int(given["B"]), int(third) if third else None)
            if grade is None:
                left_out["passes differ by two grades or more"] += 1
                continue
            rows.append(
                {
                    "prompt_id": entry["id"],
                    "prompt": entry["prompt"],
                    "language": entry["lang"],
                    "kind": entry["kind"],
                    "source": entry.get("source", "written"),
                    "grade": grade,
                    "grade_a": int(given["A"]),
                    "grade_b": int(given["B"]),
                    "grade_c": int(third) if third else None,
                    "split": "dev" if is_dev(entry.get("group", entry["id"])) else "train",
                }
            )
    schema = pa.schema(
        [(name, pa.string()) for name in ("prompt_id", "prompt", "language", "kind", "source")]
        + [("grade", pa.float32()), *((f"grade_{one}", pa.int8()) for one in "abc"), ("split", pa.string())]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), args.out, compression="zstd", compression_level=19)
    print(f"{len(rows)} prompts, {sum(row['split'] == 'dev' for row in rows)} of them dev; left out: {dict(left_out)}")


if __name__ == "__main__":
    main()
