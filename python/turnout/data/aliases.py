"""Matches the spellings of model names in different sources."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from turnout._core import InvalidInputError

#: Canonical names of spellings that no rule covers; RouterBench and the arena differ in the names of chat models.
KNOWN_ALIASES: dict[str, str] = {
    "gpt-4-turbo-1106": "gpt-4-1106-preview",
    "gpt-4-turbo-preview-1106": "gpt-4-1106-preview",
    "mixtral-8x7b-chat": "mixtral-8x7b-instruct-v0.1",
    "mixtral-8x7b-instruct": "mixtral-8x7b-instruct-v0.1",
    "mistral-7b-chat": "mistral-7b-instruct-v0.1",
    "claude-v1": "claude-1",
    "claude-v2": "claude-2.0",
    "claude-instant-v1": "claude-instant-1",
}


class ModelAliases:
    """Matches the names of models.

    The canonical form of a name is lower case, without the organization before the last ``/`` and without the host after an ``@``;
    then the aliases apply. An exact match takes precedence over a canonical one.

    Args:
        extra: Further aliases, name to name; they take precedence over the built-in ones.

    Example:
        >>> aliases = ModelAliases({"gpt4t": "gpt-4-1106-preview"})
        >>> aliases.canonical("mistralai/Mixtral-8x7B-Instruct-v0.1")
        'mixtral-8x7b-instruct-v0.1'
        >>> aliases.find("GPT4T", ["prompt", "gpt-4-1106-preview"])
        'gpt-4-1106-preview'
    """

    def __init__(self, extra: Mapping[str, str] | None = None) -> None:
        self._table = dict(KNOWN_ALIASES)
        for name, canonical in (extra or {}).items():
            self._table[_plain(name)] = _plain(canonical)

    @classmethod
    def from_file(cls, path: str | Path) -> ModelAliases:
        """Reads aliases from a file.

        Args:
            path: A JSON file with one object that maps names to names.

        Returns:
            The built-in aliases and those of the file.

        Raises:
            InvalidInputError: The file has another structure.
        """
        return cls(read_aliases(path))

    def canonical(self, name: str) -> str:
        """Returns the canonical form of a name.

        Args:
            name: A name in any spelling.

        Returns:
            The canonical form.
        """
        plain = _plain(name)
        seen = {plain}
        while (following := self._table.get(plain)) is not None and following not in seen:
            plain = following
            seen.add(plain)
        return plain

    def find(self, name: str, available: Iterable[str]) -> str:
        """Finds the name of the same model.

        Args:
            name: A model in any spelling.
            available: Names to choose from, such as a table's columns.

        Returns:
            The name that matches.

        Raises:
            InvalidInputError: No name or more than one matches; the message lists them.
        """
        names = list(available)
        if name in names:
            return name
        expected = self.canonical(name)
        matches = [candidate for candidate in names if self.canonical(candidate) == expected]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise InvalidInputError(
                f"model {name!r} could be {', '.join(map(repr, matches))}: give one of these names in full"
            )
        raise InvalidInputError(f"model {name!r} not found among {', '.join(map(repr, names)) or 'no models'}")


def read_aliases(path: str | Path) -> dict[str, str]:
    """Names to names, from a JSON object.

    Raises:
        InvalidInputError: The file holds something else.
    """
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path}: not JSON: {error}") from error
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise InvalidInputError(f"{path}: expected one JSON object that maps names to names")
    return table


def _plain(name: str) -> str:
    return name.strip().lower().rsplit("/", 1)[-1].split("@", 1)[0]
