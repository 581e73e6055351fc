"""The pictures of a report, as PNG and SVG: call-performance curves, reliability, categories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from turnout.evaluate.baselines import LENGTH
from turnout.evaluate.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito's colors, which most color-blind readers can distinguish; the first ones are for routers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY, INK = "#8a8f98", "#1f2328"
#: Categories beyond this many are left to the table.
MAX_CATEGORIES = 40

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e7e9ec",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "turnout",
}


@contextmanager
def style() -> Iterator[None]:
    """Settings for pictures, without a change to the caller's own."""
    settings: Any = _STYLE
    with matplotlib.rc_context(settings):
        yield


def router_names(evaluation: Evaluation) -> list[str]:
    """Routers of an evaluation, without the baseline."""
    return [name for name in evaluation.routers if name != LENGTH]


def curves(evaluation: Evaluation) -> Figure:
    """Quality over the share of strong calls: routers, oracle, random, length, single models."""
    with style():
        figure = Figure(figsize=(9, 5), layout="constrained")
        axes: Axes = figure.subplots()
        weak, strong = evaluation.weak_quality.value, evaluation.strong_quality.value
        axes.plot(
            evaluation.oracle[0] * 100,
            evaluation.oracle[1],
            color=INK,
            lw=1.2,
            ls="--",
            label="oracle (at most this share)",
        )
        axes.plot([0, 100], [weak, strong], color=GREY, lw=1.4, ls=":", label="random  APGR 0.500")
        for name, color in _colored(evaluation):
            result = evaluation.routers[name]
            baseline = name == LENGTH
            axes.plot(
                result.shares * 100,
                result.quality,
                color=GREY if baseline else color,
                lw=1.4 if baseline else 2.2,
                ls="-." if baseline else "-",
                zorder=2 if baseline else 3,
                label=f"{name}  APGR {_figure(result.figures['apgr'])}",
            )
            if "share_at_threshold" in result.figures:
                at = (result.figures["share_at_threshold"].value * 100, result.figures["quality_at_threshold"].value)
                axes.plot(*at, "o", color=color, ms=7, mec="white", zorder=4)
                beyond = at[0] > 80
                axes.annotate(
                    f"threshold {result.threshold:.3g}",
                    at,
                    xytext=(4 if beyond else -4, -24),
                    textcoords="offset points",
                    ha="right" if beyond else "left",
                    color=color,
                    fontsize=8,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85},
                )
        for value, name in ((strong, evaluation.strong), (weak, evaluation.weak)):
            axes.axhline(value, color=GREY, lw=0.8, zorder=1)
            axes.annotate(
                f"{name}\n{value:.3f}",
                (100, value),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color="#5b616a",
                annotation_clip=False,
            )
        axes.set_xlim(0, 100)
        low, high = min(weak, strong), max(evaluation.oracle[1].max(), strong)
        axes.set_ylim(low - 0.08 * (high - low or 1), high + 0.05 * (high - low or 1))
        axes.set_xlabel("share of calls to the strong model, %")
        axes.set_ylabel("mean score")
        axes.set_title(_title(evaluation))
        axes.legend(loc="lower right", fontsize=8, alignment="left", frameon=True, framealpha=0.9, edgecolor="none")
        return figure


