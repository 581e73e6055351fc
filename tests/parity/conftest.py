"""Variants of the tiny graph."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def with_graph(
    artifact: Path, tmp_path: Path, edit_manifest: Callable[..., None]
) -> Callable[[Callable[[Any], Any]], Path]:
    """A copy of the tiny artifact with another graph: the function changes the ``onnx.ModelProto`` or returns bytes."""
    import onnx

    def write(change: Callable[[Any], Any]) -> Path:
        folder = tmp_path / f"artifact-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(artifact, folder)
        model = onnx.load(folder / "model.onnx")
        changed = change(model)
        content = changed if isinstance(changed, bytes) else model.SerializeToString()
        (folder / "model.onnx").write_bytes(content)
        entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        edit_manifest(folder, lambda manifest: manifest["files"].update({"model.onnx": entry}))
        return folder

    return write
