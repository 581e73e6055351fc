"""What every router must beat: random routing, the length of the prompt, and each model alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from turnout.data.outcomes import Outcomes
from turnout.evaluate.metrics import Floats

#: Name of the length baseline in reports.
LENGTH = "prompt length"
#: Name of random routing in reports.
RANDOM = "random"


def length_win_rates(prompts: Sequence[str]) -> Floats:
    """A router that uses only the number of characters: longer prompts go to the strong model.

    Only the order is meaningful; values are in ``[0, 1)``.
    """
    lengths = np.array([len(prompt) for prompt in prompts], dtype=np.float64)
    result: Floats = lengths / (lengths + 1000.0)
    return result


def model_scores(table: Outcomes) -> dict[str, float]:
    """Mean score of each model of a table alone, best first; over the prompts for which it has one."""
    means = {model: float(np.nanmean(scores)) for model, scores in table.scores.items() if not np.isnan(scores).all()}
    return dict(sorted(means.items(), key=lambda item: -item[1]))