def reliability(evaluation: Evaluation) -> Figure | None:
    """Observed outcome over predicted win rate, a panel a router."""
    names = router_names(evaluation)
    if not names:
        return None
    with style():
        columns = min(3, len(names))
        rows = -(-len(names) // columns)
        figure = Figure(figsize=(3.9 * columns + 0.4, 3.9 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for panel in panels.flat:
            panel.set_visible(False)
        for (name, color), panel in zip(_colored(evaluation), panels.flat, strict=False):
            if name == LENGTH:
                continue
            panel.set_visible(True)
            result = evaluation.routers[name]
            panel.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
            predicted = [one.predicted for one in result.reliability]
            observed = [one.observed for one in result.reliability]
            error = [_wilson(one.observed, one.prompts) for one in result.reliability]
            panel.errorbar(
                predicted,
                observed,
                yerr=np.array(error).T,
                color=color,
                marker="o",
                ms=5,
                lw=1.4,
                elinewidth=1,
                capsize=2,
            )
            histogram, edges = np.histogram(result.win_rates, bins=40, range=(0, 1))
            panel.bar(
                edges[:-1],
                histogram / histogram.max() * 0.15,
                width=1 / 40,
                align="edge",
                color=color,
                alpha=0.2,
                lw=0,
            )
            panel.set_xlim(0, 1)
            panel.set_ylim(0, 1)
            panel.set_aspect("equal")
            panel.set_title(f"{name}: ECE {_figure(result.figures['ece'])}", fontsize=9)
            panel.set_xlabel("win rate (bars: how often)")
            panel.set_ylabel("strong wins, ties half")
        return figure


def categories(evaluation: Evaluation) -> Figure | None:
    """APGR by category with intervals; ``None`` where the table has no categories large enough."""
    found = [(name, one) for name, one in evaluation.categories.items() if "apgr" in one]
    if not found:
        return None
    found = sorted(found, key=lambda item: -item[1]["prompts"])[:MAX_CATEGORIES]
    names = [name for name, _ in _colored(evaluation)]
    with style():
        figure = Figure(figsize=(9, 1.4 + 0.17 * len(found) * (len(names) + 0.8)), layout="constrained")
        axes: Axes = figure.subplots()
        height = 0.8 / len(names)
        for index, (name, color) in enumerate(_colored(evaluation)):
            at = np.arange(len(found)) + (index - (len(names) - 1) / 2) * height
            values = [one["apgr"][name] for _, one in found]
            points = np.array([value["value"] for value in values])
            ends = np.array([[value["low"], value["high"]] for value in values], dtype=float)
            error = np.nan_to_num(np.abs(ends - points[:, None])).T
            axes.barh(
                at,
                points - 0.5,
                left=0.5,
                height=height,
                color=GREY if name == LENGTH else color,
                xerr=error,
                error_kw={"lw": 0.7, "ecolor": "#5b616a"},
                label=name,
            )
        axes.axvline(0.5, color=INK, lw=0.8)
        axes.set_yticks(range(len(found)), [f"{name} ({one['prompts']})" for name, one in found], fontsize=8)
        axes.invert_yaxis()
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_xlim(-0.1, 1.1)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("APGR (random 0.5), 95 % intervals, cut at the frame")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, ncols=3, fontsize=8)
        axes.set_title(f"{evaluation.table} by category", pad=22)
        return figure


def pictures(evaluation: Evaluation) -> dict[str, Figure]:
    """The pictures of an evaluation by kind."""
    drawn = {"curves": curves(evaluation), "reliability": reliability(evaluation), "categories": categories(evaluation)}
    return {kind: figure for kind, figure in drawn.items() if figure is not None}


def save(figure: Figure, path: Path) -> None:
    """Writes ``path.png`` and ``path.svg``, byte for byte the same for the same numbers."""
    with style():
        figure.savefig(path.with_name(path.name + ".png"), dpi=160, metadata={"Software": None})
        figure.savefig(path.with_name(path.name + ".svg"), metadata={"Date": None})


def _title(evaluation: Evaluation) -> str:
    seen = " (seen in training)" if any("seen in training" in note for note in evaluation.notes) else ""
    return f"{evaluation.table}{seen}, {evaluation.prompts:,} prompts"


def _colored(evaluation: Evaluation) -> list[tuple[str, str]]:
    return [(name, COLORS[index % len(COLORS)]) for index, name in enumerate(evaluation.routers)]


def _figure(estimate: Any) -> str:
    text = f"{estimate.value:.3f}"
    return text if np.isnan(estimate.low) else f"{text} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _wilson(part: float, count: int) -> tuple[float, float]:
    """Lengths of the error bars of a proportion (Wilson 1927); conservative for ties, which vary less."""
    z = 1.96
    center = (part + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(part * (1 - part) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, part - (center - half)), max(0.0, center + half - part)
