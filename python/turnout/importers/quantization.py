"""What quantisation changes: win rates, decisions, size, speed, against the same router in float32."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import turnout
from turnout._core import InvalidInputError

#: Timed calls of a router on each of its prompts.
_CALLS = 5


def quantization_report(
    router: turnout.Router, write_float32: Callable[[Path], object], prompts: Path | Sequence[str] | None = None
) -> str:
    """Compares a quantised router with the one it was made from.

    Args:
        router: The quantised router.
        write_float32: Writes the artifact in float32 to a folder, which is removed afterwards.
        prompts: A file of prompts, or prompts; by default those of ``turnout demo``.

    Returns:
        Lines of text: win-rate error, decision flips at the router's threshold and at the median, size, speed on one thread.

    Raises:
        InvalidInputError: The file holds no prompts.
    """
    texts = _prompts(prompts)
    with tempfile.TemporaryDirectory(dir=router.path.parent, prefix=".float32-") as folder:
        write_float32(Path(folder))
        exact, quantised = turnout.load(folder, threads=1), turnout.load(router.path, threads=1)
        before, after = exact.win_rates(texts), quantised.win_rates(texts)
        alone = np.array([quantised.win_rate(text) for text in texts])
        sizes = [sum(int(entry["bytes"]) for entry in each.manifest["files"].values()) for each in (exact, quantised)]
        times = [_milliseconds(each, texts) for each in (exact, quantised)]
        exact.close()
    error = np.abs(before - after)
    median = float(np.median(before))
    flips = [int(((before >= at) != (after >= at)).sum()) for at in (router.threshold, median)]
    return "\n".join(
        [
            f"quantised against float32, {len(texts)} prompts:",
            f"  win-rate error      mean {error.mean():.4f}, largest {error.max():.4f}",
            f"  decision flips      {flips[0]} at the threshold {router.threshold:.4f}, {flips[1]} at the median {median:.4f}",
            f"  alone or in a batch {np.abs(alone - after).max():.1e} apart at most",
            f"  size                {sizes[1] / 1e6:.2f} MB, was {sizes[0] / 1e6:.2f} MB",
            f"  time, one thread    {times[1]:.3f} ms a prompt, was {times[0]:.3f} ms",
        ]
    )


def _prompts(prompts: Path | Sequence[str] | None) -> list[str]:
    if prompts is None:
        from turnout.commands.demo import PROMPTS

        return list(PROMPTS)
    if not isinstance(prompts, Path):
        return list(prompts)
    from turnout.data.bad_rows import BadRows
    from turnout.data.prompts import iter_prompts

    found = [prompt for chunk in iter_prompts(prompts, bad=BadRows()) for prompt in chunk]
    if not found:
        raise InvalidInputError(f"{prompts}: no prompts")
    return found


def _milliseconds(router: turnout.Router, prompts: Sequence[str]) -> float:
    """Median time of a prompt."""
    times = []
    for _ in range(_CALLS):
        for prompt in prompts:
            start = time.perf_counter()
            router.win_rate(prompt)
            times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3
