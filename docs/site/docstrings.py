"""What the API pages take from the running package: docstrings of the extension, whose stub has none."""

from __future__ import annotations

import importlib
import re
from typing import Any

import griffe

#: Roles of reStructuredText, which Markdown does not know: :class:`~turnout.Router`.
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):`~?\.?([^`]+)`")


class Docstrings(griffe.Extension):
    """Fills in docstrings of ``turnout._core``, and writes all docstrings as Griffe and Markdown read them."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Runs when ``turnout`` is loaded."""
        if pkg.name == "turnout":
            fill(pkg.members["_core"], importlib.import_module("turnout._core"))
            plain(pkg)


def fill(described: Any, running: Any) -> None:
    """Gives every public object without a docstring that of the running one."""
    for name, member in described.members.items():
        found = getattr(running, name, None)
        if member.is_alias or found is None or name.startswith("_"):
            continue
        text = getattr(found, "__doc__", None)
        describes = not member.is_attribute or "property" in member.labels
        if member.docstring is None and describes and isinstance(text, str):
            member.docstring = griffe.Docstring(text, parent=member, parser="google")
        if member.is_class:
            fill(member, found)


def plain(described: Any) -> None:
    """Turns roles into code, and examples into a section that Griffe knows, in every docstring."""
    if described.docstring is not None:
        text = ROLE.sub(r"`\1`", described.docstring.value)
        described.docstring.value = text.replace("\nExample:\n", "\nExamples:\n")
    for member in described.members.values():
        if not member.is_alias:
            plain(member)
