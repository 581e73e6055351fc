"""Adds profiles to an artifact: the file, its entry in the manifest, and a section of the card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from turnout.artifact.manifest import Manifest
from turnout.artifact.writer import file_entry
from turnout.durable_files import replace_file
from turnout.pool.profiles import Profiles

from .report import ModelScores, summary

PROFILES = "profiles.safetensors"
_BEGIN, _END = "<!-- profiles -->", "<!-- end of profiles -->"


def add_profiles(artifact: Path, profiles: Profiles, found: Mapping[str, ModelScores]) -> Path:
    """Writes the profiles, lists them in the manifest and describes them in the card.

    Returns:
        The file of profiles.
    """
    content = profiles.to_bytes()
    replace_file(artifact / PROFILES, content)
    manifest = Manifest.read(artifact)
    replace(
        manifest,
        files={**manifest.files, PROFILES: file_entry(content)},
        sections={**manifest.sections, "profiles": PROFILES},
    ).write(artifact)
    card = artifact / "README.md"
    text = re.sub(f"\n*{_BEGIN}.*{_END}\n*", "\n", card.read_text(encoding="utf-8"), flags=re.DOTALL)
    section = f"\n{_BEGIN}\n\n{_section(profiles, found)}\n\n{_END}\n"
    replace_file(card, (text.rstrip("\n") + "\n" + section).encode())
    return artifact / PROFILES


def _section(profiles: Profiles, found: Mapping[str, ModelScores]) -> str:
    lines = [
        "## Profiles",
        "",
        f"`{PROFILES}` has P(success) on a prompt for {len(profiles.models)} models: a logistic regression on "
        f"{profiles.basis.shape[1]} directions of the embedding for each model, with a prior that is fitted to all of them, calibrated on "
        "held-out prompts. Success is what the model's table counts as such. Figures are on held-out prompts, each calibrated on the other half of "
        "them; medians over models, for AUC with the 10th and 90th percentile. `noise` is the ECE that a perfectly calibrated model has on as many "
        "prompts. No outcome of RouterArena or of another dev table was used.",
        "",
        "| table | models | held-out prompts a model | AUC | ECE | noise | Brier score below that of the mean |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, line in summary(found).items():
        lines.append(
            f"| {name} | {line['models']:.0f} | {line['prompts']:.0f} | {line['auc']:.3f} ({line['auc_low']:.3f} to "
            f"{line['auc_high']:.3f}) | {line['ece']:.3f} | {line['ece_noise']:.3f} | {line['brier_gain']:.1%} |"
        )
    return "\n".join(lines)
