"""Draws the real prompts of the graded set from tables of outcomes and battles.

    python recipes/graded/sample.py TABLES... --exclude HELD_OUT... --out real.jsonl

Every table of `SOURCES` must be among TABLES (Parquet, a `prompt` column). Near-duplicates of a row drawn before, and of any prompt of the
excluded tables, are left out. One JSON object a line: id, source, kind, lang, group, prompt (the table's text, unchanged). Conversations that
open with the same turn share a `group`, the id of the first of them: keep a group on one side of a split.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from language import language
from near_duplicates import NearDuplicates, normalized

LONG, LONGEST = 1500, 4000
SIMILARITY = 0.6
TURN = "### Assistant:"
"""Where the first answer of a conversation starts in the tables' prompts."""


@dataclass(frozen=True)
class Source:
    """How many prompts to draw from a table.

    Args:
        table: File name without suffix.
        kind: What its prompts are: chat, search, exam, code, math, puzzle.
        rows: Most prompts to draw.
        long_rows: Most prompts of more than `LONG` characters among them.
        column: Column that groups the rows; groups are drawn from evenly. Also the second half of the source's name where `named`.
        kinds: Kind by group where the groups differ.
        skip: Groups to leave out: their authors ask that the items are not spread or trained on, or their license forbids it.
        skip_text: Prompts to leave out, for the same reasons.
        lang: Language of the whole table, or None to guess it by prompt.
    """

    table: str
    kind: str
    rows: int
    long_rows: int = 0
    column: str | None = None
    named: bool = False
    kinds: tuple[tuple[str, str], ...] = ()
    skip: frozenset[str] = frozenset()
    skip_text: str = r"(?!)"
    lang: str | None = "en"


LLMROUTER_KINDS = tuple(
    (group, kind)
    for kind, groups in {
        "search": "natural_qa trivia_qa",
        "code": "mbpp human_eval",
        "math": "gsm8k math agentverse-mgsm",
        "puzzle": "commongen",
    }.items()
    for group in groups.split()
)

# PandaLM's test prompts are Self-Instruct's user tasks, whose authors ask not to train on them. GPQA asks that its items are not shown in plain
# text; the logic grids and CARGO's navigation and boolean items are BIG-bench's, which carry a canary; the rows that LLMRouter calls mmlu are
# of MMLU's auxiliary set, RACE among it (non-commercial).
SOURCES = (
    Source("battles", "chat", 1049, 75, "source", named=True, skip=frozenset({"pandalm_testset"}), lang=None),
    Source("ja_vicuna_battles", "chat", 80, lang=None),
    Source("chinese_alpaca_battles", "chat", 210, lang="zh"),
    Source(
        "cargo_battles",
        "chat",
        330,
        20,
        skip_text=r"(?s)If you follow these instructions, do you return|^[^a-z]*((not|and|or|True|False|is|[()])\s*)+$",
        lang=None,
    ),
    Source("infibench", "code", 234, 27, "category"),
    Source("halluqa_mc_zh", "exam", 450, lang="zh"),
    Source("fasteval_math", "math", 160),
    Source("fasteval_humaneval_plus", "code", 30),
    Source("evouna_openqa", "search", 450, 0, "category", named=True),
    Source("routerbench", "exam", 300, 0, "category", named=True, kinds=(("mbpp", "code"),)),
    Source(
        "llmrouter",
        "exam",
        400,
        6,
        "category",
        named=True,
        kinds=LLMROUTER_KINDS,
        skip=frozenset({"gpqa", "agentverse-logicgrid", "mmlu"}),
    ),
    Source("reasoning_gym", "puzzle", 110, 6, "category"),
    Source("korbench", "puzzle", 80, 12, "category"),
    Source("numersense_v2", "math", 60, 0, "category"),
    Source("eqbench_v2", "puzzle", 12, 8),
    Source("mmlu_gold", "exam", 60, 5, "category"),
    Source("mmlu_pro", "exam", 600, 6, "category"),
)


def candidates(source: Source, path: Path, seed: int) -> list[tuple[str, str]]:
    """Distinct (group, prompt) of a table in random order, groups in turn."""
    columns = ["prompt"] + ([source.column] if source.column else [])
    rows = pq.read_table(path, columns=columns).to_pylist()
    groups: dict[str, list[str]] = defaultdict(list)
    for prompt, group in {row["prompt"]: row.get(source.column or "", "") for row in rows}.items():
        if prompt.strip() and group not in source.skip and not re.search(source.skip_text, prompt):
            groups[group].append(prompt)
    order = random.Random(f"{seed} {source.table}")
    for group in sorted(groups):
        order.shuffle(groups[group])
    queue = [(turn, group, prompt) for group in sorted(groups) for turn, prompt in enumerate(groups[group])]
    return [(group, prompt) for _, group, prompt in sorted(queue, key=lambda row: row[:2])]


def draw(tables: dict[str, Path], excluded: list[Path], total: int, seed: int) -> list[dict[str, str]]:
    """Draw the prompts; `total` ends the draw within the last source."""
    seen = NearDuplicates(SIMILARITY, seed)
    for path in excluded:
        for prompt in pq.read_table(path, columns=["prompt"]).column("prompt").to_pylist():
            seen.add(prompt)
    drawn: list[dict[str, str]] = []
    groups: dict[str, str] = {}
    for source in SOURCES:
        taken = long = 0
        for group, prompt in candidates(source, tables[source.table], seed):
            if taken == source.rows or len(drawn) == total:
                break
            is_long = len(prompt) > LONG
            if len(prompt) > LONGEST or (is_long and long == source.long_rows) or not seen.add(prompt):
                continue
            taken, long = taken + 1, long + is_long
            number = f"r{len(drawn):04d}"
            opening = normalized(prompt.split(TURN)[0])
            drawn.append(
                {
                    "id": number,
                    "source": f"{source.table}/{group}" if source.named else source.table,
                    "kind": dict(source.kinds).get(group, source.kind),
                    "lang": source.lang or language(prompt),
                    "group": groups.setdefault(opening, number) if opening else number,
                    "prompt": prompt,
                }
            )
    return drawn


def main() -> None:
    """Read the arguments, draw, write, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--exclude", nargs="*", type=Path, default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--total", type=int, default=4400)
    parser.add_argument("--seed", type=int, default=14)
    args = parser.parse_args()
    tables = {path.stem: path for path in args.tables}
    if missing := [source.table for source in SOURCES if source.table not in tables]:
        sys.exit(f"tables not given: {', '.join(missing)}")
    drawn = draw(tables, args.exclude, args.total, args.seed)
    args.out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in drawn), encoding="utf-8")
    for field in ("source", "kind", "lang"):
        print(field, dict(Counter(row[field] for row in drawn).most_common()))
    print(
        f"{len(drawn)} prompts, {len({row['group'] for row in drawn})} groups, {sum(len(row['prompt']) > LONG for row in drawn)} of more than {LONG} characters"
    )


if __name__ == "__main__":
    main()
