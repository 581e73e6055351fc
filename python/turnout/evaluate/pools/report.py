"""A pool on tables: as text on a terminal, and as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from turnout.evaluate.pools.evaluation import PoolEvaluation
from turnout.evaluate.report import estimate_text
from turnout.terminal import grid

if TYPE_CHECKING:
    from rich.console import Console

_HEADINGS = {
    "cost": "cost at the best single model's quality",
    "quality": "quality at its cost",
    "aiq": "AIQ",
    "regret": "regret to the oracle",
}


def show_pool(evaluation: PoolEvaluation, console: Console) -> None:
    """Prints the figures of one table: a line a method, a line a model, RouterArena's scores."""
    dropped = f"; {evaluation.dropped:,} prompts without a score of every model left out" if evaluation.dropped else ""
    console.print(f"\n[bold]{evaluation.table}[/bold], {evaluation.prompts:,} prompts{dropped}", highlight=False)
    console.print(f"best single model: {evaluation.single}", highlight=False, markup=False)
    methods = grid("", *_HEADINGS.values(), "pool's cost less")
    for name, method in evaluation.methods.items():
        methods.add_row(
            name, *(estimate_text(method.figures[key]) for key in _HEADINGS), estimate_text(method.difference)
        )
    console.print(methods)
    models = grid("model", "mean cost", "mean score", "share", "AUC", "ECE", "noise", "Brier")
    for name, (cost, score) in evaluation.models.items():
        one = evaluation.success[name]
        share = f"{evaluation.shares[name]:.1%}"
        scores = (estimate_text(one.auc), estimate_text(one.ece), f"{one.noise:.3f}", estimate_text(one.brier))
        models.add_row(name, f"{cost:.3g}", f"{score:.3f}", share, *scores)
    console.print(models)
    for name, arena in evaluation.arena.items():
        console.print(
            f"RouterArena's scores of {name}: arena {arena.arena:.4f}, accuracy {arena.accuracy:.4f}, "
            f"{arena.cost_per_1000:.4g} for 1,000 requests, optimal selection {arena.optimal_selection:.4f}, "
            f"optimal cost {arena.optimal_cost:.4f}, optimal accuracy {arena.optimal_accuracy:.4f}",
            highlight=False,
            markup=False,
        )
    time = evaluation.latency
    console.print(
        f"one decision takes {time.mean:.1f} us (p50 {time.p50:.1f}, p95 {time.p95:.1f})", highlight=False, markup=False
    )
    for name, part in evaluation.robustness.items():
        same = "no prompt changes" if part is None else f"{part:.4f} of the prompts go to the same model"
        console.print(f"robustness, {name}: {same}", highlight=False, markup=False)


def write_pool_report(evaluations: Sequence[PoolEvaluation], folder: Path, facts: Mapping[str, str]) -> Path:
    """Writes ``pool.json`` and a PNG and an SVG of the cost-quality curves of each table.

    Args:
        evaluations: One a table.
        folder: Made if it is missing.
        facts: What a reader needs to repeat it.

    Returns:
        The file with the numbers.
    """
    from turnout.evaluate.plots import save
    from turnout.evaluate.pools.plots import cost_quality

    folder.mkdir(parents=True, exist_ok=True)
    for one in evaluations:
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in one.table)
        save(cost_quality(one), folder / f"{name}-cost-quality")
    path = folder / "pool.json"
    path.write_text(to_json(evaluations, facts), encoding="utf-8")
    return path


def to_json(evaluations: Sequence[PoolEvaluation], facts: Mapping[str, str]) -> str:
    """The numbers for machines."""
    document = {"facts": dict(facts), "tables": [one.to_json() for one in evaluations]}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
