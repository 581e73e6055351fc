"""What ``turnout train`` checks before hours of training rather than after them."""

from __future__ import annotations

import json
from pathlib import Path

import turnout


def check_out(out: Path, *read: Path) -> None:
    """Rejects an output folder that has files of the user in it.

    Args:
        out: What ``--out`` names.
        read: Folders that the command reads.

    Raises:
        ConfigError: It is one of these folders, another checkpoint, or no folder.
    """
    if any(out.resolve() == folder.resolve() for folder in read):
        raise turnout.ConfigError(f"--out {out} is the checkpoint itself, expected another folder")
    if (out / "config.json").exists():
        raise turnout.ConfigError(f"--out {out} contains a checkpoint (config.json), expected another folder")
    if out.exists() and not out.is_dir():
        raise turnout.ConfigError(f"--out {out} is a file, expected a folder")


def tuned_folder(out: Path, encoder: Path) -> Path:
    """The folder of the fine-tuned checkpoint, next to the artifact.

    Args:
        out: What ``--out`` names.
        encoder: The checkpoint that is tuned.

    Raises:
        ConfigError: There is a checkpoint that ``train bert --encoder`` did not write.
    """
    from turnout.training.targets import CLASSES

    tuned = out.with_name(out.name + "-checkpoint")
    config = tuned / "config.json"
    other = tuned.resolve() == encoder.resolve()
    if not other and config.exists():
        try:
            found = json.loads(config.read_text(encoding="utf-8")).get("id2label")
        except (ValueError, AttributeError):
            found = None
        other = found != {str(index): name for index, name in enumerate(CLASSES)}
    if other:
        raise turnout.ConfigError(
            f"the tuned checkpoint of --out {out} would go to {tuned}, which is another checkpoint: expected another --out"
        )
    return tuned
