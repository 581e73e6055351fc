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
#: Commands that make a router of a kind. RouteLLM knows routers by these names, and not all of them ship.
MADE_BY = {
    "mf": "import a checkpoint of RouteLLM with `turnout import mf CHECKPOINT --out FOLDER`",
    "bert": "import a checkpoint with `turnout import bert CHECKPOINT --out FOLDER`, or train one with "
    "`turnout train bert --encoder CHECKPOINT --outcomes TABLE --out FOLDER`",
    "causal_llm": "import a checkpoint with `turnout import causal_llm CHECKPOINT --out FOLDER`",
}


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
        ArtifactError: There is neither a folder nor a router of this name; lists the routers that ship, and for a kind that does not
            ship the commands that make one.

    Example:
        >>> artifact_folder("sw_ranking").name
        'sw_ranking'
        >>> artifact_folder("ranking")
        Traceback (most recent call last):
            ...
        turnout.ArtifactError: ranking: no such artifact folder or shipped router; shipped routers: mf, sw_ranking; did you mean 'sw_ranking'?
    """
    if path is None:
        return ARTIFACTS / DEFAULT
    name = os.fsdecode(path)
    if os.path.exists(name) or os.path.dirname(name):
        return Path(name)
    names = shipped_names()
    if name in names:
        return ARTIFACTS / name
    advice = f"; for a {name} router, {MADE_BY[name]}" if name in MADE_BY else did_you_mean(name, names)
    raise ArtifactError(
        f"{name[:_SHOWN] or repr(name)}: no such artifact folder or shipped router; shipped routers: {', '.join(names)}{advice}",
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
