"""Figures of the profiles on held-out prompts, by model and by model and table, and reliability diagrams."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from turnout.evaluate.json_values import json_values
from turnout.evaluate.success import SuccessScores, success_scores
from turnout.pool.profiles import Doubles

from .tables import Pooled


@dataclass(frozen=True)
class ModelScores:
    """Figures of one model on held-out prompts.

    Attributes:
        overall: Over all of them.
        tables: By table.
        chances: P(success) of each.
        scores: Their outcomes.
        means: Mean score on all rows of each table.
    """

    overall: SuccessScores
    tables: Mapping[str, SuccessScores]
    chances: Doubles
    scores: Doubles
    means: Mapping[str, float]

    def facts(self) -> dict[str, Any]:
        """What the file of profiles says of the model."""
        values = {"auc": self.overall.auc.value, "ece": self.overall.ece.value, "brier": self.overall.brier.value}
        facts = {name: None if np.isnan(value) else round(value, 4) for name, value in values.items()}
        return {**facts, "held_out": self.overall.prompts, "means": {t: round(m, 4) for t, m in self.means.items()}}


def scores_of_models(tables: Pooled, models: Sequence[str], chances: Doubles) -> dict[str, ModelScores]:
    """Figures of every model.

    Args:
        tables: Outcomes.
        models: The models.
        chances: P(success) on held-out prompts, float64 ``[models, prompts]``, NaN on the others.
    """
    found = {}
    for row, model in enumerate(models):
        parts: dict[str, tuple[Doubles, Doubles]] = {}
        means = {}
        for table, place in zip(tables.tables, tables.places, strict=True):
            if model in table.scores:
                scores = table.scores[model]
                means[table.name] = float(np.nanmean(scores))
                known = tables.is_held[place] & ~np.isnan(scores)
                if known.sum() >= 2:
                    parts[table.name] = chances[row, place[known]], scores[known]
        every = np.concatenate([one[0] for one in parts.values()]), np.concatenate([one[1] for one in parts.values()])
        by_table = {name: success_scores(*part) for name, part in parts.items()}
        found[model] = ModelScores(success_scores(*every), by_table, *every, means)
    return found


def summary(found: Mapping[str, ModelScores]) -> dict[str, dict[str, float]]:
    """Medians over models, a line a table and one for models over all of their tables."""
    lines: dict[str, list[SuccessScores]] = {"all tables": [one.overall for one in found.values()]}
    for one in found.values():
        for table, scores in one.tables.items():
            lines.setdefault(table, []).append(scores)
    return {name: _line(scores) for name, scores in lines.items()}


def _line(scores: Sequence[SuccessScores]) -> dict[str, float]:
    ece = np.array([one.ece.value for one in scores])
    aucs = np.array([one.auc.value for one in scores])
    gains = np.array([1.0 - one.brier.value / one.constant if one.constant else 0.0 for one in scores])
    return {
        "models": len(scores),
        "prompts": float(np.median([one.prompts for one in scores])),
        "auc": float(np.nanmedian(aucs)),
        "auc_low": float(np.nanquantile(aucs, 0.1)),
        "auc_high": float(np.nanquantile(aucs, 0.9)),
        "ece": float(np.median(ece)),
        "ece_noise": float(np.median([one.noise for one in scores])),
        "ece_at_most_05": float(np.mean(ece <= 0.05)),
        "ece_beyond_noise": float(np.median(ece - np.array([one.noise for one in scores]))),
        "brier_gain": float(np.median(gains)),
    }


def write_report(found: Mapping[str, ModelScores], folder: Path) -> None:
    """Writes ``profiles.json`` and a reliability diagram of the models with most held-out prompts."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        model: {"all": asdict(one.overall), **{name: asdict(scores) for name, scores in one.tables.items()}}
        for model, one in found.items()
    }
    document = {"summary": summary(found), "models": content}
    text = json.dumps(json_values(document), indent=1, allow_nan=False)
    (folder / "profiles.json").write_text(text + "\n", encoding="utf-8")
    _diagram(found, folder / "profiles-reliability")


def _diagram(found: Mapping[str, ModelScores], path: Path) -> None:
    from matplotlib.figure import Figure

    from turnout.evaluate.plots import COLORS, GREY, save, style
    from turnout.evaluate.reliability import reliability

    largest = sorted(found, key=lambda model: -found[model].overall.prompts)[:12]
    with style():
        figure = Figure(figsize=(11, 8.4), layout="constrained")
        for panel, model in zip(figure.subplots(3, 4, sharex=True, sharey=True).flat, largest, strict=False):
            one = found[model]
            bins = reliability(one.chances, one.scores)
            panel.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
            panel.plot([b.predicted for b in bins], [b.observed for b in bins], "o-", color=COLORS[0], ms=4)
            panel.set_title(f"{model}\nECE {one.overall.ece.value:.3f}, {one.overall.prompts} prompts", fontsize=8)
        figure.supxlabel("P(success)")
        figure.supylabel("mean score")
        save(figure, path)
