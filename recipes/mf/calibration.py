"""The win rate as a probability: a monotone map of the logit, fitted on held-out outcomes of the pair and held-out grades.

A win counts 1, a loss 0, and half where both answers are right or both wrong. A grade is the chance that the small model's answer is
clearly worse (`recipes/grading.md`); where it is not, the answers are even.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.artifact.calibration import calibrate
from turnout.artifact.calibration import logit as logit_of
from turnout.calibrate.win_rate import fit_isotonic
from turnout.evaluate.bootstrap import bootstrap, interval
from turnout.evaluate.reliability import ece
from turnout.training.pair import GRADE_CHANCES

from .data import PAIRS, Data, held_out, outcomes

Doubles = NDArray[np.float64]
RawRates = Callable[[Sequence[str]], Doubles]

_FOLDS, _RESAMPLES = 5, 1000


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
    worse = np.interp(grades.grade[grades.dev], np.arange(1, 6), GRADE_CHANCES)
    chances = np.concatenate([chance, (1.0 + worse) / 2.0])
    return prompts, chances, np.arange(len(prompts)) < number


def fit_map(raw: Doubles, chance: Doubles, is_outcome: NDArray[np.bool_]) -> dict[str, Any]:
    """The manifest's `calibration`: an isotonic map for which an outcome counts as much as three grades; there are about half as many.

    Args:
        raw: Win rates before any calibration, float64 ``[prompts]``.
        chance: What they should be.
        is_outcome: Whether the chance is an outcome.
    """
    rows = np.concatenate([np.arange(len(raw)), *[np.flatnonzero(is_outcome)] * 2])
    return fit_isotonic(raw[rows], chance[rows])


def calibration_error(data: Data, raw_rates: RawRates, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Expected calibration error in ten bins of equal size, with a 95 % bootstrap interval.

    Each fifth of the prompts is judged with the map fitted on the others.
    """
    prompts, chance, is_outcome = held_out_chances(data)
    raw = raw_rates(prompts)
    fold = np.random.default_rng(seed).permutation(np.arange(len(raw)) % _FOLDS)
    rate = np.empty(len(raw))
    for one in range(_FOLDS):
        out = fold == one
        rate[out] = calibrate(logit_of(raw[out]), fit_map(raw[~out], chance[~out], is_outcome[~out]))
    parts = {"all": is_outcome | ~is_outcome, "outcomes": is_outcome, "grades": ~is_outcome}
    return {
        name: _error(rate[part], chance[part], np.array(prompts, dtype=object)[part]) for name, part in parts.items()
    }


def _error(rate: Doubles, chance: Doubles, prompts: NDArray[np.object_]) -> dict[str, Any]:
    def error(counts: NDArray[np.int64]) -> dict[str, Doubles]:
        return {"error": ece(rate, chance, counts=counts)}

    drawn = bootstrap(error, prompts.tolist(), resamples=_RESAMPLES)
    found = interval(float(ece(rate, chance)), drawn["error"])
    return {
        "prompts": len(rate),
        "error": round(found.value, 3),
        "interval": [round(found.low, 3), round(found.high, 3)],
    }
