"""The last step of every training: thresholds from the written router, scores, and the card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from turnout.artifact.card import DevScore
from turnout.artifact.manifest import Manifest
from turnout.artifact.quantiles import weighted_quantiles
from turnout.durable_files import replace_file
from turnout.router import Router, load

Score = TypeVar("Score", bound=DevScore)


def finish(
    folder: Path,
    calibration: Sequence[Sequence[str] | NDArray[np.float64]],
    judge: Callable[[Router], Sequence[Score]],
    card: Callable[[Manifest, Sequence[Score]], str],
) -> Sequence[Score]:
    """Completes a written artifact: the quantiles of its win rates, the default threshold (their median), and the card.

    The written router gives the quantiles and the scores, so they belong to the weights as they are stored.

    Args:
        folder: The artifact, inside :func:`turnout.artifact.staged.staged`.
        calibration: Prompts by source, or their win rates where the router that is written has learned from the prompts; every
            source has the same weight.
        judge: Scores of the loaded router on dev tables.
        card: Markdown of the card from the manifest and the scores.

    Returns:
        The scores of ``judge``.
    """
    router = load(folder)
    rates = [one if isinstance(one, np.ndarray) else router.win_rates(one) for one in calibration]
    quantiles = weighted_quantiles(rates)
    scores = judge(router)
    router.close()
    manifest = Manifest.read(folder)
    manifest = replace(manifest, quantiles=quantiles, default_threshold=quantiles[len(quantiles) // 2])
    manifest.write(folder)
    replace_file(folder / "README.md", card(manifest, scores).encode())
    return scores
