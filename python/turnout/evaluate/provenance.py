"""Whether a router has seen a table in training, as far as its artifact says."""

from __future__ import annotations

import json
from typing import Any


def seen_in_training(router: Any, table: str) -> bool:
    """Whether the artifact's provenance names the table.

    ``turnout train`` lists the training files under ``data``. In provenance of another form every field is searched but those
    that speak of evaluation or development.

    Args:
        router: A router with a ``manifest``, or anything else, of which nothing is known.
        table: Name of the table, such as ``mmlu_gold``.
    """
    provenance = getattr(router, "manifest", {}).get("provenance", {})
    told = provenance["data"] if isinstance(provenance.get("data"), list) else _training(provenance)
    return table.lower() in json.dumps(told).lower()


def _training(value: Any) -> Any:
    if isinstance(value, dict):
        skipped = ("eval", "dev", "score", "test", "held")
        return {key: _training(one) for key, one in value.items() if not any(word in key.lower() for word in skipped)}
    return [_training(one) for one in value] if isinstance(value, list) else value
