"""Fits profiles of all models in the tables and adds them to an `mf` artifact.

    python -m recipes.pool.train --data DATA --artifact python/turnout/artifacts/mf

DATA holds the folders `train`, `train2` and `dev` of tables that `recipes/mf/notes.md` names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turnout.pool.profiles import Doubles, Profile, Profiles, sigmoid
from turnout.profiles.fitting import Fitted, calibrated, calibrations, fit
from turnout.profiles.known import graph_hash
from turnout.profiles.regression import Gaussian
from turnout.router import load

from .report import scores_of_models, write_report
from .tables import Pooled, read_pooled
from .write import add_profiles


def main() -> None:
    """Reads the arguments, fits, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train, train2 and dev")
    parser.add_argument("--artifact", type=Path, required=True, help="the mf artifact to add profiles to")
    parser.add_argument("--report", type=Path, help="folder for the figures and the reliability diagrams")
    args = parser.parse_args()

    tables = read_pooled(args.data)
    router = load(args.artifact)
    embeddings = np.asarray(router.embed(tables.prompts), dtype=np.float32)
    router.close()
    fitted, final, chances = fit_profiles(tables, embeddings)
    found = scores_of_models(tables, list(final), chances)
    if args.report:
        write_report(found, args.report)
    profiles = [
        Profile(model, one.mean, one.covariance, len(rows.scores), tables.sources(model), found[model].facts())
        for (model, one), rows in zip(final.items(), tables.models().values(), strict=True)
    ]
    path = add_profiles(
        args.artifact, Profiles(fitted.basis, profiles, graph_hash(args.artifact), fitted.center), found
    )
    print(f"{len(profiles)} profiles: {path}, {path.stat().st_size:,} bytes")


def fit_profiles(tables: Pooled, embeddings: NDArray[np.float32]) -> tuple[Fitted, dict[str, Gaussian], Doubles]:
    """Fits every model on the prompts that are not held out and calibrates it on those that are.

    Args:
        tables: Outcomes.
        embeddings: Of their prompts, float32 ``[prompts, dim]``.

    Returns:
        The basis with the models as fitted, the models as calibrated, and chances of held-out prompts, float64 ``[models, prompts]``:
        those of one half by the calibration on the other half; NaN for all other prompts.
    """
    models = tables.models()
    fitted = fit(embeddings, {model: rows.kept(tables.is_fitted) for model, rows in models.items()})
    seen = fitted.features(embeddings)
    held = {model: rows.kept(tables.is_held) for model, rows in models.items()}
    logits = [seen[rows.place] @ fitted.posteriors[model].mean for model, rows in held.items()]
    scores = [rows.scores for rows in held.values()]
    platt = calibrations(logits, scores)
    final = {model: calibrated(one, *fold) for (model, one), fold in zip(fitted.posteriors.items(), platt, strict=True)}
    chances = np.full((len(models), len(tables.prompts)), np.nan)
    is_first = np.random.default_rng(0).random(len(tables.prompts)) < 0.5
    for half in (is_first, ~is_first):
        parts = [half[rows.place] for rows in held.values()]
        folds = calibrations(*([one[part] for one, part in zip(many, parts, strict=True)] for many in (logits, scores)))
        for row, (place, (slope, intercept)) in enumerate(
            zip((one.place for one in held.values()), folds, strict=True)
        ):
            other = ~half[place]
            chances[row, place[other]] = sigmoid(slope * logits[row][other] + intercept)
    return fitted, final, chances


if __name__ == "__main__":
    main()
