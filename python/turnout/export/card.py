"""The model card of an artifact: what it is, what it was made of, how it scores. Facts come from the manifest alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from turnout.export.artifact import ArtifactSpec

if TYPE_CHECKING:
    from turnout.train.dev import DevResult


def model_card(spec: ArtifactSpec, dev: Sequence[DevResult]) -> str:
    """Markdown of the card.

    Args:
        spec: What the artifact's manifest says.
        dev: Scores on dev tables, next to prompt length; random is 0.5 by definition.

    Returns:
        The text of ``README.md``.
    """
    origin = spec.provenance
    lines = [
        f"# {spec.name}",
        "",
        f"Routes prompts between `{spec.strong}` (strong) and `{spec.weak}` (weak): a static embedding of at most "
        f"{spec.max_tokens} tokens, {spec.encoder['dim']} numbers long, under RouteLLM's matrix-factorisation head "
        f"(arXiv 2406.18665, section 4.2) with {len(spec.models)} models. The format is described in turnout's "
        "`models/README.md`.",
        "",
        f"Licence of the weights: {origin['licence']}.",
        "",
        "## Scores",
        "",
        "APGR (area under the recovered performance gap over the share of strong calls; random routing is 0.500) with 95 % "
        "bootstrap intervals over prompts. No dev prompt was trained on; choices between recipes were made on these tables.",
        "",
        "| dev table | rows | pair | router | prompt length | difference |",
        "|---|---|---|---|---|---|",
        *(
            f"| {result.table} | {result.rows} | {result.strong} / {result.weak} | {result.router} | {result.length} | "
            f"{result.difference} |"
            for result in dev
        ),
        "",
        "## Data",
        "",
        "| file | used for | rows | sha256 |",
        "|---|---|---|---|",
        *(
            f"| {entry['file']} | {use} | {entry['rows']} | `{entry['sha256'][:16]}` |"
            for key, use in (("data", "training"), ("dev_data", "dev"))
            for entry in origin[key]
        ),
        "",
        str(origin["notes"]).strip(),
        "",
        "## Recipe",
        "",
        f"```\n{origin['recipe']}\n```",
        "",
        "All settings stand in `router.json` under `provenance.training.config`.",
        "",
        "## Use and limits",
        "",
        f"The default threshold, {spec.default_threshold:.4f}, is the median win rate over the training prompts with every table "
        "weighted alike, so it sends half of such a mix to the strong model. Choose your own on your own prompts with "
        "`turnout calibrate`. The router reads English best, sees no letter case and no line breaks, and judges the prompt alone, "
        "not a conversation. A prompt that is written to look hard can push a request to the strong model.",
        "",
    ]
    return "\n".join(lines)
