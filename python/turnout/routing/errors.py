"""What goes wrong between a request and a decision."""

from __future__ import annotations

from turnout._core import RouterError


class RoutingError(RouterError, ValueError):
    """A model name, router, threshold or list of messages that cannot be routed with; says what was expected."""
