"""What a precision changes: win rates, decisions, size, speed, against the same router in float32."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from turnout.evaluate.cpu_network import ReferenceNetwork
from turnout.router import Router, load

if TYPE_CHECKING:
    from turnout.data import BadRows

#: Networks of fewer bytes in float32 are compared unless the caller says otherwise.
SMALL_BYTES = 1 << 30
#: Prompts, evenly spread over the given ones, that are run alone and timed.
SAMPLE = 20
#: Timed calls of a router on each of these.
_CALLS = 5
#: Prompts that share a run on the way through the reference.
_BATCH = 16


def precision_report(artifact: Path, write_float32: Callable[[Path], object], prompts: Sequence[str]) -> str:
    """Compares a router with the same one in float32, which needs disk space and memory for the network in float32.

    Every prompt is run once by either router; ``SAMPLE`` of them are run alone too, and timed.

    float16 graphs are for GPUs: their win rates are computed on the CPU all the same, slowly, and nothing is timed. ONNX Runtime rounds
    less often there than a GPU does; with NumPy, which rounds after each operator, the logits of small networks were up to four times
    as far off.

    Args:
        artifact: Folder of the router.
        write_float32: Writes the artifact in float32 to a folder beside the artifact, which is removed afterwards and on errors.
        prompts: Prompts, one at least.

    Returns:
        Lines of text: win-rate error, decision flips at the router's threshold and at the median, size, speed on one thread.
    """
    texts = list(prompts)
    sample = slice(None, None, -(-len(texts) // SAMPLE))
    manifest = json.loads((artifact / "router.json").read_text(encoding="utf-8"))
    precision, threshold = manifest["graph_precision"], float(manifest["thresholds"]["default"])
    with tempfile.TemporaryDirectory(dir=artifact.parent, prefix=".float32-") as folder:
        write_float32(Path(folder))
        exact = load(folder, threads=1)
        before = np.asarray(exact.win_rates(texts))
        if precision == "float16":
            network = ReferenceNetwork(artifact)
            encodings = [exact.explain(text).ids for text in texts]
            batches = (encodings[start : start + _BATCH] for start in range(0, len(encodings), _BATCH))
            after = np.concatenate([network.win_rates(batch) for batch in batches])
            alone = np.concatenate([network.win_rates([ids]) for ids in encodings[sample]])
            speed = "not measured: float16 is for GPUs, which round more often than the CPU that gave these win rates"
        else:
            router = load(artifact, threads=1)
            after = np.asarray(router.win_rates(texts))
            alone = np.array([router.win_rate(text) for text in texts[sample]])
            times = [_milliseconds(each, texts[sample]) for each in (router, exact)]
            speed = f"{times[0]:.3f} ms a prompt, was {times[1]:.3f} ms"
            router.close()
        sizes = [_megabytes(each) for each in (manifest, exact.manifest)]
        exact.close()
    error = np.abs(before - after)
    median = float(np.median(before))
    flips = [int(((before >= at) != (after >= at)).sum()) for at in (threshold, median)]
    return "\n".join(
        [
            f"{precision} against float32, {len(texts)} prompts:",
            f"  win-rate error      mean {error.mean():.4f}, largest {error.max():.4f}",
            f"  decision flips      {flips[0]} at the threshold {threshold:.4f}, {flips[1]} at the median {median:.4f}",
            f"  alone or in a batch {np.abs(alone - after[sample]).max():.1e} apart at most",
            f"  size                {sizes[0]:.2f} MB, was {sizes[1]:.2f} MB",
            f"  time, one thread    {speed}",
        ]
    )


def report_prompts(file: Path | None, *, bad: BadRows, column: str = "prompt") -> list[str]:
    """Prompts of a file, or those of ``turnout demo``.

    Raises:
        InvalidInputError: The file has no prompts, or too many invalid rows.
    """
    if file is None:
        from turnout.sample_prompts import PROMPTS

        return list(PROMPTS)
    from turnout.data import iter_prompts

    return [prompt for chunk in iter_prompts(file, bad=bad, column=column) for prompt in chunk]


def _megabytes(manifest: dict[str, Any]) -> float:
    return sum(int(entry["bytes"]) for entry in manifest["files"].values()) / 1e6


def _milliseconds(router: Router, prompts: Sequence[str]) -> float:
    """Median time of a prompt."""
    times = []
    for _ in range(_CALLS):
        for prompt in prompts:
            start = time.perf_counter()
            router.win_rate(prompt)
            times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3
