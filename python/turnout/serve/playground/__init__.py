"""The page for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from turnout.serve.state import State


def routes(state: State) -> list[BaseRoute]:
    """Routes of the page; see :class:`turnout.serve.state.State` for what it may read."""
    return []
