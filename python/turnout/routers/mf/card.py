"""The model card of a matrix factorization router."""

from __future__ import annotations

from collections.abc import Sequence

from turnout.artifact.card import PLANTED_WORDS, DevScore, model_card
from turnout.artifact.manifest import Manifest


def mf_card(spec: Manifest, dev: Sequence[DevScore]) -> str:
    """Markdown of the card of a matrix-factorization router.

    Args:
        spec: What the artifact's manifest says.
        dev: Scores on dev tables, next to prompt length; random is 0.5 by definition.

    Returns:
        The text of ``README.md``.
    """
    what = (
        f"a static embedding of at most {spec.max_tokens} tokens, {spec.encoder['dim']} numbers long, under RouteLLM's "
        f"matrix-factorization head (*RouteLLM: Learning to Route LLMs with Preference Data*, arXiv 2406.18665, section 4.2) with {len(spec.models)} models"
    )
    limits = "sees no letter case and no line breaks, and judges the prompt alone, not a conversation"
    return model_card(spec, what, f"{limits}. {spec.reading} {PLANTED_WORDS}", dev)
