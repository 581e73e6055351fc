"""Whether a router has seen a table in training, as far as its artifact says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def seen_in_training(router: Any, content_hash: str) -> bool:
    """Whether the artifact's provenance lists a file with this content.

    ``turnout train`` lists the training files under ``data``. In provenance of another form every field is searched but those
    that speak of evaluation or development. Names of files decide nothing.

    Args:
        router: A router with a ``manifest``, or anything else, of which nothing is known.
        content_hash: SHA-256 of the table's file, in hexadecimal.

    Example:
        >>> class Router:
        ...     manifest = {"provenance": {"data": [{"file": "a.csv", "sha256": "ab12"}]}}
        >>> seen_in_training(Router(), "ab12"), seen_in_training(Router(), "a.csv")
        (True, False)
    """
    return content_hash in _texts_of(_training(router), "sha256")


def similar_names(router: Any, name: str) -> list[str]:
    """Training files whose names begin with a name. For data without one file, such as a benchmark's folder."""
    return [file for file in _texts_of(_training(router), "file") if file.lower().startswith(name.lower())]


def _training(router: Any) -> Any:
    provenance = getattr(router, "manifest", {}).get("provenance", {})
    return provenance["data"] if isinstance(provenance.get("data"), list) else _without_evaluation(provenance)


def _without_evaluation(value: Any) -> Any:
    if isinstance(value, dict):
        skipped = ("eval", "dev", "score", "test", "held")
        return {
            key: _without_evaluation(one)
            for key, one in value.items()
            if not any(word in key.lower() for word in skipped)
        }
    return [_without_evaluation(one) for one in value] if isinstance(value, list) else value


def _texts_of(value: Any, key: str) -> Iterator[str]:
    """Texts under a key, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get(key), str):
            yield value[key]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _texts_of(one, key)
