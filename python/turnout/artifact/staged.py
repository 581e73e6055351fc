"""Artifacts appear whole: they are written in a temporary folder, and moved into place when everything about them is right."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turnout._core import ConfigError
from turnout.durable_files import sync_folder

#: An artifact is what its manifest says.
_LAST = "router.json"


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """An empty folder to write an artifact to; its files are moved to ``out`` when the block ends, and removed if it raises.

    A folder that was not there appears in one step. In one that was there, files are replaced one rename after the other, the
    manifest last; its other files stay. An error in the block leaves it as it was. A process that ends between two of these renames
    leaves old and new files, which :func:`turnout.load` refuses by their hashes, and one that is killed in the block leaves a hidden
    folder ``.staged-*`` behind.

    Args:
        out: The artifact folder to be.

    Yields:
        The folder to write to, on the same disk.

    Raises:
        ConfigError: The artifact folder cannot be written.
    """
    given, out = out, out.resolve()
    exists = out.exists()
    try:
        if not exists:
            out.parent.mkdir(parents=True, exist_ok=True)
        # Inside an existing folder: it may be on another disk, and files cannot be renamed between disks.
        staging = tempfile.TemporaryDirectory(dir=out if exists else out.parent, prefix=".staged-")
    except OSError as error:
        raise ConfigError(f"{given} cannot be written: {error.strerror}") from error
    with staging as temporary:
        folder = Path(temporary) / "artifact"
        folder.mkdir()
        yield folder
        sync_folder(folder)
        if not exists:
            folder.rename(out)
            sync_folder(out.parent)
            return
        for file in sorted(folder.iterdir(), key=lambda file: file.name == _LAST):
            os.replace(file, out / file.name)
        sync_folder(out)
