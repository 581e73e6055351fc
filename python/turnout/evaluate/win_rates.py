"""Win rates of a router over a table: in batches, with a progress bar for slow routers, and cached on disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnout._core import InvalidInputError
from turnout.scored_router import WinRates
from turnout.terminal import printable, printable_console

_BATCH = 2048
#: A progress bar appears when the rest would take longer than this.
_PATIENCE_S = 2.0


def default_cache() -> Path:
    """``turnout/win_rates`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "turnout" / "win_rates"


def prompts_hash(prompts: Sequence[str]) -> str:
    """SHA-256 over prompts and their order."""
    digest = hashlib.sha256()
    for prompt in prompts:
        content = prompt.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def win_rates_of(
    router: WinRates, prompts: Sequence[str], *, cache: Path | None = None, label: str = "router"
) -> NDArray[np.float64]:
    """Win rates of prompts.

    Args:
        router: A router. If it has an ``artifact_hash``, results are kept in ``cache`` under it, the pair and the prompts' hash.
        prompts: The prompts.
        cache: Folder of the cache; ``None`` keeps nothing.
        label: Name in the progress bar.

    Returns:
        float64 ``[prompts]``.

    Raises:
        InvalidInputError: The router gave a number outside ``[0, 1]``.
    """
    file = None
    identity = getattr(router, "artifact_hash", None)
    if cache is not None and isinstance(identity, str):
        key = hashlib.sha256(
            "\0".join([identity, router.strong, router.weak, prompts_hash(prompts)]).encode()
        ).hexdigest()
        file = cache / f"{key}.npy"
        if file.is_file():
            stored = np.load(file, allow_pickle=False)
            if stored.shape == (len(prompts),):
                return np.asarray(stored, dtype=np.float64)
    result = _computed(router, prompts, label)
    wrong = np.flatnonzero(~((result >= 0) & (result <= 1)))
    if len(wrong):
        raise InvalidInputError(f"win rate of prompt {wrong[0]} is {result[wrong[0]]}, expected a number in 0..=1")
    if file is not None:
        _keep(file, result)
    return result


def _computed(router: WinRates, prompts: Sequence[str], label: str) -> NDArray[np.float64]:
    parts: list[NDArray[np.float64]] = []
    start = time.monotonic()
    progress = task = None
    try:
        while (first := sum(map(len, parts))) < len(prompts):
            # A small batch first, to estimate whether the rest needs a progress bar.
            size = _BATCH if first else 64
            parts.append(np.asarray(router.win_rates(prompts[first : first + size]), dtype=np.float64))
            done = first + len(parts[-1])
            if progress is None and (time.monotonic() - start) / done * (len(prompts) - done) > _PATIENCE_S:
                progress, task = _progress_bar(label, len(prompts))
            if progress is not None:
                progress.update(task, completed=done)
    finally:
        if progress is not None:
            progress.stop()
    return np.concatenate(parts) if parts else np.empty(0)


def _progress_bar(label: str, total: int) -> tuple[Any, Any]:
    from rich.progress import Progress

    progress = Progress(console=printable_console(stderr=True), transient=True)
    task = progress.add_task(f"scoring with {printable(label)}", total=total)
    progress.start()
    return progress, task


def _keep(file: Path, result: NDArray[np.float64]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".npy")
    with os.fdopen(handle, "wb") as stream:
        np.save(stream, result)
    os.replace(temporary, file)
