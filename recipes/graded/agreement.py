"""Checks the grades of the sheets and says how far the passes agree.

    python recipes/graded/agreement.py real.jsonl written/*.jsonl --keys keys.tsv --results results --out grades.tsv --disputed disputed.txt

Results are files `A_01.tsv` with lines `id<TAB>grade`. Every id of a sheet must be there once, with a grade from 1 to 5; whatever is not so is
listed, and nothing is written. Sheets without a result are named and left out. `grades.tsv` has one line a prompt with a column a pass;
`disputed.txt` lists the prompts whose first two passes differ by two or more, for `sheets.py --only`.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

from sklearn.metrics import cohen_kappa_score

GRADES = range(1, 6)


def read_sheet(path: Path, expected: set[str]) -> tuple[dict[str, int], list[str]]:
    """Grades of one result file, and what is wrong with it."""
    grades: dict[str, int] = {}
    faults = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        fields = line.strip().split("\t")
        where = f"{path.name}:{number}"
        if len(fields) != 2 or fields[1] not in {str(grade) for grade in GRADES}:
            faults.append(f"{where}: expected an id, a tab and a grade of 1..5, got {line!r}")
        elif fields[0] not in expected:
            faults.append(f"{where}: id {fields[0]} is not on this sheet")
        elif fields[0] in grades:
            faults.append(f"{where}: id {fields[0]} was graded before")
        else:
            grades[fields[0]] = int(fields[1])
    if left := sorted(expected - set(grades)):
        faults.append(f"{path.name}: {len(left)} ids without a grade: {' '.join(left[:20])}")
    return grades, faults


def row(name: str, pairs: list[tuple[int, int]]) -> str:
    """One Markdown line of agreement: count, exact, within one, quadratic weighted kappa, mean of each pass."""
    first, second = zip(*pairs, strict=True)
    exact = sum(a == b for a, b in pairs) / len(pairs)
    near = sum(abs(a - b) <= 1 for a, b in pairs) / len(pairs)
    varied = len({*first, *second}) > 1
    kappa = f"{cohen_kappa_score(first, second, weights='quadratic', labels=list(GRADES)):.3f}" if varied else "-"
    means = f"{sum(first) / len(pairs):.2f} | {sum(second) / len(pairs):.2f}"
    return f"| {name} | {len(pairs)} | {exact:.3f} | {near:.3f} | {kappa} | {means} |"


def main() -> None:
    """Read the arguments, check, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="+", type=Path)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--passes", nargs=2, default=["A", "B"], help="the two passes to compare")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--disputed", type=Path)
    args = parser.parse_args()

    items = {}
    for path in args.prompts:
        for entry in map(json.loads, path.open(encoding="utf-8")):
            items[entry["id"]] = entry
    sheets: dict[str, dict[str, str]] = defaultdict(dict)
    for line in args.keys.read_text().splitlines():
        number, sheet, item = line.split("\t")
        sheets[sheet][number] = item

    faults = [f"{path.name}: no such sheet" for path in sorted(args.results.glob("*.tsv")) if path.stem not in sheets]
    missing = []
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for sheet, numbers in sorted(sheets.items()):
        path = args.results / f"{sheet}.tsv"
        if not path.exists():
            missing.append(sheet)
            continue
        found, wrong = read_sheet(path, set(numbers))
        faults += wrong
        for number, grade in found.items():
            grades[numbers[number]][sheet.split("_")[0]] = grade
    if faults:
        sys.exit("\n".join(faults))
    if missing:
        print(f"not graded yet: {' '.join(missing)}\n")

    passes = sorted({name for given in grades.values() for name in given})
    for name in passes:
        counts = Counter(given[name] for given in grades.values() if name in given)
        print(f"pass {name}: " + ", ".join(f"{grade}: {counts[grade]}" for grade in GRADES))
    first, second = args.passes
    both = {item: (given[first], given[second]) for item, given in grades.items() if {first, second} <= set(given)}
    if both:
        print(
            f"\n| prompts | n | exact | within one | kappa (quadratic) | mean {first} | mean {second} |\n|---|---|---|---|---|---|---|"
        )
        print(row("all", list(both.values())))
        for field in ("lang", "source", "kind"):
            parts: dict[str, list[tuple[int, int]]] = defaultdict(list)
            for item, pair in both.items():
                parts[items[item].get(field, "written")].append(pair)
            for name, pairs in sorted(parts.items(), key=lambda part: -len(part[1])):
                print(row(f"{field}: {name}", pairs))
    if args.out:
        lines = ["\t".join(["id", *passes])]
        lines += [
            "\t".join([item, *(str(given.get(name, "")) for name in passes)]) for item, given in sorted(grades.items())
        ]
        args.out.write_text("\n".join(lines) + "\n")
    if args.disputed:
        apart = sorted(item for item, (a, b) in both.items() if abs(a - b) >= 2)
        args.disputed.write_text("".join(f"{item}\n" for item in apart))
        print(f"\n{len(apart)} of {len(both)} prompts differ by two grades or more")


if __name__ == "__main__":
    main()
