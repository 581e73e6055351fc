"""From a fine-tuned classifier's checkpoint to its artifact: import, pick quantiles, judge, write the card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import turnout
from turnout.artifact.card import classifier_card
from turnout.artifact.origin import Origin
from turnout.artifact.quantiles import weighted_quantiles
from turnout.artifact.staged import staged
from turnout.artifact.writer import ArtifactSpec, replace_file, rewrite_manifest
from turnout.data import Outcomes
from turnout.evaluate.dev import DevResult, dev_results
from turnout.graphs.precision import Precision
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
        # The written router itself says its quantiles and scores: they belong to the weights as they are stored.
        router, shipped = turnout.load(folder), turnout.load()
        quantiles = weighted_quantiles([router.win_rates(prompts) for prompts in calibration_prompts])
        results = dev_results(dev, router.win_rates, pair)
        router.close()
        beside = {"the shipped `mf`": dev_results(dev, shipped.win_rates, pair)}
        manifest = json.loads((folder / "router.json").read_text(encoding="utf-8"))
        manifest["thresholds"] = {"default": quantiles[len(quantiles) // 2], "quantiles": quantiles}
        manifest["provenance"] |= origin.provenance({**training, "dev": [result.to_json() for result in results]})
        rewrite_manifest(folder, manifest)
        spec = ArtifactSpec(
            name=origin.name,
            kind="bert",
            models=[strong, weak],
            strong=strong,
            weak=weak,
            encoder=manifest["encoder"],
            max_tokens=manifest["tokenizer"]["max_tokens"],
            default_threshold=manifest["thresholds"]["default"],
            provenance=manifest["provenance"],
        )
        replace_file(folder / "README.md", classifier_card(spec, results, beside).encode())
    return results
