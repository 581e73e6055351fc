"""Names that clients may write: aliases, patterns of aliases, models, and ``router-...``."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from turnout.registry.names import PREFIX
from turnout.serve.settings.aliases import AliasSettings


class ModelNames:
    """Resolves names: exact ones first, then patterns in the order of the file, in which ``*`` is any text.

    Args:
        aliases: Of the configuration, patterns among them.
        models: Names of models.

    Example:
        >>> names = ModelNames({"claude-haiku-*": AliasSettings(model="small"), "claude-*": AliasSettings(router="mf")}, ["small"])
        >>> names.resolve("claude-haiku-4-5"), names.resolve("claude-opus-4-5[1m]"), names.resolve("gpt-5")
        ('small', 'claude-*', 'gpt-5')
    """

    def __init__(self, aliases: Mapping[str, AliasSettings], models: Collection[str]) -> None:
        self._aliases = aliases
        self._models = models
        self._patterns = [(name, name.split("*")) for name in aliases if "*" in name]
        #: What can be listed: aliases that are no patterns, and models.
        self.listed = [*(name for name in aliases if "*" not in name), *models]

    def resolve(self, name: str) -> str:
        """The name that a name stands for: of an alias with a router, of a model, or ``router-...``; the name itself where it is none.

        Args:
            name: As a client wrote it.
        """
        found = name
        if name not in self._aliases and name not in self._models and not name.startswith(PREFIX):
            found = self._matching(name)
        alias = self._aliases.get(found)
        return alias.model if alias is not None and alias.model else found

    def _matching(self, name: str) -> str:
        return next((pattern for pattern, parts in self._patterns if _matches(name, parts)), name)


def _matches(name: str, parts: list[str]) -> bool:
    """Whether a name has the parts in their order, the first one at its beginning and the last one at its end."""
    first, *middle, last = parts
    if not name.startswith(first):
        return False
    at = len(first)
    for part in middle:
        at = name.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return len(name) - at >= len(last) and name.endswith(last)
