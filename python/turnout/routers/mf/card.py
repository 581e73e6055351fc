"""The model card of a matrix-factorization router that was trained on own tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from turnout.artifact.card import PLANTED_WORDS, DevScore, model_card
from turnout.artifact.manifest import Manifest


def mf_card(spec: Manifest, dev: Sequence[DevScore], beside: Mapping[str, Sequence[DevScore]]) -> str:
    """Markdown of the card.

    Args:
        spec: What the artifact's manifest says.
        dev: Scores on the left-out prompts and on dev tables, next to prompt length; random is 0.5 by definition.
        beside: Scores of other routers on the same prompts, by name.

    Returns:
        The text of ``README.md``.
    """
    training = spec.provenance["training"]["config"]
    what = (
        f"the static encoder of `{training['start']}` with columns that were fitted to {training['labelled_prompts']:,} labeled "
        "prompts by ridge regression, under RouteLLM's matrix-factorization head (*RouteLLM: Learning to Route LLMs with "
        f"Preference Data*, arXiv 2406.18665, section 4.2) with {len(spec.models)} models"
    )
    limits = "sees no letter case and no line breaks, and judges the prompt alone, not a conversation"
    return model_card(
        spec,
        what,
        f"{limits}. {spec.reading} {PLANTED_WORDS}",
        dev,
        beside,
        chosen="Each left-out prompt is scored by the fit without it.",
        reads="reads the languages of the router that it started from",
    )
