"""The pictures of a pool on a table: cost-quality curves, and reliability of P(success)."""

from __future__ import annotations

from matplotlib.figure import Figure

from turnout.evaluate.plots import COLORS, GREY, INK, style
from turnout.evaluate.pools.evaluation import POOL, PoolEvaluation

#: Methods that are drawn, the rest are figures only.
_DRAWN = {POOL: COLORS[0], "kNN": COLORS[1], "cohort table": COLORS[2], "prompt length": COLORS[3], "MLP": COLORS[4]}


def cost_quality(evaluation: PoolEvaluation) -> Figure:
    """Mean score over mean cost, on a logarithmic scale: the pool, baselines, single models, random routing, the oracle."""
    with style():
        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.subplots()
        for name in ("oracle", "random"):
            costs, quality = evaluation.methods[name].curve
            axes.plot(costs, quality, color=INK if name == "oracle" else GREY, lw=1.2, ls="--", label=name)
        for name, color in _DRAWN.items():
            one = evaluation.methods[name]
            axes.plot(
                *one.curve,
                color=color,
                lw=2.4 if name == POOL else 1.2,
                label=f"{name}  AIQ {one.figures['aiq'].value:.3f}",
            )
        for name, (cost, score) in evaluation.models.items():
            axes.plot(cost, score, "o", color=INK if name == evaluation.single else GREY, ms=5)
            axes.annotate(name, (cost, score), xytext=(4, 3), textcoords="offset points", fontsize=7, color="#5b616a")
        if min(cost for cost, _ in evaluation.models.values()) > 0:
            axes.set_xscale("log")
        axes.set_xlabel("mean cost of a request")
        axes.set_ylabel("mean score")
        axes.set_title(f"{evaluation.table}, {evaluation.prompts:,} prompts")
        axes.legend(loc="lower right", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none")
        return figure
