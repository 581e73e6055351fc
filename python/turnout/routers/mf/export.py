"""From a trained matrix-factorization router to its artifact: the graph, the start's tokenizer, quantiles, the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.artifact.finish import finish
from turnout.artifact.manifest import Manifest
from turnout.artifact.origin import Origin
from turnout.artifact.staged import staged
from turnout.artifact.writer import write_artifact
from turnout.evaluate.dev import DevResult, dev_results
from turnout.graphs.static import static_graph
from turnout.router import Router, load
from turnout.routers.mf.card import mf_card

if TYPE_CHECKING:
    from turnout.routers.mf.train import TrainedMf
    from turnout.training.files import TrainingData


def write_mf(trained: TrainedMf, data: TrainingData, origin: Origin, out: Path) -> Sequence[DevResult]:
    """Writes the artifact of a trained router.

    Args:
        trained: The router.
        data: What it was trained on, with the dev tables.
        origin: For the card.
        out: Artifact folder; it is changed when all of this is done, and by no error.

    Returns:
        Scores on the left-out prompts, and of the artifact as it is stored on the dev tables.
    """
    start = Manifest.read(trained.start)
    pair = (trained.pair.strong, trained.pair.weak)
    manifest = Manifest(
        name=origin.name,
        models=trained.models,
        strong=trained.pair.strong,
        weak=trained.pair.weak,
        encoder={"kind": "graph", "dim": len(trained.encoder.bias)},
    )
    rules = {name: value for name, value in (start.tokenizer or {}).items() if name not in ("file", "max_tokens")}
    with staged(out) as folder:
        write_artifact(
            folder,
            manifest,
            graph=static_graph(trained.encoder, trained.head),
            tokenizer=(trained.start / str((start.tokenizer or {})["file"])).read_bytes(),
            max_tokens=start.max_tokens,
            text_rules=rules,
        )

        def judge(router: Router) -> Sequence[DevResult]:
            results = dev_results(data.dev, router.win_rates, pair)
            scores = [*trained.scores, *results]
            report = origin.provenance(data.report(trained.settings, scores))
            replace(Manifest.read(folder), provenance=report).write(folder)
            return scores

        before = load(trained.start)
        beside = {f"`{start.name}`": [*trained.start_scores, *dev_results(data.dev, before.win_rates, pair)]}
        before.close()
        return finish(folder, trained.left_out, judge, lambda written, scores: mf_card(written, scores, beside))
