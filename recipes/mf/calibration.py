"""The win rate as a probability: a sigmoid of the logit, fitted on held-out outcomes of the pair and held-out grades.

A win counts 1, a loss 0, and half where both answers are right or both wrong. A grade is the chance that the small model's answer is
clearly worse (`recipes/grading.md`); where it is not, the answers are even.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from .data import PAIRS, Data, held_out, outcomes

Doubles = NDArray[np.float64]
Logits = Callable[[Sequence[str]], Doubles]

#: Middle of the range of chances that the rubric gives each grade.
CHANCES = (0.025, 0.125, 0.325, 0.6, 0.85)
_BINS = 10


def held_out_chances(data: Data) -> tuple[list[str], Doubles, NDArray[np.bool_]]:
    """Held-out prompts, the chance of a win, and whether it is an outcome; the other chances are grades."""
    prompts: list[str] = []
    chance: list[float] = []
    for pair in PAIRS.values():
        if pair.exact:
            for prompt, gain in zip(*outcomes(data.tables, pair), strict=True):
                if held_out(prompt):
                    prompts.append(prompt)
                    chance.append((1.0 + gain) / 2.0)
    number = len(prompts)
    grades = data.grades
    prompts += [prompt for prompt, dev in zip(grades.prompts, grades.dev, strict=True) if dev]
    worse = np.interp(grades.grade[grades.dev], np.arange(1, 6), CHANCES)
    chances = np.concatenate([chance, (1.0 + worse) / 2.0])
    return prompts, chances, np.arange(len(prompts)) < number


def fit_platt(logit: Doubles, chance: Doubles) -> tuple[float, float]:
    """Slope and intercept of least cross-entropy."""

    def loss(parameters: Doubles) -> float:
        z = np.exp(parameters[0]) * logit + parameters[1]
        return float(np.mean(np.logaddexp(0.0, z) - chance * z))

    slope, intercept = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    return float(np.exp(slope)), float(intercept)


def calibration_error(data: Data, logits: Logits, seed: int = 0) -> dict[str, dict[str, object]]:
    """Expected calibration error (arXiv 1706.04599, section 2) in ten bins of equal size, with a 95 % bootstrap interval.

    Each half of the prompts is judged with the sigmoid fitted on the other half.
    """
    prompts, chance, is_outcome = held_out_chances(data)
    logit = logits(prompts)
    generator = np.random.default_rng(seed)
    half = generator.random(len(prompts)) < 0.5
    rate = np.empty(len(prompts))
    for fitted in (half, ~half):
        slope, intercept = fit_platt(logit[fitted], chance[fitted])
        rate[~fitted] = 1.0 / (1.0 + np.exp(-(slope * logit[~fitted] + intercept)))
    result: dict[str, dict[str, object]] = {}
    for name, part in (("all", half | ~half), ("outcomes", is_outcome), ("grades", ~is_outcome)):
        ours, true = rate[part], chance[part]
        draws = [generator.integers(0, len(ours), len(ours)) for _ in range(1000)]
        spread = np.quantile([_error(ours[draw], true[draw]) for draw in draws], [0.025, 0.975])
        result[name] = {
            "prompts": len(ours),
            "error": round(_error(ours, true), 3),
            "interval": [round(float(bound), 3) for bound in spread],
        }
    return result


def _error(rate: Doubles, chance: Doubles) -> float:
    parts = np.array_split(np.argsort(rate, kind="stable"), _BINS)
    return float(sum(len(part) * abs(rate[part].mean() - chance[part].mean()) for part in parts) / len(rate))
