"""From a fine-tuned classifier's checkpoint to its artifact: import, pick quantiles, judge, write the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from turnout.artifact.finish import finish
from turnout.artifact.manifest import Manifest
from turnout.artifact.origin import Origin
from turnout.artifact.staged import staged
from turnout.data import Outcomes
from turnout.evaluate.dev import DevResult, dev_results
from turnout.graphs.precision import Precision
from turnout.router import Router, load
from turnout.routers.bert.card import classifier_card
from turnout.routers.bert.import_ import import_bert


def write_classifier(
    checkpoint: Path,
    pair: tuple[str, str],
    training: Mapping[str, Any],
    calibration_prompts: Sequence[Sequence[str]],
    dev: Sequence[Outcomes],
    origin: Origin,
    out: Path,
    precision: Precision = "float32",
) -> list[DevResult]:
    """Writes the artifact of a fine-tuned classifier.

    Args:
        checkpoint: Folder that :func:`turnout.routers.bert.fine_tune.train_classifier` wrote.
        pair: Strong and weak model.
        training: Settings and held-out loss, for the manifest.
        calibration_prompts: Prompts by source, for the quantiles, each source with the same weight.
        dev: Tables to judge the router on.
        origin: For the card.
        out: Artifact folder; it is changed when all of this is done, and by no error.
        precision: Of linear layers and embeddings; not float16, since the router is judged on the CPU.

    Returns:
        Dev scores.
    """
    strong, weak = pair
    with staged(out) as folder:
        import_bert(checkpoint, folder, strong=strong, weak=weak, name=origin.name, precision=precision)
        shipped = load()
        beside = {"the shipped `mf`": dev_results(dev, shipped.win_rates, pair)}

        def judge(router: Router) -> Sequence[DevResult]:
            results = dev_results(dev, router.win_rates, pair)
            written = Manifest.read(folder)
            report = origin.provenance({**training, "dev": [result.to_json() for result in results]})
            replace(written, provenance={**written.provenance, **report}).write(folder)
            return results

        return list(
            finish(
                folder,
                calibration_prompts,
                judge,
                lambda written, results: classifier_card(written, results, beside),
            )
        )
