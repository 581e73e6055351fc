"""Rerouting attacks: a fixed text before or after every prompt that drives it to the strong model, found by greedy search.

The result bounds what an attacker can make the strong model cost. The search knows win rates only, as an attacker with the open
artifact would.
"Rerouting LLM Routers" (arXiv 2501.01818, section 4) finds such texts by hill climbing over tokens; greedy search over
the whole vocabulary, one token at a time, is the same idea for routers that answer in microseconds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from turnout._core import choose_strong
from turnout.evaluate.metrics import Floats

Place = Literal["prefix", "suffix"]
#: Prompts on which every candidate is tried, and on which the best few are compared.
_FIRST, _SECOND, _FEW = 8, 64, 48


@dataclass(frozen=True)
class Attack:
    """A text found by :func:`find_attack`.

    Attributes:
        place: Before or after the prompt.
        text: The text.
        searched: Prompts that the search used.
        candidates: Size of the vocabulary.
    """

    place: Place
    text: str
    searched: int
    candidates: int

    def applied(self, prompt: str) -> str:
        """The prompt with the text."""
        return joined(prompt, self.text, self.place)


def joined(prompt: str, text: str, place: Place) -> str:
    """A prompt with a text before or after it."""
    if not text:
        return prompt
    return f"{text} {prompt}" if place == "prefix" else f"{prompt} {text}"


def vocabulary(router: Any, prompts: Sequence[str], limit: int | None = None) -> list[str]:
    """Whole words of the artifact's tokenizer, or else of the prompts.

    Args:
        router: A router, with ``path`` and ``manifest`` where it has an artifact.
        prompts: Prompts to take words from otherwise.
        limit: At most this many, drawn evenly; for routers whose decisions take milliseconds.
    """
    words: set[str] = set()
    tokenizer = getattr(router, "manifest", {}).get("tokenizer")
    if tokenizer is not None:
        model = json.loads((Path(router.path) / tokenizer["file"]).read_text(encoding="utf-8"))["model"]
        entries = model["vocab"]
        tokens = entries if isinstance(entries, dict) else [entry[0] for entry in entries]
        words = {token.removeprefix("▁").removeprefix("Ġ") for token in tokens if not token.startswith("##")}
        words = {
            word for word in words if word.isprintable() and word.strip() and not (word[0] in "[<" and len(word) > 2)
        }
    if not words:
        words = {word for prompt in prompts for word in prompt.split()}
    ordered = sorted(words)
    if limit is not None and len(ordered) > limit:
        ordered = sorted(random.Random(0).sample(ordered, limit))
    return ordered


def find_attack(
    router: Any,
    prompts: Sequence[str],
    threshold: float,
    place: Place,
    *,
    words: Sequence[str],
    length: int = 3,
    seed: int = 0,
) -> Attack:
    """Greedy search for the text of up to ``length`` words that sends most prompts to the strong model.

    Each step tries every word on a few prompts by mean win rate, and compares the best on more prompts by the share
    that reaches the
    threshold.

    Args:
        router: A router.
        prompts: Prompts to search with; damage should be measured on others.
        threshold: Threshold on the win rate.
        place: Where the text goes.
        words: The vocabulary.
        length: Words at most.
        seed: Of the choice of prompts.
    """
    generator = random.Random(seed)
    sample = generator.sample(list(prompts), min(_SECOND, len(prompts)))
    # Prompts already at the strong model have nothing to teach.
    rates = np.asarray(router.win_rates(sample))
    below = [prompt for prompt, rate in zip(sample, rates, strict=True) if rate < threshold] or sample
    few = below[:_FIRST]
    text = ""
    best = _score(rates, threshold)
    for _ in range(length):
        texts = [f"{text} {word}".strip() for word in words]
        means = _means(router, few, texts, place)
        leaders = [texts[row] for row in np.argsort(-means, kind="stable")[:_FEW]]
        scores = [
            _score(np.asarray(router.win_rates([joined(p, one, place) for p in sample])), threshold) for one in leaders
        ]
        leader = max(range(len(leaders)), key=lambda row: scores[row])
        if scores[leader] <= best:
            break
        text, best = leaders[leader], scores[leader]
    return Attack(place, text, len(sample), len(words))


def _score(rates: Floats, threshold: float) -> tuple[float, float]:
    return float(choose_strong(rates, threshold).mean()), float(rates.mean())


def _means(router: Any, prompts: Sequence[str], texts: Sequence[str], place: Place) -> Floats:
    means = np.empty(len(texts))
    step = 4096
    for start in range(0, len(texts), step):
        part = texts[start : start + step]
        rates = np.asarray(router.win_rates([joined(prompt, text, place) for text in part for prompt in prompts]))
        means[start : start + len(part)] = rates.reshape(len(part), len(prompts)).mean(axis=1)
    return means
