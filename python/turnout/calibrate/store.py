"""Keeps thresholds and calibrations: in an artifact, or thresholds in a file of their own."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from turnout._core import InvalidInputError
from turnout.artifact.calibration import calibrate
from turnout.artifact.manifest import Manifest
from turnout.calibrate.choice import Choice, Floats
from turnout.calibrate.share import quantile_table
from turnout.calibrate.win_rate import Calibration, invert, logit
from turnout.router import Router


def raw_win_rates(
    artifact: Path | str, prompts: list[str] | None = None, *, embeddings: NDArray[np.float32] | None = None
) -> Floats:
    """Win rates of the artifact's own pair before calibration, which is what :func:`fit_calibration` takes.

    Args:
        artifact: An artifact folder.
        prompts: The prompts; or
        embeddings: float32 ``[prompts, dim]`` for an artifact that takes embeddings.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_artifact(Path(artifact), Path(folder) / "raw")
        replace(Manifest.read(copy), calibration={"kind": "identity"}).write(copy)
        router = Router(copy)
        rates = router.win_rates(prompts) if embeddings is None else router.win_rates(embeddings=embeddings)
    return rates.astype(np.float64)


def copy_artifact(artifact: Path, folder: Path) -> Path:
    """Copies the manifest and the files that it lists, and nothing else of the folder, to a new folder."""
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInputError(f"{folder} exists and is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    names = ["router.json", *Manifest.read(artifact).files]
    for name in [*names, *(one.name for one in artifact.glob("*.md"))]:
        shutil.copyfile(artifact / name, folder / name)
    return folder


def store_threshold(artifact: Path, choice: Choice, win_rates: ArrayLike, *, prompts_from: str = "") -> None:
    """Makes a choice the artifact's default threshold, and the win rates its quantiles for ``strong_share``.

    The graph stays; the artifact's hash changes with its manifest.

    Args:
        artifact: An artifact folder.
        choice: The choice.
        win_rates: Win rates of the prompts it was made on.
        prompts_from: Where these came from, for the record.
    """
    manifest = Manifest.read(artifact)
    record = {**choice.to_json(), "from": prompts_from}
    replace(
        manifest,
        default_threshold=choice.threshold,
        quantiles=[_float32(q) for q in quantile_table(win_rates)],
        provenance={**manifest.provenance, "threshold": record},
    ).write(artifact)


def store_calibration(artifact: Path, calibration: Calibration, *, fitted_on: str = "") -> None:
    """Replaces the artifact's calibration; thresholds and quantiles are carried over, so every decision stays as it was.

    Args:
        artifact: An artifact folder.
        calibration: The new one, fitted on raw win rates.
        fitted_on: Where the outcomes came from, for the record.
    """
    manifest = Manifest.read(artifact)

    def moved(values: ArrayLike) -> Floats:
        return calibrate(logit(invert(values, manifest.calibration)), calibration.manifest)

    default, quantiles = manifest.default_threshold, manifest.quantiles
    record = {"log_loss": calibration.log_loss, "prompts": calibration.prompts, "from": fitted_on}
    replace(
        manifest,
        # The ends mean always and never, on any scale.
        default_threshold=default if default in (0.0, 1.0) else float(moved(default)),
        quantiles=[_float32(q) for q in np.maximum.accumulate(moved(quantiles))] if quantiles else [],
        calibration=calibration.manifest,
        provenance={**manifest.provenance, "calibration": record},
    ).write(artifact)


def write_thresholds(path: Path, choice: Choice, *, artifact_hash: str, prompts_from: str = "") -> None:
    """Adds a choice to a thresholds file (JSON), in place of one for the same artifact and target.

    Args:
        path: The file; made if it is missing.
        choice: The choice.
        artifact_hash: Of the artifact it holds for.
        prompts_from: Where the prompts came from.
    """
    entries = read_thresholds(path) if path.exists() else []
    key = (artifact_hash, choice.target, choice.asked)
    entries = [one for one in entries if (one["artifact_hash"], one["target"], one["asked"]) != key]
    entries.append({"artifact_hash": artifact_hash, "from": prompts_from, **choice.to_json()})
    path.write_text(json.dumps({"thresholds": entries}, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_thresholds(path: Path) -> list[dict[str, Any]]:
    """Entries of a thresholds file; each has ``artifact_hash``, ``target``, ``asked`` and ``threshold``."""
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    entries = document.get("thresholds") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise InvalidInputError(f"{path}: expected a JSON object with a list `thresholds`")
    needed = {"artifact_hash", "target", "asked", "threshold"}
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not needed <= set(entry):
            raise InvalidInputError(f"{path}: entry {place} lacks one of {', '.join(sorted(needed))}")
    return entries


def _float32(value: float) -> float:
    return float(np.clip(np.float32(value), 0.0, 1.0))
