"""Stores thresholds and calibrations in an artifact, or thresholds in a separate file."""

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
from turnout.artifact.calibration import calibrate, logit
from turnout.artifact.manifest import Manifest
from turnout.calibrate.choice import Choice, Floats
from turnout.calibrate.share import quantile_table
from turnout.calibrate.win_rate import Calibration, invert
from turnout.router import Router


def raw_win_rates(
    artifact: Path | str, prompts: list[str] | None = None, *, embeddings: NDArray[np.float32] | None = None
) -> Floats:
    """Win rates of the artifact's trained pair before calibration, as :func:`fit_calibration` takes them.

    Args:
        artifact: An artifact folder.
        prompts: The prompts. Give these or ``embeddings``.
        embeddings: float32 ``[prompts, dim]``, for an artifact that takes embeddings from the caller.

    Returns:
        Win rates, float64 ``[prompts]``.

    Raises:
        RouterError: As :func:`turnout.load` and :meth:`turnout.Router.win_rates`.

    Example:
        >>> import turnout
        >>> raw_win_rates(turnout.load().path, ["Hi", "Prove it."]).shape
        (2,)
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
    """Stores a choice as the artifact's default threshold, and the win rates as its quantiles for ``strong_share``.

    The graph does not change. The artifact's hash does, because the manifest changes.

    Args:
        artifact: An artifact folder.
        choice: The choice.
        win_rates: Win rates of the prompts that the choice was made on, float ``[prompts]``.
        prompts_from: Source of the prompts, for the manifest's provenance.

    Raises:
        InvalidInputError: There are no win rates.

    Example:
        >>> import tempfile, turnout
        >>> from turnout.calibrate import threshold_for_share
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     copy = copy_artifact(turnout.load().path, Path(folder, "mine"))
        ...     rates = turnout.load(copy).win_rates(["Hi", "Prove it.", "What is 2 + 2?", "Why?"])
        ...     choice = threshold_for_share(rates, 0.5, precision=1)
        ...     store_threshold(copy, choice, rates)
        ...     turnout.load(copy).threshold == choice.threshold
        True
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
    """Replaces the artifact's calibration. Thresholds and quantiles are converted to the new scale, so no decision changes.

    Args:
        artifact: An artifact folder.
        calibration: The new calibration, fitted on raw win rates.
        fitted_on: Source of the outcomes, for the manifest's provenance.

    Example:
        >>> import tempfile, turnout
        >>> from turnout.calibrate import fit_calibration
        >>> raw = np.linspace(0.2, 0.8, 100)
        >>> calibration = fit_calibration(raw, np.random.default_rng(0).random(100) < raw, kind="platt")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     copy = copy_artifact(turnout.load().path, Path(folder, "mine"))
        ...     store_calibration(copy, calibration)
        ...     turnout.load(copy).manifest["calibration"]["kind"]
        'platt'
    """
    manifest = Manifest.read(artifact)

    def moved(values: ArrayLike) -> Floats:
        return calibrate(logit(invert(values, manifest.calibration)), calibration.manifest)

    default, quantiles = manifest.default_threshold, manifest.quantiles
    record = {"log_loss": calibration.log_loss, "prompts": calibration.prompts, "from": fitted_on}
    replace(
        manifest,
        # 0 and 1 mean always and never on every scale.
        default_threshold=default if default in (0.0, 1.0) else float(moved(default)),
        quantiles=[_float32(q) for q in np.maximum.accumulate(moved(quantiles))] if quantiles else [],
        calibration=calibration.manifest,
        provenance={**manifest.provenance, "calibration": record},
    ).write(artifact)


def write_thresholds(path: Path, choice: Choice, *, artifact_hash: str, prompts_from: str = "") -> None:
    """Adds a choice to a thresholds file (JSON) and replaces an earlier one for the same artifact and target.

    Args:
        path: The file; created if it is missing.
        choice: The choice.
        artifact_hash: Hash of the artifact that the choice is for.
        prompts_from: Source of the prompts.

    Raises:
        InvalidInputError: The file exists and is not a thresholds file.

    Example:
        >>> from turnout.calibrate import threshold_for_share
        >>> choice = threshold_for_share([0.1, 0.2, 0.3, 0.4], 0.5, precision=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "thresholds.json")
        ...     write_thresholds(path, choice, artifact_hash="abc")
        ...     [(entry["target"], entry["asked"]) for entry in read_thresholds(path)]
        [('strong_share', 0.5)]
    """
    entries = read_thresholds(path) if path.exists() else []
    key = (artifact_hash, choice.target, choice.asked)
    entries = [one for one in entries if (one["artifact_hash"], one["target"], one["asked"]) != key]
    entries.append({"artifact_hash": artifact_hash, "from": prompts_from, **choice.to_json()})
    path.write_text(json.dumps({"thresholds": entries}, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_thresholds(path: Path) -> list[dict[str, Any]]:
    """Reads a thresholds file.

    Args:
        path: A file that :func:`write_thresholds` wrote.

    Returns:
        Its entries; each has ``artifact_hash``, ``target``, ``asked`` and ``threshold``.

    Raises:
        InvalidInputError: The file has another structure.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "thresholds.json")
        ...     _ = path.write_text('{"thresholds": []}')
        ...     read_thresholds(path)
        []
    """
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    entries = document.get("thresholds") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise InvalidInputError(f"{path}: expected a JSON object with a list `thresholds`")
    needed = {"artifact_hash", "target", "asked", "threshold"}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not needed <= set(entry):
            raise InvalidInputError(f"{path}: entry {number}: expected the keys {', '.join(sorted(needed))}")
    return entries


def _float32(value: float) -> float:
    return float(np.clip(np.float32(value), 0.0, 1.0))
