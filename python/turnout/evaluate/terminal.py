"""An evaluation as tables on a terminal."""

from __future__ import annotations

from rich.console import Console

from turnout.evaluate.evaluation import Evaluation
from turnout.evaluate.figures import HEADINGS
from turnout.evaluate.report import estimate_text
from turnout.terminal import grid


def show(evaluation: Evaluation, console: Console) -> None:
    """Prints the figures of one table: a column a router."""
    console.print(f"\n[bold]{evaluation.table}[/bold], {evaluation.prompts:,} prompts", highlight=False)
    for note in evaluation.notes:
        console.print(f"[yellow]note:[/yellow] {note}", highlight=False)
    console.print(
        f"strong {evaluation.strong} {estimate_text(evaluation.strong_quality)}, "
        f"weak {evaluation.weak} {estimate_text(evaluation.weak_quality)}, "
        f"oracle APGR {evaluation.oracle_apgr:.3f}",
        highlight=False,
    )
    figures = grid("", *evaluation.routers, "random")
    for key, heading in HEADINGS.items():
        cells = [
            estimate_text(result.figures[key]) if key in result.figures else ""
            for result in evaluation.routers.values()
        ]
        if any(cells):
            figures.add_row(heading, *cells, f"{evaluation.random[key]:.3f}" if key in evaluation.random else "")
    console.print(figures)
    if evaluation.differences:
        differences = grid("paired differences of APGR", "")
        for one in evaluation.differences:
            differences.add_row(f"{one.first} minus {one.second}", estimate_text(one.apgr))
        console.print(differences)
    if len(evaluation.models) > 2:
        best = ", ".join(f"{name} {score:.3f}" for name, score in list(evaluation.models.items())[:5])
        console.print(f"models alone, best first: {best}", highlight=False)
