"""Packages that come with an extra: one check, one message."""

from __future__ import annotations

import importlib.util

from turnout._core import ConfigError


class MissingExtraError(ConfigError, ImportError):
    """A package of an extra is not installed; the message has the command that installs it."""


def require(extra: str, *modules: str, purpose: str) -> None:
    """Checks that modules are installed, without importing them.

    Args:
        extra: Extras of turnout that bring the modules, such as ``"eval"`` or ``"eval,faiss"``.
        modules: Names of top-level modules.
        purpose: What needs them; the message begins with it.

    Raises:
        MissingExtraError: At least one is not installed. It is a ``ConfigError`` and an ``ImportError``.

    Example:
        >>> require("eval", "json", purpose="reading tables")
        >>> require("eval", "json", "no_such_module", purpose="reading tables")
        Traceback (most recent call last):
            ...
        turnout.extras.MissingExtraError: reading tables needs no_such_module: pip install 'turnout[eval]'
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"{purpose} needs {', '.join(missing)}: pip install 'turnout[{extra}]'")
