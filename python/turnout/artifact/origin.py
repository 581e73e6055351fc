"""Where a router comes from, for its card and its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Origin:
    """Where a router comes from.

    Attributes:
        name: Name of the router.
        licence: License of the weights, an SPDX expression.
        recipe: Command that made it.
        data: One entry a training file: ``file``, ``rows``, ``sha256``.
        dev_data: The same for the dev tables, which were not trained on.
        notes: Markdown on the origin and the licenses of the data.
    """

    name: str
    licence: str = "unstated"
    recipe: str = "unstated"
    data: Sequence[Mapping[str, Any]] = ()
    dev_data: Sequence[Mapping[str, Any]] = ()
    notes: str = ""

    def provenance(self, training: Mapping[str, Any]) -> dict[str, Any]:
        """The section of that name in ``router.json``.

        Args:
            training: Rows, settings and scores of the run.
        """
        return {
            "licence": self.licence,
            "recipe": self.recipe,
            "data": [dict(entry) for entry in self.data],
            "dev_data": [dict(entry) for entry in self.dev_data],
            "notes": self.notes,
            "training": dict(training),
        }
