"""Routers that ship with the package, by name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from turnout._core import ArtifactError

#: Folder with an artifact folder for each router.
ARTIFACTS = Path(__file__).parent / "artifacts"
#: Characters of an unknown name that an error shows.
_SHOWN = 200
#: The router where none is named.
DEFAULT = "mf"


def shipped_names() -> list[str]:
    """Names of the routers that ship, the default first.

    Example:
        >>> shipped_names()[0]
        'mf'
    """
    names = {manifest.parent.name for manifest in ARTIFACTS.glob("*/router.json")}
    return sorted(names, key=lambda name: (name != DEFAULT, name))


def artifact_folder(path: str | os.PathLike[str] | None) -> Path:
    """The folder of an artifact.

    Args:
        path: A folder, which comes first; the name of a router that ships; ``None`` is the default router.

    Returns:
        The folder. A path with a separator is returned as it is.

    Raises:
        ArtifactError: There is neither a folder nor a router of this name; lists the routers that ship.

    Example:
        >>> artifact_folder("bert").name
        'bert'
        >>> artifact_folder("brt")
        Traceback (most recent call last):
            ...
        turnout.ArtifactError: brt: no such artifact folder or shipped router; shipped routers: mf, bert, sw_ranking; did you mean 'bert'?
    """
    if path is None:
        return ARTIFACTS / DEFAULT
    name = os.fsdecode(path)
    if os.path.exists(name) or os.path.dirname(name):
        return Path(name)
    names = shipped_names()
    if name in names:
        return ARTIFACTS / name
    raise ArtifactError(
        f"{name[:_SHOWN] or repr(name)}: no such artifact folder or shipped router; "
        f"shipped routers: {', '.join(names)}{did_you_mean(name, names)}",
        path=name,
    )


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a message for a name that is not known: the one that is most like it, if any is.

    Example:
        >>> did_you_mean("sw-ranking", ["mf", "sw_ranking"]), did_you_mean("gpt", ["mf"])
        ("; did you mean 'sw_ranking'?", '')
    """
    import difflib

    found = difflib.get_close_matches(name.lower(), list(names), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
