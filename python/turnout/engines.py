"""Where pip put the engine libraries. They are found without importing their packages, which takes long."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

#: Environment variable that names another FAISS library.
FAISS_DYLIB_PATH = "FAISS_DYLIB_PATH"
#: Environment variable that names another ONNX Runtime library, as in other users of ONNX Runtime.
ORT_DYLIB_PATH = "ORT_DYLIB_PATH"


def onnxruntime_library() -> str | None:
    """Path of the ONNX Runtime library, from ``ORT_DYLIB_PATH`` or the installed ``onnxruntime`` / ``onnxruntime-gpu``.

    Returns:
        The path, or ``None`` if neither is there.
    """
    if override := os.environ.get(ORT_DYLIB_PATH):
        return override
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return None
    pattern = {"darwin": "libonnxruntime*.dylib", "win32": "onnxruntime.dll"}.get(sys.platform, "libonnxruntime.so*")
    libraries = sorted((Path(spec.origin).parent / "capi").glob(pattern))
    return str(libraries[0]) if libraries else None


def faiss_library() -> str | None:
    """Path of the FAISS library, from ``FAISS_DYLIB_PATH`` or the installed ``faiss-cpu`` / ``faiss-gpu``.

    Returns:
        The path, or ``None`` if neither is there, or the package has no library of its own.
    """
    if override := os.environ.get(FAISS_DYLIB_PATH):
        return override
    spec = importlib.util.find_spec("faiss")
    if spec is None or spec.origin is None:
        return None
    library = Path(spec.origin).parent / {"darwin": "libfaiss.dylib", "win32": "faiss.dll"}.get(
        sys.platform, "libfaiss.so"
    )
    return str(library) if library.is_file() else None
