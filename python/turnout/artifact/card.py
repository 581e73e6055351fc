"""The model card of an artifact: what it is, what it was made of, how it scores. Facts come from the manifest alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from turnout.artifact.manifest import Manifest

#: A limit that every router shares.
PLANTED_WORDS = "A prompt that is written to look hard can push a request to the strong model."


class DevScore(Protocol):
    """One row of a card's table of scores; :class:`turnout.evaluate.dev.DevResult` is one."""

    @property
    def table(self) -> str:
        """Name of the dev table."""

    @property
    def rows(self) -> int:
        """Its number of prompts."""

    @property
    def strong(self) -> str:
        """Strong model of the pair that is compared."""

    @property
    def weak(self) -> str:
        """Weak model of the pair."""

    @property
    def router(self) -> object:
        """APGR of the router with its interval."""

    @property
    def length(self) -> object:
        """APGR of the prompt length with its interval."""

    @property
    def difference(self) -> object:
        """Router minus length with its interval."""


def model_card(
    spec: Manifest,
    what: str,
    limits: str,
    dev: Sequence[DevScore],
    beside: Mapping[str, Sequence[DevScore]] | None = None,
    *,
    chosen: str = "Choices between recipes were made on these tables.",
    reads: str = "reads English best",
) -> str:
    """Markdown of the card of a router.

    Args:
        spec: The manifest of the artifact.
        what: What the router is, the rest of a sentence.
        limits: What it does not see, the rest of a sentence.
        dev: Scores on dev tables, next to prompt length; random routing is 0.5 by definition.
        beside: Scores of other routers on the same tables, by name.
        chosen: A sentence on what the recipe was chosen on.
        reads: Which languages it reads, with its verb.

    Returns:
        The text of ``README.md``.
    """
    origin = spec.provenance
    others = beside or {}
    header = "".join(f" {name} |" for name in others)

    def scores_of_others(index: int) -> str:
        return "".join(f" {results[index].router} |" for results in others.values())

    lines = [
        f"# {spec.name}",
        "",
        f"Routes prompts between `{spec.strong}` (strong) and `{spec.weak}` (weak): {what}. The format is described in turnout's "
        "`models/README.md`.",
        "",
        f"License of the weights: {origin['licence']}.",
        "",
        "## Scores",
        "",
        "APGR (area under the recovered performance gap over the share of strong calls; random routing is 0.500) with 95 % "
        f"bootstrap intervals over prompts. No dev prompt was trained on word for word. {chosen}",
        "",
        f"| dev table | rows | pair | router | prompt length | difference |{header}",
        f"|---|---|---|---|---|---|{'---|' * len(others)}",
        *(
            f"| {result.table} | {result.rows} | {result.strong} / {result.weak} | {result.router} | {result.length} | "
            f"{result.difference} |{scores_of_others(index)}"
            for index, result in enumerate(dev)
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
        "`router.json` has all settings under `provenance.training.config`.",
        "",
        "## Use and limits",
        "",
        f"The default threshold, {spec.default_threshold:.4f}, is the median win rate over the prompts of the training tables with every table "
        "weighted equally, so it sends half of such a mix to the strong model. Choose your own on your own prompts with "
        f"`turnout calibrate`. The router {reads}, {limits}",
        "",
    ]
    return "\n".join(lines)
