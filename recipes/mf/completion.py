"""The last step of a recipe: a written artifact is calibrated, scored and described, all of the weights as they are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout.artifact.card import DevScore
from turnout.artifact.finish import finish
from turnout.artifact.manifest import Manifest
from turnout.evaluate.dev import dev_results
from turnout.router import load

from .calibration import calibration_error, fit_map, held_out_chances
from .data import Data
from .scores import graded_scores, pair_scores


def complete(
    folder: Path,
    data: Data,
    card: Callable[[Manifest, Sequence[DevScore]], str],
    training: Mapping[str, Any],
) -> dict[str, Any]:
    """Calibrates an artifact, scores it and writes its card.

    Args:
        folder: An artifact whose win rate is the sigmoid of its logit.
        data: Tables with held-out prompts.
        card: Makes the card of the calibrated artifact and its scores on the dev tables.
        training: How it was trained, for the manifest.

    Returns:
        Scores on held-out prompts.
    """
    router = load(folder)

    def raw_rates(prompts: Sequence[str]) -> NDArray[np.float64]:
        return np.asarray(router.win_rates(prompts), dtype=np.float64)

    prompts, chance, is_outcome = held_out_chances(data)
    calibration = fit_map(raw_rates(prompts), chance, is_outcome)
    report: dict[str, Any] = {
        "graded": graded_scores(data.grades, raw_rates),
        "pairs": pair_scores(data, raw_rates),
        "calibration": calibration_error(data, raw_rates),
    }
    router.close()
    manifest = Manifest.read(folder)
    replace(
        manifest,
        calibration=calibration,
        provenance={**manifest.provenance, "training": {**training, **report}},
    ).write(folder)
    sources = [table.prompts for table in data.tables] + [data.battles.prompts, data.grades.prompts]
    pair = (manifest.strong, manifest.weak)
    finish(
        folder,
        [list(dict.fromkeys(source)) for source in sources],
        lambda router: dev_results(data.dev, router.win_rates, pair),
        card,
    )
    return report
