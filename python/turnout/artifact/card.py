"""The model card of an artifact: what it is, what it was made of, how it scores. Facts come from the manifest alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from turnout.artifact.writer import ArtifactSpec

if TYPE_CHECKING:
    from turnout.evaluate.dev import DevResult
    from turnout.routers.bert.transformer import TransformerConfig

_HARD = "A prompt that is written to look hard can push a request to the strong model."


def model_card(spec: ArtifactSpec, dev: Sequence[DevResult]) -> str:
    """Markdown of the card of a matrix-factorisation router.

    Args:
        spec: What the artifact's manifest says.
        dev: Scores on dev tables, next to prompt length; random is 0.5 by definition.

    Returns:
        The text of ``README.md``.
    """
    what = (
        f"a static embedding of at most {spec.max_tokens} tokens, {spec.encoder['dim']} numbers long, under RouteLLM's "
        f"matrix-factorisation head (arXiv 2406.18665, section 4.2) with {len(spec.models)} models"
    )
    limits = "sees no letter case and no line breaks, and judges the prompt alone, not a conversation"
    return _card(spec, what, f"{limits}. {_HARD}", dev)


def bert_card(
    spec: ArtifactSpec, sizes: TransformerConfig, dev: Sequence[DevResult], beside: Mapping[str, Sequence[DevResult]]
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
        f"experts think of each token and log counts beside it, under RouteLLM's matrix-factorisation head (arXiv 2406.18665, "
        f"section 4.2) with {len(spec.models)} models. Matrices and tables are stored as int8, a scale for each output channel or "
        "token, and multiplied as float32, so a prompt's win rate does not depend on its batch"
    )
    limits = (
        "sees no letter case and no line breaks, and judges the prompt alone, not a conversation. Of a prompt longer than "
        f"{spec.max_tokens} tokens it reads the beginning. {_HARD}"
    )
    return _card(spec, what, limits, dev, beside)


def classifier_card(spec: ArtifactSpec, dev: Sequence[DevResult], beside: Mapping[str, Sequence[DevResult]]) -> str:
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
    return _card(
        spec,
        what,
        f"judges the prompt alone, not a conversation, and of a long one the beginning. {_HARD}",
        dev,
        beside,
    )


def _card(
    spec: ArtifactSpec,
    what: str,
    limits: str,
    dev: Sequence[DevResult],
    beside: Mapping[str, Sequence[DevResult]] | None = None,
) -> str:
    origin = spec.provenance
    others = beside or {}
    header = "".join(f" {name} |" for name in others)

    def scores_of_others(place: int) -> str:
        return "".join(f" {results[place].router} |" for results in others.values())

    lines = [
        f"# {spec.name}",
        "",
        f"Routes prompts between `{spec.strong}` (strong) and `{spec.weak}` (weak): {what}. The format is described in turnout's "
        "`models/README.md`.",
        "",
        f"Licence of the weights: {origin['licence']}.",
        "",
        "## Scores",
        "",
        "APGR (area under the recovered performance gap over the share of strong calls; random routing is 0.500) with 95 % "
        "bootstrap intervals over prompts. No dev prompt was trained on; choices between recipes were made on these tables.",
        "",
        f"| dev table | rows | pair | router | prompt length | difference |{header}",
        f"|---|---|---|---|---|---|{'---|' * len(others)}",
        *(
            f"| {result.table} | {result.rows} | {result.strong} / {result.weak} | {result.router} | {result.length} | "
            f"{result.difference} |{scores_of_others(place)}"
            for place, result in enumerate(dev)
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
        f"`turnout calibrate`. The router reads English best, {limits}",
        "",
    ]
    return "\n".join(lines)
