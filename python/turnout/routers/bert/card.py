"""Model cards of sequence classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from turnout.artifact.card import PLANTED_WORDS, DevScore, model_card
from turnout.artifact.manifest import Manifest

if TYPE_CHECKING:
    from turnout.routers.bert.transformer import TransformerConfig


def bert_card(
    spec: Manifest, sizes: TransformerConfig, dev: Sequence[DevScore], beside: Mapping[str, Sequence[DevScore]]
) -> str:
    """Markdown of the card of a transformer router.

    Args:
        spec: What the artifact's manifest says.
        sizes: Of the transformer.
        dev: Scores on dev tables, next to prompt length.
        beside: Scores of other routers on the same tables, by name.

    Returns:
        The text of ``README.md``.
    """
    what = (
        f"a transformer of {sizes.layers} layers, {sizes.width} numbers wide, over at most {spec.max_tokens} tokens, with what "
        f"experts think of each token and log counts beside it, under RouteLLM's matrix-factorization head (*RouteLLM: Learning to Route LLMs with Preference Data*, arXiv 2406.18665, "
        f"section 4.2) with {len(spec.models)} models. Matrices and tables are stored as int8, a scale for each output channel or "
        "token, and multiplied as float32, so a prompt's win rate does not depend on its batch"
    )
    limits = (
        "sees no letter case and no line breaks, and judges the prompt alone, not a conversation. "
        f"{spec.reading} {PLANTED_WORDS}"
    )
    return model_card(spec, what, limits, dev, beside)


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
