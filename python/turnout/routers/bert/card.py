"""Model cards of sequence classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from turnout.artifact.card import PLANTED_WORDS, DevScore, model_card
from turnout.artifact.manifest import Manifest


def classifier_card(spec: Manifest, dev: Sequence[DevScore], beside: Mapping[str, Sequence[DevScore]]) -> str:
    """Markdown of the card of a fine-tuned encoder.

    Args:
        spec: What the artifact's manifest says.
        dev: Scores on dev tables, next to prompt length.
        beside: Scores of other routers on the same tables, by name.

    Returns:
        The text of ``README.md``.
    """
    what = (
        f"an encoder {spec.encoder['dim']} numbers wide over at most {spec.max_tokens} tokens, fine-tuned to tell prompts that the "
        f"strong model wins from ties and from those that the weak model wins; weights are {spec.provenance['weights']}"
    )
    return model_card(
        spec,
        what,
        f"judges the prompt alone, not a conversation, and of a long one the beginning. {PLANTED_WORDS}",
        dev,
        beside,
    )
