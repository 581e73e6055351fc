"""How often decisions change when prompts do and their meaning does not, and what an attacker can do."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from turnout._core import InvalidInputError, choose_strong
from turnout.data import BadRows
from turnout.data.chunks import column_names, no_column, read_chunks
from turnout.data.texts import texts
from turnout.evaluate.attack import Place, find_attack, vocabulary
from turnout.evaluate.metrics import Floats
from turnout.evaluate.perturb import CHANGES, paraphrase
from turnout.terminal import grid

if TYPE_CHECKING:
    from rich.console import Console

#: Prompts at most, for changes and for the damage of an attack.
MAX_PROMPTS = 2000
_SLOW_VOCABULARY = 300


@dataclass(frozen=True)
class Flips:
    """What one change does to decisions.

    Attributes:
        change: Its name.
        prompts: Prompts that it changed.
        flips: Share of these whose decision changed.
        low: Lower end of the 95 % interval (Wilson).
        high: Upper end.
        to_strong: Share that went from the weak to the strong model.
        to_weak: Share that went the other way.
        win_rate_change: Mean absolute change of the win rate.
    """

    change: str
    prompts: int
    flips: float
    low: float
    high: float
    to_strong: float
    to_weak: float
    win_rate_change: float


@dataclass(frozen=True)
class Damage:
    """What one attack does to prompts that its search did not see.

    Attributes:
        place: Before or after the prompt.
        text: The text.
        prompts: Prompts it was measured on.
        share_before: Share of strong calls without it.
        share_after: Share of strong calls with it.
        quality_before: Mean score of routed answers; ``None`` without outcomes.
        quality_after: With the attack, supposing that answers do not change.
        candidates: Size of the vocabulary searched.
    """

    place: Place
    text: str
    prompts: int
    share_before: float
    share_after: float
    quality_before: float | None
    quality_after: float | None
    candidates: int


@dataclass(frozen=True)
class Robustness:
    """Robustness of one router.

    Attributes:
        threshold: Applied.
        changes: What meaning-preserving changes do.
        attacks: What the best texts found do.
    """

    threshold: float
    changes: list[Flips]
    attacks: list[Damage]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def measure(
    router: Any,
    prompts: Sequence[str],
    threshold: float,
    *,
    outcomes: tuple[Floats, Floats] | None = None,
    paraphrases: Mapping[str, str] | None = None,
    attack_words: int = 3,
    seed: int = 0,
) -> Robustness:
    """Measures robustness.

    Args:
        router: A router.
        prompts: The prompts.
        threshold: Threshold on the win rate.
        outcomes: Scores of the strong and the weak model on the prompts, for the quality under attack.
        paraphrases: The user's paraphrases, prompt to prompt.
        attack_words: Words in an attack at most; 0 leaves attacks out.
        seed: Of everything random.
    """
    if not prompts:
        raise InvalidInputError("no prompts to measure robustness on")
    order = np.random.default_rng(seed).permutation(len(prompts))[: 2 * MAX_PROMPTS]
    chosen = [prompts[row] for row in order[:MAX_PROMPTS]]
    before = np.asarray(router.win_rates(chosen), dtype=np.float64)
    changes = dict(CHANGES)
    if paraphrases:
        changes["your paraphrases"] = paraphrase(paraphrases)
    flips = []
    for name, change in changes.items():
        generator = random.Random(seed)
        changed = [change(prompt, generator) for prompt in chosen]
        keep = np.array([new != old for new, old in zip(changed, chosen, strict=True)])
        if keep.any():
            after = np.asarray(
                router.win_rates([new for new, kept in zip(changed, keep, strict=True) if kept]), dtype=np.float64
            )
            flips.append(_flips(name, before[keep], after, threshold))
    half = len(order) // 2
    attacks = []
    if attack_words and half:
        searched, held_out = order[:half], order[half:]
        fast = getattr(router, "is_microseconds", False)
        words = vocabulary(router, prompts, None if fast else _SLOW_VOCABULARY)
        search = [prompts[row] for row in searched]
        places: tuple[Place, ...] = ("prefix", "suffix")
        for place in places:
            attack = find_attack(router, search, threshold, place, words=words, length=attack_words, seed=seed)
            held = [prompts[row] for row in held_out]
            clean = choose_strong(router.win_rates(held), threshold)
            hit = choose_strong(router.win_rates([attack.applied(prompt) for prompt in held]), threshold)
            quality: tuple[float | None, float | None] = (None, None)
            if outcomes is not None:
                strong, weak = outcomes[0][held_out], outcomes[1][held_out]
                quality = (float(np.where(clean, strong, weak).mean()), float(np.where(hit, strong, weak).mean()))
            attacks.append(
                Damage(
                    place, attack.text, len(held), float(clean.mean()), float(hit.mean()), *quality, attack.candidates
                )
            )
    return Robustness(float(threshold), flips, attacks)


def read_paraphrases(path: Path) -> dict[str, str]:
    """Paraphrases from a table with columns ``prompt`` and ``paraphrase``."""
    bad = BadRows()
    table: dict[str, str] = {}
    for chunk in read_chunks(path, columns=["prompt", "paraphrase"]):
        for name in ("prompt", "paraphrase"):
            if name not in chunk.names:
                raise no_column(chunk.file, name, column_names(path))
        prompts, problems = texts(chunk.column("prompt"), "prompt")
        chunk.add_problems(problems)
        paraphrases, problems = texts(chunk.column("paraphrase"), "paraphrase")
        chunk.add_problems(problems)
        table.update((prompts[index], paraphrases[index]) for index in chunk.usable(bad))
    if bad:
        raise InvalidInputError(str(bad.shown[0]))
    return table


def show(name: str, robustness: Robustness, console: Console) -> None:
    """Prints robustness on a terminal."""
    heading = f"robustness of {name} at {robustness.threshold:.4g}"
    table = grid(heading, "flipped", "95 %", "to strong", "to weak", "|change|")
    for one in robustness.changes:
        table.add_row(
            one.change,
            f"{one.flips:.1%}",
            f"{one.low:.1%} to {one.high:.1%}",
            f"{one.to_strong:.1%}",
            f"{one.to_weak:.1%}",
            f"{one.win_rate_change:.3f}",
        )
    console.print(table)
    for damage in robustness.attacks:
        quality = ""
        if damage.quality_before is not None and damage.quality_after is not None:
            quality = f", quality {damage.quality_before:.3f} to {damage.quality_after:.3f}"
        console.print(
            f"attack by {damage.place} {damage.text!r}: "
            f"strong share {damage.share_before:.1%} to {damage.share_after:.1%}{quality} "
            f"({damage.prompts} prompts not searched, vocabulary {damage.candidates:,})",
            highlight=False,
            markup=False,
        )


def _flips(name: str, before: Floats, after: Floats, threshold: float) -> Flips:
    was, now = choose_strong(before, threshold), choose_strong(after, threshold)
    count, flips = len(was), float((was != now).mean())
    z = 1.96
    center = (flips + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(flips * (1 - flips) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return Flips(
        name,
        count,
        flips,
        max(0.0, float(center - half)),
        min(1.0, float(center + half)),
        float((~was & now).mean()),
        float((was & ~now).mean()),
        float(np.abs(after - before).mean()),
    )
