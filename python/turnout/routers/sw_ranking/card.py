"""The model card of a router of kind ``sw_ranking``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from turnout.durable_files import replace_file
from turnout.evaluate.dev import DevResult

if TYPE_CHECKING:
    from turnout.routers.sw_ranking.ann_index import AnnIndex
    from turnout.routers.sw_ranking.export import SwRanking
    from turnout.routers.sw_ranking.rating import Rating

#: Headings of the sections that change with the battles and with the index.
BATTLES, SEARCH = "Battles and tiers", "Exact or approximate"
#: Models of a tier that are named.
_NAMED = 6


def card(router: SwRanking, scores: Sequence[DevResult]) -> str:
    """Markdown of the card.

    Args:
        router: What the artifact holds.
        scores: On dev tables.
    """
    origin = router.provenance
    source = f"`{router.encoder.taken_from}`'s static embedding" if router.encoder.graph else "the caller's embedding"
    lines = [
        f"# {router.name}",
        "",
        f"Routes prompts between `{router.strong}` (strong) and `{router.weak}` (weak) by Elo over battles, where similar prompts "
        "have larger weights (RouteLLM's similarity-weighted ranking, *RouteLLM: Learning to Route LLMs with Preference Data*, arXiv 2406.18665, section 4.2). Similarity is the cosine of "
        f"{source}, {router.encoder.dim} numbers long.",
        "",
        f"License: {origin.get('licence', 'unstated')}.",
        "",
        f"## {BATTLES}",
        "",
        *battles_section(router.rating, router.strong, router.weak, router.unknown_tiers),
        "",
        f"## {SEARCH}",
        "",
        *search_section(router.ann_index),
        "",
        *_scores(scores),
        *_data(router),
        "## Use and limits",
        "",
        f"The default threshold, {router.threshold:.4f}, is the median win rate over calibration prompts. Win rates of this kind lie "
        f"close together ({router.quantiles[0]:.3f} to {router.quantiles[-1]:.3f} there), because every battle has a weight: choose "
        "a threshold on your own prompts with `turnout calibrate`, not by the number. Add your own battles with `turnout battles add`.",
        "",
    ]
    return "\n".join(lines)


def refresh(folder: Path, sections: Mapping[str, Sequence[str]]) -> None:
    """Replaces the texts of sections of an artifact's card; one without a card, or without such a section, stays as it is.

    Args:
        folder: An artifact.
        sections: Lines by heading.
    """
    path = folder / "README.md"
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    for heading, lines in sections.items():
        before, mark, rest = text.partition(f"\n## {heading}\n")
        if mark:
            _, following, after = rest.partition("\n## ")
            text = before + mark + "\n" + "\n".join(lines) + "\n" + following + after
    replace_file(path, text.encode())


def battles_section(rating: Rating, strong: str, weak: str, unknown_tiers: Mapping[str, int]) -> list[str]:
    """What the battles say of the models.

    Args:
        rating: Battles, ratings, tiers.
        strong: Strong model of the pair.
        weak: Weak model.
        unknown_tiers: Tiers of models that did not fight.
    """
    table = rating.table
    pair = [int(rating.tiers[table.models.index(model)]) for model in (strong, weak)]
    lines = [
        f"{len(table):,} battles of {len(table.models)} models on {len(table.prompts):,} prompts; the {int(rating.across.sum()):,} "
        f"between tiers count. `{strong}` is in tier {pair[0]}, `{weak}` in tier {pair[1]}.",
        *(f"Left out: {count:,}, {reason}." for reason, count in table.left_out.items()),
        "",
        "| tier | ratings | models |",
        "|---|---|---|",
        *(_row(rating, tier) for tier in range(int(rating.tiers.max()) + 1)),
    ]
    groups = int(rating.groups.max()) + 1
    if groups > 1:
        lines += [
            "",
            f"The models form {groups} groups without battles between them. Their ratings are centered separately and are not comparable.",
        ]
    if unknown_tiers:
        named = [f"`{model}` to tier {tier}" for model, tier in unknown_tiers.items()]
        more = f" and {len(named) - _NAMED} more, see `router.json`" if len(named) > _NAMED else ""
        lines += ["", f"Models without battles of their own have given tiers: {', '.join(named[:_NAMED])}{more}."]
    return lines


def _row(rating: Rating, tier: int) -> str:
    indices = np.flatnonzero(rating.tiers == tier)
    names = [rating.table.models[position] for position in indices]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    high, low = rating.ratings[indices].max(), rating.ratings[indices].min()
    return f"| {tier} | {high:.0f} to {low:.0f} | {', '.join(names[:_NAMED])}{more} |"


def search_section(ann_index: AnnIndex | None) -> list[str]:
    """Whether decisions are exact, and how far they are from it if not."""
    if ann_index is None:
        return ["Every battle is weighted for every prompt: decisions are exact."]
    search = f" with {ann_index.search}" if ann_index.search else ""
    return [
        f"FAISS index `{ann_index.factory}`{search}: the battles of the {ann_index.neighbors} most similar prompts are weighted exactly, all others "
        f"through {len(ann_index.cells.means)} cells. Difference from the exact win rate, on prompts judged without battles of their "
        f"own: {ann_index.error}."
    ]


def _scores(scores: Sequence[DevResult]) -> list[str]:
    if not scores:
        return []
    return [
        "## Scores",
        "",
        "APGR (random routing 0.500) with 95 % bootstrap intervals over prompts.",
        "",
        "| table | rows | pair | router | prompt length | difference |",
        "|---|---|---|---|---|---|",
        *(
            f"| {s.table} | {s.rows} | {s.strong} / {s.weak} | {s.router} | {s.length} | {s.difference} |"
            for s in scores
        ),
        "",
    ]


def _data(router: SwRanking) -> list[str]:
    origin = router.provenance
    lines: list[str] = []
    if origin.get("data"):
        lines += ["## Data", "", "| file | rows | sha256 |", "|---|---|---|"]
        lines += [f"| {one['file']} | {one['rows']} | `{one['sha256'][:16]}` |" for one in origin["data"]]
        lines += [""]
    if origin.get("notes"):
        lines += [str(origin["notes"]).strip(), ""]
    if origin.get("recipe"):
        lines += ["## Recipe", "", f"```\n{origin['recipe']}\n```", ""]
    return lines
