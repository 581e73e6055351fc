"""A report as files: one HTML page that loads nothing from a network, the pictures, and the numbers as JSON."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from turnout._core import __version__
from turnout.evaluate import plots
from turnout.evaluate.bootstrap import Estimate
from turnout.evaluate.evaluation import Evaluation
from turnout.evaluate.figures import HEADINGS

_CSS = """
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1f2328; max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #e7e9ec; padding-top: 1rem; }
h3 { font-size: 1rem; margin-bottom: .3rem; } img { max-width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .7rem; border-bottom: 1px solid #e7e9ec; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } small, td small { color: #5b616a; }
.note { background: #fff4d6; border-left: 4px solid #e69f00; padding: .5rem .8rem; margin: .6rem 0; }
footer { margin-top: 3rem; color: #5b616a; font-size: .85rem; }
"""

_INTRODUCTION = (
    "PGR is the part of the gap between the weak and the strong model that routing recovers; APGR its mean over the share of "
    "strong calls (random routing 0.5); CPT(x) the share of strong calls that recovers x of the gap (*RouteLLM: Learning to Route LLMs with Preference Data*, arXiv 2406.18665, "
    "section 3.2). In brackets 95 % bootstrap intervals over prompts."
)


def write_report(
    evaluations: Sequence[Evaluation],
    folder: Path,
    *,
    title: str,
    facts: dict[str, str] | None = None,
    robustness: dict[str, Any] | None = None,
) -> Path:
    """Writes ``report.html``, ``results.json`` and a PNG and an SVG for every picture.

    Args:
        evaluations: One a table.
        folder: Made if it is missing.
        title: Of the page.
        facts: What a reader needs to repeat it: command, artifact hashes, seeds.
        robustness: Of :func:`turnout.evaluate.robustness.measure` as JSON, by table and router.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    for evaluation in evaluations:
        drawn = plots.pictures(evaluation)
        for kind, figure in drawn.items():
            plots.save(figure, folder / f"{_file_name(evaluation.table)}-{kind}")
        sections.append(_section(evaluation, drawn) + _robustness((robustness or {}).get(evaluation.table, {})))
    (folder / "results.json").write_text(to_json(evaluations, facts, robustness), encoding="utf-8")
    known = "".join(f"<tr><td>{_e(name)}</td><td>{_e(value)}</td></tr>" for name, value in (facts or {}).items())
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{_e(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{_CSS}</style></head><body>"
        f"<h1>{_e(title)}</h1><p>{_e(_INTRODUCTION)}</p>{_summary(evaluations)}{''.join(sections)}"
        f"<h2>How this was made</h2><div class='scroll'><table>{known}</table></div>"
        f"<footer>turnout {_e(__version__)}. This page loads nothing from a network.</footer></body></html>"
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def to_json(
    evaluations: Sequence[Evaluation], facts: dict[str, str] | None = None, robustness: dict[str, Any] | None = None
) -> str:
    """The numbers for machines."""
    document = {"turnout": __version__, "facts": facts or {}, "tables": [one.to_json() for one in evaluations]}
    if robustness:
        document["robustness"] = robustness
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _summary(evaluations: Sequence[Evaluation]) -> str:
    names = list(dict.fromkeys(name for one in evaluations for name in one.routers))
    rows = [
        [
            one.table + (" *" if any("seen in training" in note for note in one.notes) else ""),
            f"{one.prompts:,}",
            *(estimate_text(one.routers[name].figures["apgr"]) if name in one.routers else "" for name in names),
            f"{one.oracle_apgr:.3f}",
        ]
        for one in evaluations
    ]
    star = (
        "<p><small>* seen in training: says nothing about new prompts.</small></p>"
        if any(" *" in row[0] for row in rows)
        else ""
    )
    return "<h2>APGR</h2>" + _table(["table", "prompts", *names, "oracle"], rows) + star


def _section(evaluation: Evaluation, drawn: dict[str, Figure]) -> str:
    parts = [f"<h2>{_e(evaluation.table)}</h2>"]
    parts += [f"<p class='note'>{_e(note)}</p>" for note in evaluation.notes]
    parts.append(
        f"<p>{evaluation.prompts:,} prompts. Strong: {_e(evaluation.strong)} {estimate_text(evaluation.strong_quality)}. "
        f"Weak: {_e(evaluation.weak)} {estimate_text(evaluation.weak_quality)}.</p>"
    )
    parts.append(_picture(drawn["curves"], "Quality over the share of strong calls"))
    names = list(evaluation.routers)
    rows = []
    for key, heading in HEADINGS.items():
        cells = [
            estimate_text(evaluation.routers[name].figures[key]) if key in evaluation.routers[name].figures else ""
            for name in names
        ]
        if any(cells):
            chance = f"{evaluation.random[key]:.3f}" if key in evaluation.random else ""
            rows.append([heading, *cells, chance])
    parts.append("<h3>Figures</h3>" + _table(["", *names, "random"], rows))
    if evaluation.differences:
        differences = [[f"{one.first} minus {one.second}", estimate_text(one.apgr)] for one in evaluation.differences]
        parts.append("<h3>Paired differences of APGR</h3>" + _table(["", "APGR"], differences))
    parts.append("<h3>As RouteLLM's code prints it</h3>" + _routellm(evaluation))
    if "reliability" in drawn:
        parts.append("<h3>Reliability of the win rate</h3>" + _picture(drawn["reliability"], "Reliability diagrams"))
    if evaluation.categories:
        parts.append("<h3>Categories</h3>")
        if "categories" in drawn:
            parts.append(_picture(drawn["categories"], "APGR by category"))
        parts.append(_category_table(evaluation))
    models = [[name, f"{score:.3f}"] for name, score in evaluation.models.items()]
    parts.append("<h3>Each model alone</h3>" + _table(["model", "mean score"], models))
    return "".join(parts)


def _robustness(routers: dict[str, Any]) -> str:
    parts = []
    for name, found in routers.items():
        rows = [
            [
                one["change"],
                f"{one['flips']:.1%}",
                f"[{one['low']:.1%}, {one['high']:.1%}]",
                f"{one['to_strong']:.1%}",
                f"{one['to_weak']:.1%}",
            ]
            for one in found["changes"]
        ]
        parts.append(f"<h3>Robustness of {_e(name)} at threshold {found['threshold']:.4g}</h3>")
        parts.append(_table(["change", "decisions flipped", "95 %", "to strong", "to weak"], rows))
        attacks = [
            [
                f"{one['place']} {one['text']!r}",
                f"{one['share_before']:.1%}",
                f"{one['share_after']:.1%}",
                f"{one['quality_before']:.3f}" if one["quality_before"] is not None else "",
                f"{one['quality_after']:.3f}" if one["quality_after"] is not None else "",
            ]
            for one in found["attacks"]
        ]
        parts.append("<h3>Rerouting attacks, on prompts that the search did not see</h3>")
        parts.append(_table(["fixed text", "strong share before", "after", "quality before", "after"], attacks))
    return "".join(parts)


def _routellm(evaluation: Evaluation) -> str:
    rows = []
    for name, result in evaluation.routers.items():
        found = result.routellm
        if "error" in found:
            rows.append([name, f"refused: {found['error']}", "", "", "", ""])
        else:
            rows.append([name, *found["cpt"].values(), f"{found['auc']:.3f}", f"{found['apgr']:.4f}"])
    return _table(["method", "20% qual", "50% qual", "80% qual", "AUC", "APGR"], rows)


def _category_table(evaluation: Evaluation) -> str:
    names = list(evaluation.routers)
    rows = []
    for category, one in evaluation.categories.items():
        found = one.get("apgr", {})
        cells = [estimate_text(Estimate(**found[name])) if name in found else "" for name in names]
        rows.append([category, str(one["prompts"]), f"{one['weak']:.3f}", f"{one['strong']:.3f}", *cells])
    return _table(["category", "prompts", "weak", "strong", *names], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    headings = "".join(f"<th>{_e(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{headings}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(cell: str) -> str:
    value, bracket, rest = cell.partition(" [")
    return f"{_e(value)} <small>[{_e(rest)}</small>" if bracket else _e(cell)


def estimate_text(estimate: Estimate) -> str:
    """A figure with its interval, in words where it does not exist."""
    if np.isnan(estimate.value):
        return "n/a"
    return f"{estimate.value:.3f}" if np.isnan(estimate.low) else str(estimate)


def _picture(figure: Figure, text: str) -> str:
    stream = io.StringIO()
    with plots.style():
        figure.savefig(stream, format="svg", metadata={"Date": None})
    content = base64.b64encode(stream.getvalue().encode()).decode()
    return f"<img alt='{_e(text)}' src='data:image/svg+xml;base64,{content}'>"


def _file_name(table: str) -> str:
    return "".join(character if character.isalnum() or character in "-_." else "-" for character in table)


def _e(text: Any) -> str:
    return html.escape(str(text))
