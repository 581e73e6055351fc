"""Makes the sample files of this folder: ``python examples/data/make.py``. Prompts and scores are invented."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

FOLDER = Path(__file__).parent
STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"
#: Other models of the battles, and how good all of them are at prompts of difficulty 0 and 1.
SKILLS = {STRONG: (0.97, 0.80), WEAK: (0.94, 0.35), "claude-2.1": (0.95, 0.60), "llama-2-7b-chat": (0.85, 0.10)}

#: Kinds of prompts: how they begin, how hard they are, what they are filled with.
KINDS: dict[str, tuple[float, list[str], list[str]]] = {
    "chat": (
        0.05,
        [
            "Suggest a name for {}.",
            "Write a friendly message about {}.",
            "Tell me a fun fact about {}.",
            "What rhymes with {}?",
        ],
        [
            "a gray cat",
            "my bakery",
            "the first snow",
            "a long train ride",
            "our new office",
            "rubber ducks",
            "the moon",
        ],
    ),
    "facts": (
        0.25,
        [
            "What is {}?",
            "Explain {} to a child in two sentences.",
            "Who worked on {} first?",
            "Name three facts about {}.",
        ],
        ["photosynthesis", "the tide", "a prime number", "inflation", "the Roman calendar", "glass", "a supernova"],
    ),
    "code": (
        0.65,
        [
            "Write a Python function that {} and give its complexity.",
            "Find the bug in code that {} under concurrent access.",
            "Design a test plan for a service that {}.",
        ],
        [
            "sorts intervals",
            "merges two heaps",
            "parses ISO dates",
            "counts words in a stream",
            "caches HTTP answers",
            "retries calls",
        ],
    ),
    "proof": (
        0.95,
        ["Prove that {}, step by step.", "Find a counterexample or prove: {}.", "Show in full detail why {}."],
        [
            "the square root of 2 is irrational",
            "every finite field has prime power order",
            "a continuous bijection of compact spaces is a homeomorphism",
            "n^3 - n is divisible by 6",
            "the halting problem is undecidable",
        ],
    ),
}


def prompts() -> list[tuple[str, str, float]]:
    """Every prompt with its kind and difficulty."""
    return [
        (template.format(filling), kind, difficulty)
        for kind, (difficulty, templates, fillings) in KINDS.items()
        for template in templates
        for filling in fillings
    ]


def is_right(model: str, difficulty: float, draw: random.Random) -> bool:
    """Whether an answer of the model is right."""
    easy, hard = SKILLS[model]
    return draw.random() < easy + (hard - easy) * difficulty


def write_csv(name: str, header: list[str], rows: list[list[object]]) -> None:
    """Writes a table."""
    with (FOLDER / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> None:
    """Writes every file."""
    draw = random.Random(0)
    all_prompts = prompts()
    draw.shuffle(all_prompts)
    half = len(all_prompts) // 2

    (FOLDER / "prompts.txt").write_text("\n".join(prompt for prompt, _, _ in all_prompts) + "\n", encoding="utf-8")
    write_csv(
        "questions.csv", ["id", "question"], [[n, prompt] for n, (prompt, _, _) in enumerate(all_prompts[:20], 1)]
    )
    chats = [
        [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": prompt}]
        for prompt, _, _ in all_prompts[:20]
    ]
    (FOLDER / "chats.jsonl").write_text(
        "".join(json.dumps({"messages": chat}) + "\n" for chat in chats), encoding="utf-8"
    )

    def outcomes(part: list[tuple[str, str, float]]) -> list[list[object]]:
        return [
            [prompt, kind, int(is_right(STRONG, difficulty, draw)), int(is_right(WEAK, difficulty, draw))]
            for prompt, kind, difficulty in part
        ]

    header = ["prompt", "category", STRONG, WEAK]
    write_csv("outcomes.csv", header, outcomes(all_prompts))
    write_csv("dev.csv", header, outcomes(all_prompts[:half]))

    battles: list[list[object]] = []
    for prompt, _, difficulty in all_prompts * 3:
        a, b = draw.sample(list(SKILLS), 2)
        right = is_right(a, difficulty, draw), is_right(b, difficulty, draw)
        winner = "tie" if right[0] == right[1] else "model_a" if right[0] else "model_b"
        battles.append([prompt, a, b, winner])
    header = ["prompt", "model_a", "model_b", "winner"]
    write_csv("battles.csv", header, battles)
    feedback = [dict(zip(["id", *header], [n, *battle], strict=True)) for n, battle in enumerate(battles[:10])]
    (FOLDER / "feedback.jsonl").write_text("".join(json.dumps(row) + "\n" for row in feedback), encoding="utf-8")


if __name__ == "__main__":
    main()
