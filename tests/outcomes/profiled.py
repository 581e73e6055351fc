"""Profiles that give each model one chance of success whatever the prompt is, and an artifact that has some."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np

from turnout.artifact.writer import file_entry
from turnout.pool.profiles import Profile, Profiles

TINY = Path(__file__).parents[2] / "models" / "tiny"


def profiles_of(artifact: Path, **chances: float) -> bytes:
    """A file of profiles for an artifact, with the chance of each model."""
    manifest = json.loads((artifact / "router.json").read_text(encoding="utf-8"))
    known = [
        Profile(name, np.array([0.0, math.log(chance / (1 - chance))]), 0.01 * np.eye(2))
        for name, chance in chances.items()
    ]
    basis = np.eye(manifest["encoder"]["dim"])[:, :1]
    return Profiles(basis, known, manifest["files"]["model.onnx"]["sha256"]).to_bytes()


def profiled_artifact(folder: Path) -> Path:
    """The tiny artifact with profiles, without which nothing is retrained."""
    shutil.copytree(TINY, folder)
    path = folder / "router.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    content = profiles_of(folder, known=0.5)
    (folder / "profiles.safetensors").write_bytes(content)
    manifest["files"]["profiles.safetensors"] = file_entry(content)
    manifest["profiles"] = "profiles.safetensors"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder
