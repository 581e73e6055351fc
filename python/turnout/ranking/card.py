"""The model card of a router of kind ``sw_ranking``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from turnout.ranking.dev import DevScore

if TYPE_CHECKING:
    from turnout.export.sw_ranking import SwRanking

#: Models of a tier that are named.
_NAMED = 6


def card(router: SwRanking, scores: Sequence[DevScore]) -> str:
    """Markdown of the card.

    Args:
        router: What the artifact holds.
        scores: On dev tables.
    """
    rating, origin = router.rating, router.provenance
    table = rating.table
    across = int(rating.across.sum())
    source = f"`{router.encoder.taken_from}`'s static embedding" if router.encoder.graph else "the caller's embedding"
    lines = [
        f"# {router.name}",
        "",
        f"Routes prompts between `{router.strong}` (strong, tier {_tier(router, router.strong)}) and `{router.weak}` (weak, tier "
        f"{_tier(router, router.weak)}) by Elo over battles, those on similar prompts weighing more (RouteLLM's similarity-weighted "
        f"ranking, arXiv 2406.18665, section 4.2). Similarity is the cosine of {source}, {router.encoder.dim} numbers long.",
        "",
        f"Licence: {origin.get('licence', 'unstated')}.",
        "",
        "## Battles and tiers",
        "",
        f"{len(table):,} battles of {len(table.models)} models on {len(table.prompts):,} prompts; the {across:,} between tiers count.",
        *(f"Left out: {count:,}, {reason}." for reason, count in table.left_out.items()),
        "",
        "| tier | ratings | models |",
        "|---|---|---|",
        *(_row(router, tier) for tier in range(int(rating.tiers.max()) + 1)),
        "",
        *_groups(router),
        *_unknown(router),
        "## Exact or approximate",
        "",
        *_near(router),
        "",
        *_scores(scores),
        *_data(router),
        "## Use and limits",
        "",
        f"The default threshold, {router.threshold:.4f}, is the median win rate over calibration prompts. Win rates of this kind lie "
        f"close together ({router.quantiles[0]:.3f} to {router.quantiles[-1]:.3f} there), for every battle weighs something: choose "
        "a threshold on your own prompts with `turnout calibrate`, not by the number. Add your own battles with `turnout battles add`.",
        "",
    ]
    return "\n".join(lines)


def _tier(router: SwRanking, model: str) -> int:
    return int(router.rating.tiers[router.rating.table.models.index(model)])


def _row(router: SwRanking, tier: int) -> str:
    rating = router.rating
    places = np.flatnonzero(rating.tiers == tier)
    names = [rating.table.models[place] for place in places]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    high, low = rating.ratings[places].max(), rating.ratings[places].min()
    return f"| {tier} | {high:.0f} to {low:.0f} | {', '.join(names[:_NAMED])}{more} |"


def _groups(router: SwRanking) -> list[str]:
    count = int(router.rating.groups.max()) + 1
    if count == 1:
        return []
    return [
        f"The models fall into {count} groups that never met, so their ratings stand at their own centres and do not compare.",
        "",
    ]


def _unknown(router: SwRanking) -> list[str]:
    if not router.unknown_tiers:
        return []
    named = ", ".join(f"`{model}` to tier {tier}" for model, tier in router.unknown_tiers.items())
    return [f"Models that fought no battle stand where they were put by hand: {named}.", ""]


def _near(router: SwRanking) -> list[str]:
    if router.near is None:
        return ["Every battle is weighed for every prompt: decisions are exact."]
    near = router.near
    search = f" with {near.search}" if near.search else ""
    return [
        f"FAISS index `{near.factory}`{search}: the battles of the {near.neighbors} nearest prompts are weighed exactly, all others "
        f"through {len(near.cells.means)} cells. Difference from the exact win rate, each prompt judged without its own battles: "
        f"{near.error}."
    ]


def _scores(scores: Sequence[DevScore]) -> list[str]:
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
