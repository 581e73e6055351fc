"""Scores on held-out prompts, for the report and the card."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from turnout.evaluate.curves import Ranking
from turnout.evaluate.metrics import apgr

from .data import PAIRS, Data, Grades, held_out, outcomes

#: Gives a number for every prompt, higher for harder ones.
Score = Callable[[Sequence[str]], NDArray[np.float64]]


def graded_scores(grades: Grades, score: Score) -> dict[str, dict[str, float]]:
    """Spearman correlation and share of pairs two grades apart in order, on held-out graded prompts."""
    from scipy.stats import spearmanr

    prompts = [prompt for prompt, dev in zip(grades.prompts, grades.dev, strict=True) if dev]
    grade, written = grades.grade[grades.dev], grades.written[grades.dev]
    english = np.array([language == "en" for language, dev in zip(grades.language, grades.dev, strict=True) if dev])
    found = score(prompts)
    result = {}
    parts = {"all": english | ~english, "real": ~written, "written": written}
    parts |= {"written, English": written & english, "written, other languages": written & ~english}
    for name, part in parts.items():
        ours, true = found[part], grade[part]
        apart = true[:, None] - true[None] >= 2
        result[name] = {
            "prompts": int(part.sum()),
            "spearman": round(float(spearmanr(ours, true)[0]), 3),
            "two apart": round(float((ours[:, None] > ours[None])[apart].mean()), 3),
            "length": round(
                float(spearmanr([len(p) for p, kept in zip(prompts, part, strict=True) if kept], true)[0]), 3
            ),
        }
    return result


def pair_scores(data: Data, score: Score) -> dict[str, dict[str, float]]:
    """APGR on held-out outcomes of each pair, next to prompt length."""
    result = {}
    for name, pair in PAIRS.items():
        prompts, gain = outcomes(data.tables, pair)
        kept = [row for row, prompt in enumerate(prompts) if held_out(prompt)]
        prompts, gain = [prompts[row] for row in kept], gain[kept]
        lengths = np.array([len(prompt) for prompt in prompts], dtype=float)
        result[name] = {
            "prompts": len(prompts),
            "apgr": round(apgr_of(score(prompts), gain), 3),
            "length": round(apgr_of(lengths, gain), 3),
        }
    return result


def apgr_of(score: NDArray[np.float64], gain: NDArray[np.float64]) -> float:
    """APGR of prompts sent to the strong model by score, the highest first; the score of the weak model cancels out."""
    curve = Ranking(score, gain, np.zeros(len(gain))).curve()
    return float(apgr(curve.shares, curve.quality, curve.weak, curve.strong))
