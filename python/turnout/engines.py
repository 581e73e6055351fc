"""Where pip put the engine libraries. They are found without importing their packages, which takes long."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: Environment variable that names another FAISS library.
FAISS_DYLIB_PATH = "FAISS_DYLIB_PATH"
#: Environment variable that names another ONNX Runtime library, as in other users of ONNX Runtime.
ORT_DYLIB_PATH = "ORT_DYLIB_PATH"

#: CUDA's libraries, each after those that it needs, and TensorRT's.
_CUDA = ("cudart", "nvrtc", "cublasLt", "cublas", "curand", "cufft", "cudnn", "nvinfer", "nvonnxparser")


def engine_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a router with what its engine needs: libraries, CUDA loaded, the cache of TensorRT.

    Args:
        options: Options of :func:`turnout.load`.

    Returns:
        Arguments of the extension's classes.
    """
    device = str(options.get("device") or "cpu")
    if device != "cpu":
        preload_cuda()
    found = {**options, "faiss_library": faiss_library(), "onnxruntime_library": onnxruntime_library()}
    if "tensorrt" in device:
        found["tensorrt_cache"] = options.get("tensorrt_cache") or engine_cache()
    # Since version 1.29 ONNX Runtime sends usage data on Linux unless this is set before loading. The threads that send it also block
    # the exit of a forked process.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return found


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
    start, end = {"darwin": ("libonnxruntime", ".dylib"), "win32": ("onnxruntime.dll", "")}.get(
        sys.platform, ("libonnxruntime.so", "")
    )
    folder = os.path.join(os.path.dirname(spec.origin), "capi")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    libraries = sorted(name for name in names if name.startswith(start) and name.endswith(end))
    return os.path.join(folder, libraries[0]) if libraries else None


def faiss_library() -> str | None:
    """Path of the FAISS library, from ``FAISS_DYLIB_PATH`` or the installed ``faiss-cpu`` / ``faiss-gpu``.

    Returns:
        The path, or ``None`` if neither is installed, or the package has no library.
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


def cuda_libraries(roots: Iterable[str | Path] | None = None) -> list[Path]:
    """CUDA, cuDNN and TensorRT as pip installs them, in an order in which they can be opened.

    Args:
        roots: Folders of installed packages; by default those of this interpreter.

    Returns:
        All versions of every library, none where pip installed none: then the system's loader has to find them.
    """
    folders = [Path(root) for root in (sys.path if roots is None else roots)]
    # nvidia/cu13/lib, nvidia/cudnn/lib and, up to CUDA 12, nvidia/cublas/lib and so on.
    libraries = [folder for root in folders for folder in (*root.glob("nvidia/*/lib"), root / "tensorrt_libs")]
    return [file for name in _CUDA for folder in libraries for file in sorted(folder.glob(f"lib{name}.so.*"))]


def preload_cuda() -> None:
    """Opens the libraries of :func:`cuda_libraries`, because ONNX Runtime's GPU libraries load them by name only.

    What cannot be opened is left to ONNX Runtime, whose error names it.
    """
    # Imported here: routers on a CPU need none of it.
    import ctypes

    for library in cuda_libraries():
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue


def engine_cache() -> Path:
    """Folder of the user in which TensorRT keeps engines: ``turnout/tensorrt`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turnout" / "tensorrt"
